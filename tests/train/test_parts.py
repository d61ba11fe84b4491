"""The parts of the loop, one by one."""

import json
from collections import namedtuple
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tapetum.core.devices import to_device
from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle
from tapetum.train import Average, Task, TrainConfig, checkpoint, fit
from tapetum.train.checkpoint import CheckpointStore
from tapetum.train.log import JsonLines
from tapetum.train.state import MovingAverage, evaluation_mode
from tapetum.train.stream import sample_numbers


@pytest.mark.parametrize(("world_size", "accumulation"), [(1, 1), (1, 4), (2, 2), (4, 1), (2, 3)])
def test_every_sample_goes_to_one_place_in_the_same_order(world_size: int, accumulation: int) -> None:
    config = TrainConfig(steps=3, batch_size=24, accumulation=accumulation)
    order = [
        number
        for step in range(3)
        for part in range(accumulation)
        for rank in range(world_size)
        for number in sample_numbers(step, part, rank, world_size, config)
    ]
    assert order == list(range(72))


def test_shuffle_visits_everything_once_an_epoch() -> None:
    order = Shuffle(10, seed=3)
    epochs = [[order(n) for n in range(start, start + 10)] for start in (0, 10, 1000)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [Shuffle(10, seed=3)(n) for n in range(10)] == epochs[0]
    assert [Shuffle(10, seed=4)(n) for n in range(10)] != epochs[0]


def test_an_average_is_applied_and_taken_off_again() -> None:
    model = nn.BatchNorm1d(2)
    ema = MovingAverage(model, Average(name="ema", decay=0.5), steps=1000)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.num_batches_tracked.fill_(7)
    ema.update(model)
    assert int(ema.average["num_batches_tracked"]) == 7
    own = model.weight.detach().clone()
    ema.average["weight"].fill_(-1.0)
    with ema.applied(model):
        assert float(model.weight[0].detach()) == -1.0
    assert torch.equal(model.weight, own)


def test_evaluation_mode_puts_every_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    model[1].eval()
    with evaluation_mode(model):
        assert not model[0].training
        assert not torch.is_grad_enabled()
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


@dataclass(frozen=True)
class Pair:
    image: torch.Tensor
    name: str


Point = namedtuple("Point", "x y")


def test_to_device_keeps_the_structure() -> None:
    one = torch.ones(2)
    batch = {"a": [one, "text"], "b": Point(one, 3), "c": Pair(one, "n"), "d": (one, None)}
    moved = to_device(batch, torch.device("meta"))
    assert moved["a"][0].is_meta
    assert moved["a"][1] == "text"
    assert moved["b"].x.is_meta
    assert moved["c"].image.is_meta
    assert moved["c"].name == "n"
    assert moved["d"][0].is_meta
    assert moved["d"][1] is None


def test_log_is_cut_back_and_holds_valid_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonLines(path, 0)
    log.write({"step": 1, "loss": float("nan"), "metrics": {"a": float("inf")}})
    position = log.position()
    log.write({"step": 2})
    log.close()
    path.write_bytes(path.read_bytes()[:-4])  # torn by a kill
    log = JsonLines(path, position)
    log.write({"step": 2})
    log.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "loss": None, "metrics": {"a": None}},
        {"step": 2},
    ]
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 9, "lo')  # a power cut; the checkpoint knew the whole line
    JsonLines(path, 10_000).close()
    assert path.read_bytes() == whole
    assert "its last lines are lost" in capsys.readouterr().err


def test_checkpoint_gives_back_what_it_got(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    tensors = {"model": {"a": shared, "tied": shared, "t": shared.T, "h": shared.bfloat16(), "n": torch.tensor(3)}}
    folder = CheckpointStore(tmp_path).save(12, tensors, {"step": 12, "x": 0.1})
    assert folder.name == "step_00000012"
    assert sorted(f.name for f in folder.iterdir()) == ["manifest.json", "model.safetensors", "state.json"]
    loaded, state = checkpoint.load(folder)
    assert state == {"step": 12, "x": 0.1}
    for name, tensor in tensors["model"].items():
        assert torch.equal(loaded["model"][name], tensor)
        assert loaded["model"][name].dtype == tensor.dtype


def test_pruning_keeps_the_newest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in (2, 4, 6, 8, 10, 12):
        store.save(step, {}, {})
    (tmp_path / "tmp-step_00000014").mkdir()
    store.prune(keep_last=2)
    assert [checkpoint.step_of(f) for f in store.checkpoints()] == [10, 12]
    assert not list(tmp_path.glob("tmp-*"))
    assert CheckpointStore(tmp_path / "nowhere").latest() is None
    (tmp_path / "step_00000012" / "state.json").unlink()
    with pytest.raises(BadInput, match=r"step_00000012 lacks its file state\.json"):
        checkpoint.verify(tmp_path / "step_00000012")
    assert store.latest() == tmp_path / "step_00000010"


class Images:
    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.randn(3, 8, 8)


class Tied(nn.Module):
    """A convolution in channels-last order, used twice, and a parameter that the optimiser scales."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1).to(memory_format=torch.channels_last)
        self.second = self.first
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * self.second(self.first(x).relu())


class Convolve(Task):
    def model(self):
        return Tied()

    def dataset(self):
        return Images()

    def loss(self, model, batch, moment):
        x = batch.contiguous(memory_format=torch.channels_last)
        return (model(x) - x).square().mean(), {}

    def parameter_groups(self, model):
        return [{"params": [model.gain], "lr_scale": 0.0}, {"params": list(model.first.parameters())}]


def test_channels_last_tied_and_scaled_parameters_resume_bit_for_bit(tmp_path: Path) -> None:
    config = TrainConfig(steps=5, batch_size=2, lr=0.01, ema_decay=0.9, bf16=True, threads=1, tensorboard=False)
    before = torch.get_num_threads()
    whole = fit(Convolve(), config, tmp_path / "whole")
    while (cut := fit(Convolve(), replace(config, max_minutes=0), tmp_path / "cut")).state == "stopped":
        continue
    torch.set_num_threads(before)
    assert torch.equal(whole.model.first.weight, cut.model.first.weight)
    for name in ("model", "ema", "optimizer"):
        files = [r.checkpoint / f"{name}.safetensors" for r in (whole, cut)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert float(whole.model.gain.detach()) == 1.0  # its lr_scale is 0
    assert not torch.equal(whole.model.first.weight, whole.averages["ema"]["first.weight"])


def test_counting_flops_changes_no_result(tmp_path: Path) -> None:
    """The ledger of one run says that the step was counted already, so nothing is counted there."""
    config = TrainConfig(steps=3, batch_size=2, lr=0.01, threads=1, tensorboard=False)
    before = torch.get_num_threads()
    counted = fit(Convolve(), config, tmp_path / "a")
    (tmp_path / "b").mkdir()
    ledger = json.loads((tmp_path / "a" / "ledger.json").read_text())
    assert ledger["sessions"][0]["flops_per_step"]["forward"] == 2 * 2 * 2 * 64 * 3 * 3 * 9
    ledger["sessions"][0]["flops_per_step"] = {"forward": 7, "backward": 0}
    (tmp_path / "b" / "ledger.json").write_text(json.dumps(ledger))
    not_counted = fit(Convolve(), config, tmp_path / "b")
    torch.set_num_threads(before)
    assert torch.equal(counted.model.first.weight, not_counted.model.first.weight)
    assert json.loads((tmp_path / "b" / "ledger.json").read_text())["sessions"][1]["flops_forward"] == 21
