"""Checkpoints of which each process writes its part: read by any number of processes, damaged, cut off, and at an address."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

from tapetum.core.errors import BadInput
from tapetum.hub.state_dicts import finite_to_bytes, read_folder, write_finite
from tapetum.train import Task, TrainConfig, checkpoint, fit, fsdp, sharded

SHARDED = {"checkpoint": "sharded", "async_checkpoint": True}


def log_of(out: Path) -> list[dict]:
    """The log without what a clock decides."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "samples_per_s")} for line in lines]


def trained(jobs: Any, out: Path, processes: int = 1, codes: tuple[int, ...] = (0,), **config: Any) -> str:
    """Train on with the teacher's task; returns what was said since."""
    options = {name: config.pop(name) for name in ("most_bytes", "deadly") if name in config}
    (out / "stderr").unlink(missing_ok=True)
    ended = jobs.run("train", out, processes, task=config.pop("task", "taught"), config={"eval_every": 3, **config}, **options)
    said = "\n".join(line for line in (out / "stderr").read_text().splitlines() if "Warning" not in line)
    assert set(ended) == set(codes), said
    return said


def assert_same_files(one: Path, other: Path) -> None:
    """Two whole checkpoints are the same to the bit."""
    for name in ("model", "slow", "copy", "optimizer"):
        assert (one / f"{name}.safetensors").read_bytes() == (other / f"{name}.safetensors").read_bytes(), name
    states = [json.loads((folder / "state.json").read_text()) for folder in (one, other)]
    for clock in ("seconds", "log_position"):  # the log has the time in it
        states = [{key: value for key, value in state.items() if key != clock} for state in states]
    assert states[0] == states[1]


