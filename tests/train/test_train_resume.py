"""Runs that are killed, stopped and resumed end as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

STEPS = 40
"""Steps of the runs of nursery.py, which saves every 7."""
SCRIPT = Path(__file__).with_name("nursery.py")


def lines_in(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


class Nursery:
    """The process nursery.py, which starts trainers."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _read(self) -> int:
        return int(self._process.stdout.readline())

    def run(self, out: Path, workers: int, at: int = STEPS, deadly: str = "-", group: bool = False) -> int:
        """Trains; once the log has `at` lines, SIGKILL to the trainer, or SIGTERM to its group. Exit code, or -signal."""
        print(out, workers, deadly, file=self._process.stdin, flush=True)
        pid = self._read()
        while not (out / "ended").exists() and deadly == "-":
            if at < STEPS and lines_in(out) >= at:
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


@pytest.mark.parametrize(("workers", "kills"), [(0, 3), (2, 1), (4, 1)])
def test_killed_runs_end_bit_for_bit_alike(tmp_path: Path, nursery: Nursery, whole: Path, workers: int, kills: int) -> None:
    dice = random.Random(workers)
    for kill in range(kills):
        at = 1 + (kill * STEPS + dice.randrange(STEPS // 2)) // kills
        assert nursery.run(tmp_path, workers, at) == -signal.SIGKILL
    assert nursery.run(tmp_path, workers) == 0, (tmp_path / "stderr").read_text()
    assert_same(tmp_path, whole)


def test_kills_at_every_stage_of_a_save_lose_nothing(tmp_path: Path, nursery: Nursery, whole: Path) -> None:
    folder = tmp_path / "checkpoints"
    stages = [  # where in a save the trainer dies, and the checkpoints it leaves
        ("os.mkdir:tmp-step_00000007", []),
        ("open:tmp-step_00000007/state.json", []),
        ("os.rename:tmp-step_00000007", []),
        ("open:tmp-step_00000014/manifest.json", [7]),
        ("os.rename:tmp-step_00000021", [7, 14]),
        ("os.rename:checkpoints/step_00000007", [7, 14, 21]),  # pruning
        ("shutil.rmtree:tmp-old-step_00000007", [14, 21, 28]),
        ("os.rename:.ledger.json.tmp", [14, 28, 35]),
    ]
    for deadly, left in stages:
        assert nursery.run(tmp_path, 0, deadly=deadly) == -signal.SIGKILL, deadly
        assert sorted(int(f.name[5:]) for f in folder.glob("step_*")) == left, deadly
    assert nursery.run(tmp_path, 0) == 0
    assert_same(tmp_path, whole)
    assert not list(folder.glob("tmp-*"))


def test_sigterm_to_the_whole_group_saves_and_stops(tmp_path: Path, nursery: Nursery, whole: Path) -> None:
    assert nursery.run(tmp_path, 2, at=3, group=True) == 3
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
