"""Frames of a clip over several processes: loss, what is logged and gradients are those of one process."""

from pathlib import Path

import pytest
import torch

from support.forks import Forks
from tapetum.core.errors import BadInput
from tapetum.train import TrainConfig
from tapetum.train.stream import sample_numbers

JOB = Path(__file__).with_name("time_shards_job.py")


@pytest.mark.parametrize("processes", [2, 4])
def test_a_clip_over_several_processes_teaches_as_in_one(processes: int, forks: Forks, tmp_path: Path) -> None:
    one, several, errors = tmp_path / "one.pt", tmp_path / "several.pt", tmp_path / "errors"
    assert forks.start(JOB, one, errors=errors).wait() == 0, errors.read_text()
    assert forks.world(processes, JOB, several, errors=errors) == [0] * processes, errors.read_text()
    expected, got = torch.load(one), torch.load(several)
    assert got.keys() == expected.keys()
    assert all(value.abs().max() > 0 for name, value in expected.items() if not name.startswith("within"))
    for name, value in expected.items():
        torch.testing.assert_close(got[name].double(), value.double(), rtol=0, atol=1e-9, msg=name)


def test_processes_that_share_a_clip_get_the_same_samples() -> None:
    config = TrainConfig(steps=1, batch_size=4, sharing=2)
    assert [list(sample_numbers(0, 0, rank, 4, config)) for rank in range(4)] == [[0, 1], [0, 1], [2, 3], [2, 3]]
    with pytest.raises(BadInput, match="shared by 2 processes, of 3; start a multiple of 2"):
        sample_numbers(0, 0, 0, 3, config)