@pytest.mark.slow
def test_any_number_of_processes_reads_what_others_wrote_to_the_bit(jobs: Any, tmp_path: Path) -> None:
    """A whole checkpoint goes through processes of many kinds and comes out the same; then the run goes on from parts."""
    fsdp, groups = {"parallel": "fsdp"}, {"parallel": "fsdp", "replicas": 2}
    trained(jobs, tmp_path / "whole", 2, accumulation=2, checkpoint_every=3, **fsdp)
    trained(jobs, tmp_path / "run", 2, accumulation=2, checkpoint_every=3, **fsdp, **SHARDED)
    hops = [(4, fsdp | SHARDED), (2, SHARDED), (4, groups | SHARDED), (1, {})]
    source, whole = tmp_path / "run" / "checkpoints", tmp_path / "whole" / "checkpoints" / "step_00000003"
    shutil.rmtree(source / "step_00000006")
    for number, (processes, config) in enumerate(hops):
        out = tmp_path / f"hop {number}"
        config = {"accumulation": 4 // processes, **config}
        assert jobs.run("save_again", out, processes, source=str(source), config=config) == [0] * processes, (
            out / "stderr"
        ).read_text()
        parts = sorted(file.name for file in (out / "step_00000003").glob("part-*"))
        assert parts == [f"part-{rank:05d}.safetensors" for rank in range(processes if "checkpoint" in config else 0)]
        source = out
    assert_same_files(source / "step_00000003", whole)
    said = trained(jobs, tmp_path / "run", 1, accumulation=4, checkpoint_every=3)  # and in whole ones from here
    assert "goes on after step 3" in said
    for ours, theirs in zip(log_of(tmp_path / "run"), log_of(tmp_path / "whole"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-9)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-9)


@pytest.mark.slow
def test_four_processes_of_ddp_go_on_to_the_bit(jobs: Any, tmp_path: Path) -> None:
    """The order in which four gradients are summed must not depend on how long ago the processes were started."""
    trained(jobs, tmp_path / "whole", 4, task="contrast")
    trained(jobs, tmp_path / "run", 4, task="contrast", max_minutes=0)
    assert "goes on after step 1" in trained(jobs, tmp_path / "run", 4, task="contrast")
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
    for name in ("model.safetensors", "optimizer.safetensors"):
        files = [tmp_path / run / "checkpoints" / "step_00000006" / name for run in ("run", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_a_run_goes_on_in_fewer_processes_where_its_batches_can_be_kept(jobs: Any, tmp_path: Path) -> None:
    trained(jobs, tmp_path / "one", accumulation=2)
    out = tmp_path / "two"
    trained(jobs, out, 2, max_minutes=0, parallel="fsdp", **SHARDED)
    said = trained(jobs, out, 4, codes=(2,), **SHARDED)
    assert said.startswith("step_00000001 is of a run with micro_batch 4 (now 2); ")  # processes write to one stream
    said = trained(jobs, out, 1, **SHARDED)
    assert said.count("accumulates 2 micro-batches in each of 1 processes, as batch_size stays") == 1
    for ours, theirs in zip(log_of(out), log_of(tmp_path / "one"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-9)


@pytest.mark.slow
def test_a_full_disk_and_a_death_while_saving_beside_the_training_lose_nothing(jobs: Any, tmp_path: Path) -> None:
    config = {"parallel": "fsdp", "checkpoint_every": 2, **SHARDED}
    trained(jobs, tmp_path / "whole", 2, **config)
    out = tmp_path / "run"
    said = trained(jobs, out, 2, codes=(-9, 2), deadly="open:tmp-step_00000004/part-00000", **config)
    assert said.count("lost another process of this run (") == 1
    said = trained(jobs, out, 2, codes=(2,), most_bytes=9000, **config)
    assert "goes on after step 2" in said
    for line in said.splitlines()[-2:]:
        assert line == (
            "cannot save checkpoint step_00000004: process 0: File too large; the previous one, step_00000002, is intact; "
            "make room and run the same command again to resume"
        )
    assert [folder.name for folder in sorted((out / "checkpoints").iterdir())] == ["step_00000002"]
    assert "goes on after step 2" in trained(jobs, out, 2, **config)
    assert log_of(out) == log_of(tmp_path / "whole")
    for name in ("model", "slow", "copy"):
        assert (out / "weights" / f"{name}.safetensors").read_bytes() == (
            tmp_path / "whole" / "weights" / f"{name}.safetensors"
        ).read_bytes()


@pytest.mark.parametrize("reads", [False, True])
def test_a_network_without_values_keeps_its_buffers_and_single_numbers(reads: bool) -> None:
    class Filled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.tied, self.norm = nn.Linear(9, 10), nn.Linear(9, 10), nn.BatchNorm1d(3)
            self.tied.weight = self.first.weight
            self.scale = nn.Parameter(torch.tensor(2.0))
            nn.init.trunc_normal_(self.first.weight, std=0.02)
            self.first.load_state_dict(nn.Linear(9, 10).state_dict())
            self.mean = float(self.first.weight.mean()) if reads else 0.0

    model = fsdp.make_on_meta(Filled)
    assert model.first.weight.is_meta is not reads
    assert model.tied.weight is model.first.weight
    assert float(model.scale) == 2.0
    assert torch.equal(model.norm.running_var, torch.ones(3))


@pytest.mark.slow
@pytest.mark.parametrize("deadly", ["open:tmp-step_00000004/model", "open:weights/.slow"])
def test_a_death_in_a_whole_save_and_at_the_end_leaves_nothing_half_written(jobs: Any, tmp_path: Path, deadly: str) -> None:
    config = {"parallel": "fsdp", "checkpoint_every": 2, **(SHARDED if "weights" in deadly else {})}
    trained(jobs, tmp_path / "whole", 2, **config)
    out = tmp_path / "run"
    trained(jobs, out, 2, codes=(-9, 2), deadly=deadly, **config)
    there = sorted(file.name for file in (out / "weights").glob("*") if not file.name.startswith("."))
    assert there == (["model.safetensors"] if "weights" in deadly else [])
    assert f"goes on after step {6 if 'weights' in deadly else 2}" in trained(jobs, out, 2, **config)
    assert log_of(out) == log_of(tmp_path / "whole")
    place = "weights" if "weights" in deadly else "checkpoints/step_00000006"
    assert sorted(file.name for file in (out / place).iterdir()) == sorted(
        file.name for file in (tmp_path / "whole" / place).iterdir()
    )
    for name in ("model", "slow", "copy"):
        assert (out / place / f"{name}.safetensors").read_bytes() == (
            tmp_path / "whole" / place / f"{name}.safetensors"
        ).read_bytes()


@pytest.mark.slow
def test_two_processes_take_much_less_memory_each_than_one_from_the_start_to_the_end(jobs: Any, tmp_path: Path) -> None:
    peaks = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        config = {"steps": 2, "batch_size": 2, "parallel": "fsdp", "checkpoint": "sharded"}
        assert jobs.run("train", out, processes, task="wide", config=config) == [0] * processes, (out / "stderr").read_text()
        peaks += [max(json.loads(file.read_text())["peak_mb"] for file in out.glob("exchanges-*.json"))]
    assert peaks[0] >= 600  # 24 bytes a weight: itself, gradient, two moments, two averages
    assert peaks[1] <= 0.75 * peaks[0]  # a whole model, or a whole state, would be 0.17 or more above a half


class Tied(nn.Module):
    """A convolution in channels-last order that is used twice, and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1).to(memory_format=torch.channels_last)
        self.second = self.first
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * self.second(self.first(x).relu())


class Noise:
    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.randn(3, 4, 4)


class Restore(Task):
    def model(self) -> nn.Module:
        return Tied()

    def dataset(self) -> Noise:
        return Noise()

    def loss(self, model, batch, context):
        return (model(batch) - batch).square().mean(), {}


CONFIG = TrainConfig(steps=6, batch_size=2, lr=0.01, ema_decay=0.9, checkpoint_every=2, tensorboard=False, **SHARDED)


def test_large_weights_are_several_files_with_an_index_as_on_hubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(Restore(), CONFIG, tmp_path)
    assert sorted(file.name for file in whole.weights.iterdir()) == ["ema.safetensors", "model.safetensors"]
    monkeypatch.setattr(checkpoint, "LARGEST_FILE", 400)  # a filter has 324 bytes
    result = fit(Restore(), CONFIG, tmp_path)
    index = json.loads((result.weights / "model.safetensors.index.json").read_text())
    sizes = {name: (result.weights / name).stat().st_size for name in index["weight_map"].values()}
    assert len(sizes) >= 2
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in whole.model.state_dict().values())
    model = fsdp.read_model(Restore(), CONFIG, torch.device("cpu"), result.weights)
    averages = fsdp.read_averages(CONFIG, torch.device("cpu"), result.weights)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(read_folder(result.weights)[name], value)
        assert torch.equal(model.state_dict()[name], value)
        assert torch.equal(averages["ema"][name], whole.averages["ema"][name])
    monkeypatch.undo()
    assert fit(Restore(), CONFIG, tmp_path).state == "finished"
    assert not (result.weights / "model.safetensors.index.json").exists()  # which would be read first


def test_what_is_written_tensor_by_tensor_is_what_the_library_writes(tmp_path: Path) -> None:
    tensors = {"b": torch.randn(3, 2), "a": torch.ones(2).bfloat16(), "count": torch.tensor(3), "text": torch.zeros(5).byte()}
    tensors["turned"] = torch.randn(4, 3).T
    write_finite({**tensors, "none": torch.empty(0, 2)}, {"ö": "{}"}, tmp_path / "file")
    tensors["turned"] = tensors["turned"].contiguous()
    assert (tmp_path / "file").read_bytes() == finite_to_bytes({**tensors, "none": torch.empty(0, 2)}, {"ö": "{}"})


def test_one_process_also_writes_beside_its_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HuggingFaceStorageReader, "_process_read_request")  # which maps a file beside its tensors
    whole = fit(Restore(), replace(CONFIG, checkpoint="whole", async_checkpoint=False), tmp_path / "whole")
    while (cut := fit(Restore(), replace(CONFIG, max_minutes=0), tmp_path / "run")).state == "stopped":
        assert cut.weights == tmp_path / "run" / "weights"
        assert not cut.weights.exists()
    assert whole.weights == whole.checkpoint
    for name in ("model", "ema"):
        files = [result.weights / f"{name}.safetensors" for result in (whole, cut)]
        assert files[0].read_bytes() == files[1].read_bytes()
    names = [folder.name for folder in checkpoint.CheckpointStore(tmp_path / "run" / "checkpoints").checkpoints()]
    assert names == ["step_00000005", "step_00000006"]
    assert sorted(file.name for file in Path(cut.checkpoint).iterdir()) == [
        "manifest.json",
        "part-00000.safetensors",
        "state.json",
    ]


class Awaited(Restore):
    """Lets the writer go on only when two more steps have moved the weights."""

    def __init__(self) -> None:
        self.moved = threading.Event()

    def model(self) -> nn.Module:
        return nn.Conv2d(3, 3, 3, padding=1)  # nothing tied, which safetensors would notice in what is no copy

    def after_step(self, step: int, metrics: Any) -> None:
        if step == 3:
            self.moved.set()


def test_what_a_slow_writer_writes_is_of_its_step_not_of_later_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, steps=4, ema_decay=0.5)
    fit(Awaited(), replace(config, checkpoint="whole", async_checkpoint=False), tmp_path / "whole")
    task, own_write = Awaited(), sharded._Writer.write_data

    def write_late(self: Any, *plan: Any) -> Any:
        assert task.moved.wait(600)
        return own_write(self, *plan)

    monkeypatch.setattr(sharded._Writer, "write_data", write_late)
    fit(task, config, tmp_path / "slow")
    name = "checkpoints/step_00000002"
    found = load_file(tmp_path / "slow" / name / "part-00000.safetensors")
    for file in ("model", "ema", "optimizer"):
        of_step = load_file(tmp_path / "whole" / name / f"{file}.safetensors")
        later = load_file(tmp_path / f"whole/checkpoints/step_00000004/{file}.safetensors")
        assert any(not torch.equal(value, later[key]) for key, value in of_step.items())
        for key, value in of_step.items():
            assert torch.equal(found.pop(f"{file}/{key}"), value), f"{file}/{key}"
    assert not found


def test_a_missing_or_damaged_part_leads_to_the_checkpoint_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = fit(Restore(), CONFIG, tmp_path)
    (Path(done.checkpoint) / "part-00000.safetensors").unlink()
    capsys.readouterr()
    again = fit(Restore(), CONFIG, tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (
        "warning: checkpoint step_00000006 lacks its file part-00000.safetensors; wanted the checkpoint as it was written; "
        "delete the folder to be rid of it; looking for an older one"
    )
    assert said[1] == "goes on after step 4 of 6, from step_00000004"
    assert torch.equal(again.model.first.weight, done.model.first.weight)
    for folder in checkpoint.CheckpointStore(tmp_path / "checkpoints").checkpoints():
        assert isinstance(folder, Path)
        part = folder / "part-00000.safetensors"
        part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match="none of the 2 checkpoints in checkpoints is whole"):
        fit(Restore(), CONFIG, tmp_path)
    assert capsys.readouterr().err.count("part-00000.safetensors does not match its checksum") == 2


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.write_bytes(b"tensors of somebody")])
def test_what_the_manifest_does_not_name_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plant: Callable[[Path], Any]
) -> None:
    done = fit(Restore(), CONFIG, tmp_path)
    plant(Path(done.checkpoint) / "x.safetensors")
    capsys.readouterr()
    again = fit(Restore(), CONFIG, tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(
        "warning: checkpoint step_00000006 has x.safetensors, which its manifest.json does not name; delete"
    )
    assert said[1] == "goes on after step 4 of 6, from step_00000004"
    assert torch.equal(again.model.first.weight, done.model.first.weight)
