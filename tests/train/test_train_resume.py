"""Runs that are killed, stopped and resumed end as if nothing had happened. This file is also the script that they run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tapetum.errors import TapetumError
from tapetum.train import Task, TrainConfig, fit

STEPS = 40
CONFIG = TrainConfig(
    steps=STEPS,
    batch_size=8,
    accumulation=2,
    warmup_steps=5,
    ema_decay=0.9,
    weight_decay=0.1,
    eval_every=15,
    checkpoint_every=7,
    keep_every=14,
    threads=1,
    tensorboard=False,
)


class Noise:
    """Random vectors, drawn from three global generators. Where the file `fatal` lies, it kills its own process once."""

    def __init__(self, fatal: Path):
        self.fatal = fatal

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        if number > 100 and self.fatal.exists():
            self.fatal.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.0005)
        return {"x": torch.randn(8) + float(np.random.rand()) + random.random()}


class Tiny(Task):
    """A network with everything that can carry state: batch norm, dropout, noise in the loss."""

    def __init__(self, fatal: Path):
        self.fatal = fatal

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 1))

    def dataset(self) -> Noise:
        return Noise(self.fatal)

    def loss(self, model, batch, generator):
        target = batch["x"].sum(1, keepdim=True) + 0.1 * torch.randn(len(batch["x"]), 1, generator=generator)
        loss = (model(batch["x"]) - target).square().mean()
        return loss, {"mean": batch["x"].mean()}

    def evaluate(self, model: nn.Module, step: int) -> dict[str, float]:
        return {"score": float(model(torch.randn(4, 8)).mean())}


class Nursery:
    """This file as a script: a process that has imported torch, started no thread, and forks a trainer on request."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _read(self) -> int:
        return int(self._process.stdout.readline())

    def run(self, out: Path, workers: int, moment: Callable[[], bool] = lambda: False, group: bool = False) -> int:
        """Trains; when `moment` comes, SIGKILL to the trainer, or SIGTERM to its group. Exit code, or -signal."""
        print(out, workers, file=self._process.stdin, flush=True)
        pid = self._read()
        while not (out / "ended").exists():
            if moment():
                if group:
                    os.killpg(pid, signal.SIGTERM)
                else:
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.0003)
        code = self._read()
        (out / "ended").unlink(missing_ok=True)
        return code

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def nursery_main() -> None:
    for request in sys.stdin:
        out, workers = request.split()
        pid = os.fork()
        if pid == 0:
            os.setpgrp()
            trainer_main(Path(out), int(workers))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def trainer_main(out: Path, workers: int) -> None:
    code = 1
    try:
        out.mkdir(exist_ok=True)
        with (out / "stderr").open("a") as errors:
            os.dup2(errors.fileno(), 2)
        code = 0 if fit(Tiny(out / "fatal"), replace(CONFIG, workers=workers), out).state == "finished" else 3
    except TapetumError as error:
        print(error, file=sys.stderr, flush=True)
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        (out / "ended").touch()
        os._exit(code)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def log_of(out: Path) -> list[dict]:
    """The log without what a clock decides."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "samples_per_s")} for line in lines]


def files_of(out: Path) -> dict[str, bytes]:
    """The tensors of the last checkpoint, to the byte."""
    return {f.name: f.read_bytes() for f in (out / "checkpoints" / f"step_{STEPS:08d}").glob("*.safetensors")}


def lines_in(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Path:
    """A run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole")
    assert nursery.run(out, 0) == 0, (out / "stderr").read_text()
    return out


def assert_same(out: Path, whole: Path) -> None:
    assert [line["step"] for line in log_of(out)] == list(range(1, STEPS + 1))
    assert log_of(out) == log_of(whole)
    assert files_of(out) == files_of(whole)
    assert set(files_of(whole)) == {"model.safetensors", "ema.safetensors", "optimizer.safetensors"}


@pytest.mark.parametrize(("workers", "kills"), [(0, 4), (2, 2), (4, 1)])
def test_killed_runs_end_bit_for_bit_alike(tmp_path: Path, nursery: Nursery, whole: Path, workers: int, kills: int) -> None:
    dice = random.Random(workers)
    for kill in range(kills):
        at = (kill * STEPS + dice.randrange(STEPS)) // kills  # lines of the log, which each resume cuts back
        assert nursery.run(tmp_path, workers, lambda at=at: lines_in(tmp_path) > at) == -signal.SIGKILL
    assert nursery.run(tmp_path, workers) == 0, (tmp_path / "stderr").read_text()
    assert_same(tmp_path, whole)


def test_kills_during_a_save_leave_the_previous_checkpoint(tmp_path: Path, nursery: Nursery, whole: Path) -> None:
    folder = tmp_path / "checkpoints"
    seen_half = False
    for step in (14, 21, 28):
        moment = (folder / f"tmp-step_{step:08d}").exists
        assert nursery.run(tmp_path, 0, moment) == -signal.SIGKILL
        seen_half |= moment()
        assert (folder / f"step_{step - 7:08d}" / "manifest.json").exists()
    assert seen_half, "no kill came in the middle of a save"
    assert nursery.run(tmp_path, 0) == 0
    assert_same(tmp_path, whole)
    assert not list(folder.glob("tmp-*"))


def test_sigterm_to_the_whole_group_saves_and_stops(tmp_path: Path, nursery: Nursery, whole: Path) -> None:
    assert nursery.run(tmp_path, 2, lambda: lines_in(tmp_path) >= 3, group=True) == 3
    stopped = max(int(f.name[5:]) for f in (tmp_path / "checkpoints").glob("step_*"))
    assert lines_in(tmp_path) == stopped < STEPS
    assert nursery.run(tmp_path, 0) == 0  # and with another number of workers
    assert_same(tmp_path, whole)


def test_a_killed_worker_is_one_clear_line(tmp_path: Path, nursery: Nursery, whole: Path) -> None:
    (tmp_path / "fatal").touch()
    assert nursery.run(tmp_path, 2) == 2
    errors = (tmp_path / "stderr").read_text()
    assert errors.count("a data worker was killed") == 1
    assert "Traceback" not in errors
    assert nursery.run(tmp_path, 0) == 0
    assert_same(tmp_path, whole)


if __name__ == "__main__":
    nursery_main()
