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

from tapetum.core.errors import BadInput
from tapetum.train import state

pytestmark = pytest.mark.slow

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

    def _read(self) -> list[int]:
        return [int(number) for number in self._process.stdout.readline().split()]

    def run(self, out: Path, workers: int, at: int = STEPS, deadly: str = "-", group: bool = False) -> int:
        """Trains; once the log has `at` lines, SIGKILL to the trainer, or SIGTERM to its group. Exit code, or -signal."""
        (code,) = self._run(out, f"{workers} {deadly} -", at, deadly, group, 0)
        return code

    def run_pair(self, out: Path, parallel: str, at: int = STEPS, victim: int = 0, deadly: str = "-") -> list[int]:
        """Two processes train, of which `victim` is killed; the exit codes of both."""
        return self._run(out, f"0 {deadly} {parallel}", at, deadly, False, victim)

    def _run(self, out: Path, how: str, at: int, deadly: str, group: bool, victim: int) -> list[int]:
        print(out, how, file=self._process.stdin, flush=True)
        pid = self._read()[victim]
        while not (out / "ended").exists() and deadly == "-":
            if at < STEPS and lines_in(out) >= at:
                if group:
                    os.killpg(pid, signal.SIGTERM)
                else:
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.0003)
        codes = self._read()
        (out / "ended").unlink(missing_ok=True)
        return codes

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
    assert set(files_of(whole)) == {f"{n}.safetensors" for n in ("model", "ema", "optimizer-alone", "optimizer-taught")}


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
        ("os.rename:.ledger.", [14, 21, 28]),  # the ledger is written in the first step of a session
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


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_pair_of_which_one_is_killed_goes_on_bit_for_bit(
    tmp_path: Path, nursery: Nursery, whole: Path, parallel: str
) -> None:
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "killed"
    assert nursery.run_pair(undisturbed, parallel) == [0, 0]
    at = random.Random(parallel).randrange(2, 20)
    kills = [{"victim": 1, "at": at}, {"deadly": "os.rename:tmp-step_00000028"}]  # the latter in the middle of a save
    for kill in kills:
        before = lines_in(out)
        victim = kill.get("victim", 0)
        codes = nursery.run_pair(out, parallel, **kill)
        assert codes[victim] == -signal.SIGKILL
        assert codes[1 - victim] == 2, (out / "stderr").read_text()
        assert lines_in(out) > before
    errors = (out / "stderr").read_text()
    assert errors.count("lost another process of this run (") == len(kills)
    assert "Traceback" not in errors
    reached = lines_in(out)
    assert nursery.run_pair(out, parallel) == [0, 0]
    resumed = [int(line.split()[4]) for line in (out / "stderr").read_text().splitlines() if line.startswith("goes on")]
    assert reached - 7 <= resumed[-1] <= reached
    assert files_of(out) == files_of(undisturbed)
    assert log_of(out) == log_of(undisturbed)
    for ours, theirs in zip(log_of(out), log_of(whole), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_processes_may_come_and_go_between_calls(tmp_path: Path, nursery: Nursery, whole: Path) -> None:
    assert nursery.run_pair(tmp_path, "fsdp", deadly="os.rename:tmp-step_00000014") == [-signal.SIGKILL, 2]
    assert nursery.run(tmp_path, 0, deadly="os.rename:tmp-step_00000021") == -signal.SIGKILL
    assert nursery.run_pair(tmp_path, "ddp", deadly="os.rename:tmp-step_00000028") == [-signal.SIGKILL, 2]
    assert nursery.run_pair(tmp_path, "fsdp") == [0, 0]
    log, alone = log_of(tmp_path), log_of(whole)
    assert [line["step"] for line in log] == list(range(1, STEPS + 1))
    for ours, theirs in zip(log, alone, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_another_setting_is_refused_by_name() -> None:
    state._check_same_run(Path("run"), {"task": {"frame_rate": 2.0}}, {"task": {"frame_rate": 2.0}})
    with pytest.raises(BadInput, match=r"is of a run with task\.frame_rate 2\.0 \(now 3\.0\)"):
        state._check_same_run(Path("run"), {"task": {"frame_rate": 2.0}}, {"task": {"frame_rate": 3.0}})
