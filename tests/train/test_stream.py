"""Which samples a process takes, from which step on."""

import pytest
import torch

from support.numbered_samples import Numbers, Unsent
from tapetum.core.errors import BadInput, TapetumError
from tapetum.train.config import TrainConfig
from tapetum.train.process_group import ProcessGroup
from tapetum.train.stream import Stream


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (1, 2), (3, 4)])
@pytest.mark.parametrize("start", [0, 2])
def test_a_process_takes_its_part_of_each_micro_batch_from_a_step_on(rank: int, size: int, start: int) -> None:
    config = TrainConfig(steps=4, batch_size=16, accumulation=2, workers=0)
    whole = torch.arange(4 * 16).view(4, 2, size, 16 // 2 // size)  # step, micro-batch, process, sample
    stream = Stream(Numbers(), config, start, ProcessGroup(rank=rank, size=size, device=torch.device("cpu")))
    with stream:
        first = stream.peek()
        found = [stream.next() for _ in range(2 * (4 - start))]
    assert first == found[0]
    assert found == whole[start:, :, rank].flatten(0, 1).tolist()


def test_a_micro_batch_waits_for_one_source_that_is_gone_and_not_for_each_of_its_samples() -> None:
    asked: list[int] = []

    class Gone(Numbers):
        def __getitem__(self, number: int) -> int:
            asked.append(number)
            if number > 1:
                raise TapetumError("cannot read s3://bucket/x.tar")
            return number

    config = TrainConfig(steps=1, batch_size=6)
    stream = Stream(Gone(), config, 0, ProcessGroup(0, 1, torch.device("cpu")))
    with stream, pytest.raises(BadInput, match="cannot read s3://bucket/x"):
        stream.next()
    assert asked == [0, 1, 2]


@pytest.mark.slow
def test_a_worker_that_cannot_send_is_not_waited_for() -> None:
    stream = Stream(Unsent(), TrainConfig(steps=2, batch_size=6, workers=1), 0, ProcessGroup(0, 1, torch.device("cpu")))
    with stream:
        assert len(stream.next()) == 6
        with pytest.raises(TapetumError, match="a data worker was killed"):
            stream.next()
