"""First steps that say how long a run will take."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tapetum.train import StepContext, Task, TrainConfig
from tapetum.train.rehearsal import rehearse

CONFIG = TrainConfig(steps=500, batch_size=4, lr=0.1, warmup_steps=5, eval_every=100, ema_decay=0.9, tensorboard=False)
BUSY = 0.01


class Rows:
    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.randn(3)


class Busy(Task):
    """A loss that takes CPU time, so many seconds a micro-batch."""

    def __init__(self) -> None:
        self.micro_batches: list[int] = []

    def model(self) -> nn.Module:
        return nn.Linear(3, 5)

    def dataset(self) -> Rows:
        return Rows()

    def loss(self, model: nn.Module, batch: torch.Tensor, context: StepContext) -> tuple[torch.Tensor, Mapping[str, Any]]:
        self.micro_batches.append(len(batch))
        until = time.process_time() + BUSY
        while time.process_time() < until:
            pass
        return model(batch).square().mean(), {}


def test_a_run_is_its_start_and_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = rehearse(Busy(), CONFIG, seconds=0.1)
    assert BUSY <= found.step.cpu < 3 * BUSY
    assert found.step.wall >= BUSY
    assert found.of(500).cpu == pytest.approx(found.start.cpu + 500 * found.step.cpu)
    assert found.flops_per_step == 2 * 2 * 4 * 3 * 5  # forward, and the gradient of the weights
    assert not list(tmp_path.glob("tapetum-*"))


def test_of_many_micro_batches_two_are_done() -> None:
    task = Busy()
    found = rehearse(task, replace(CONFIG, batch_size=40, accumulation=10), seconds=0.0)
    assert set(task.micro_batches) == {4}
    assert len(task.micro_batches) == 1 + 2 * 4  # one for its FLOPs, then four steps
    assert 10 * BUSY <= found.step.cpu < 30 * BUSY
    assert found.flops_per_step == 10 * 2 * 2 * 4 * 3 * 5


def test_nothing_is_written_elsewhere_and_no_other_process_is_needed(tmp_path: Path) -> None:
    elsewhere = {"checkpoint_folder": str(tmp_path / "checkpoints"), "log_to": ("wandb",)}
    config = replace(CONFIG, parallel="fsdp", replicas=2, **elsewhere)
    assert rehearse(Busy(), config, seconds=0.0, steps=1).flops_per_step == 2 * 2 * 4 * 3 * 5
    assert not list(tmp_path.iterdir())


def test_its_time_is_bounded_and_one_step_is_enough() -> None:
    task = Busy()
    found = rehearse(task, CONFIG, seconds=60.0, most=0.0)
    assert len(task.micro_batches) == 2  # one for its FLOPs
    assert found.step.cpu >= BUSY


def test_a_signal_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        rehearse(Busy(), CONFIG, seconds=60.0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_it_does_not_wait_for_the_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    one = rehearse(Busy(), CONFIG, seconds=0.0)
    assert os.environ["RANK"] == "0"
    assert one.step.cpu >= 2 * BUSY  # of both processes
