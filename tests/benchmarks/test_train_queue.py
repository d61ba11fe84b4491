"""A queue of trainings that is stopped and killed ends as an undisturbed one; what fails or costs too much is passed over."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.networks import save_tapir
from support.scripts import ROOT, script
from tapetum.app.shell.main import parse
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.kubric import write_sequence

files = script("benchmarks/train_queue_files.py")
queue = script("benchmarks/train_queue.py")

STEPS = 48
ENTRY = '[[training]]\nname = "{name}"\ncommand = "{command}"\ncore_hours = {hours}\n'
SCORE = 'score = ["tapetum ledger {out} --json", "python -c \'print(1); print(2)\'"]\n'


def make_data(folder: Path) -> str:
    """Write four sequences of noise and a very small network; gives the words of a training on them."""
    rng = np.random.default_rng(0)
    for k in range(4):
        video = rng.integers(0, 256, (6, 40, 40, 3)).astype(np.uint8)
        clip = TrackedClip(video, rng.uniform(4, 36, (20, 6, 2)).astype(np.float32), np.ones((20, 6), bool))
        write_sequence(folder / "data" / f"{k:04d}", clip)
    save_tapir(folder / "tiny.safetensors", initial_resolution=(32, 32))
    settings = "--batch-size 2 --micro-batch 2 --size 32 --frames 5 --points 8 --save-every 20 --device cpu"
    return f"train tap-kubric --data {folder / 'data'} --weights {folder / 'tiny.safetensors'} {settings}"


class Started:
    def __init__(self, toml: Path, out: Path):
        self.out = out
        words = [toml, "--out", out, "--code", ROOT, "--nice", "0", "--poll", "0.5"]
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "benchmarks/train_queue.py", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, what: Callable[[], bool]) -> None:
        while not what():
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.01)

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Send a signal and wait; gives the exit code and what it printed."""
        if number is not None:
            self.process.send_signal(number)
        printed = self.process.communicate(timeout=300)[1]
        return self.process.returncode, printed


@pytest.fixture
def start() -> Iterator[Callable[[Path, Path], Started]]:
    """Start queues; those that still run after the test are stopped."""
    started: list[Started] = []

    def begin(toml: Path, out: Path) -> Started:
        started.append(Started(toml, out))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)


def steps_of(run: Path) -> int:
    log = run / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def record(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / f"{name}.json").read_text())


def trainer(out: Path) -> int:
    """Find the process that trains: of a session of its own, with the folder among its words."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--out" in words and str(out).encode() in words and b"--code" not in words:
            return int(file.parent.name)
    raise AssertionError(f"nothing trains in {out}")


@pytest.mark.slow
def test_a_queue_that_is_stopped_and_killed_ends_as_one_that_is_not(
    tmp_path: Path, start: Callable[[Path, Path], Started]
) -> None:
    toml, out = tmp_path / "queue.toml", tmp_path / "runs"
    command = make_data(tmp_path)
    few = f"{command} --steps {STEPS}"
    text = ENTRY.format(name="killed", command=few, hours=1) + SCORE
    text += ENTRY.format(name="broken", command=f"{command} --nothing 1", hours=1)
    text += ENTRY.format(name="whole", command=few, hours=1)
    toml.write_text(text)
    run = out / "killed"

    first = start(toml, out)  # SIGTERM is passed on, and the training saves
    first.wait_for(lambda: steps_of(run) >= 3)
    assert queue.main([str(toml), "--out", str(out), "--code", str(ROOT), "--nice", "0"]) == 2
    code, printed = first.end(signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, printed
    saved = steps_of(run)
    assert (run / "checkpoints" / f"step_{saved:08d}").is_dir()
    assert saved < STEPS

    second = start(toml, out)  # the queue alone dies; the training saves, and the next start waits for it
    second.wait_for(lambda: steps_of(run) >= saved + 3)
    second.end(signal.SIGKILL)

    third = start(toml, out)  # both die at once
    third.wait_for(
        lambda: len(record(out, "killed")["sessions"]) == 3 and record(out, "killed")["sessions"][2]["cpu_seconds"] > 0
    )
    saved = steps_of(run)
    third.wait_for(lambda: steps_of(run) >= saved + 3)
    victim = trainer(run)
    third.process.kill()
    os.kill(victim, signal.SIGKILL)
    third.end()
    assert steps_of(run) < STEPS

    code, printed = start(toml, out).end()
    assert code == 1, printed
    assert "not finished: broken" in printed
    assert "nothing" in " ".join(record(out, "broken")["last_lines"])
    assert [session["end"] for session in record(out, "killed")["sessions"]] == ["stopped", "killed", "killed", "finished"]
    assert (run / "tiny.safetensors").read_bytes() == (out / "whole" / "tiny.safetensors").read_bytes()

    made = out / "evidence" / "killed"
    results = json.loads((made / "results.json").read_text())
    status, printed = results["scores"].values()
    assert status["runs"][0]["total"]["steps"] >= STEPS  # what was lost by a kill is computed, and counted, again
    assert printed == ["1", "2"]
    assert results["seed"] == 1
    ledger = json.loads((made / "ledgers.json").read_text())["killed"]
    assert results["sessions"][-1]["commit"] == ledger["sessions"][-1]["commit"]
    assert str(tmp_path) not in (made / "results.json").read_text()
    [curve] = (made / "curves").iterdir()
    assert len(curve.read_text().splitlines()) == STEPS + 1
    assert results["cost"]["steps"] == ledger["total"]["steps"] >= STEPS

    hours = record(out, "whole")["sessions"][0]["cpu_seconds"] / 3600  # enough to begin
    text = ENTRY.format(name="whole", command=few, hours=1)
    toml.write_text(text + ENTRY.format(name="long", command=f"{command} --steps 10000", hours=hours))
    code, printed = start(toml, out).end()
    assert code == 1, printed
    long = record(out, "long")
    assert long["state"] == "out of budget"
    assert 3600 * hours <= sum(session["cpu_seconds"] for session in long["sessions"]) < 7200 * hours + 5
    assert (out / "long" / "checkpoints" / f"step_{steps_of(out / 'long'):08d}").is_dir()
    assert len(record(out, "whole")["sessions"]) == 1  # what is finished is left alone


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("name =", "nam ="), "is no queue"),
        (('"a"', '"../a"'), "cannot be used"),
        (("train a", "train a --out x"), "--out, which the queue sets"),
        (("= 1", "= 0"), "above 0"),
        (("= 1", "= 1\nscore = ['rm -r']"), "must begin with tapetum or python"),
    ],
)
def test_a_wrong_entry_is_refused_in_one_line(tmp_path: Path, capsys: Any, change: tuple[str, str], line: str) -> None:
    toml = tmp_path / "queue.toml"
    other = ENTRY.format(name="b", command="train b", hours=2)
    toml.write_text(other + ENTRY.format(name="a", command="train a", hours=1).replace(*change))
    assert queue.main([str(toml), "--out", str(tmp_path / "out"), "--code", str(ROOT)]) == 2
    printed = capsys.readouterr().err
    assert line in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_trained_before_what_prepares_it_succeeded(tmp_path: Path, start: Callable[[Path, Path], Started]) -> None:
    toml, out = tmp_path / "queue.toml", tmp_path / "runs"
    (tmp_path / "make.py").write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).touch(exist_ok=False); print('made')")
    make = [f"python {tmp_path / 'make.py'} {{folder}}/{name}" for name in ("first", "second")]
    text = ENTRY.format(name="a", command="ledger {folder}", hours=1)  # ends with an error, at once
    toml.write_text(text + f"prepare = {json.dumps(make)}\n")
    out.mkdir()
    (out / "second").touch()

    code, printed = start(toml, out).end()
    assert code == 1
    assert "FileExistsError" in printed
    state = record(out, "a")
    assert (state["state"], state["sessions"]) == ("failed", [])
    assert state["prepared"] == {make[0]: ["made"]}

    (out / "second").unlink()
    start(toml, out).end()  # the first is not made again, which would fail
    assert set(record(out, "a")["prepared"]) == set(make)
    assert len(record(out, "a")["sessions"]) == 1


def test_a_second_queue_in_a_folder_is_refused_in_one_line_and_status_knows_of_the_first(tmp_path: Path, capsys: Any) -> None:
    toml = tmp_path / "queue.toml"
    toml.write_text(ENTRY.format(name="a", command="train a", hours=1))
    words = [str(toml), "--out", str(tmp_path / "out")]
    with queue.locked(tmp_path / "out"):
        assert queue.main([*words, "--code", str(ROOT)]) == 2
        line = capsys.readouterr().err
        assert "another queue runs in" in line
        assert line.count("\n") == 1
        assert queue.main([*words, "--status"]) == 0
        assert "a queue runs here" in capsys.readouterr().out.splitlines()
    assert queue.main([*words, "--status"]) == 0
    assert "no queue runs here" in capsys.readouterr().out.splitlines()
    assert queue.main(words) == 2
    assert "is no checkout of tapetum" in capsys.readouterr().err


def test_a_training_that_has_begun_keeps_its_command_but_not_its_bound(tmp_path: Path) -> None:
    training = files.Training(name="a", command="train a", core_hours=1.0)
    begun = files.Record(tmp_path, training)
    begun.content["sessions"].append({"cpu_seconds": 7200.0, "commit": "0123456789", "end": "stopped"})
    begun.save(state="out of budget")
    more = replace(training, core_hours=4.0)
    assert files.Record(tmp_path, more).cpu_seconds == 7200
    table = files.status_table([more, replace(training, name="b")], tmp_path).splitlines()
    assert table[1].split() == ["a", "out", "of", "budget", "2", "of", "4", "1", "01234567"]
    assert table[2].split() == ["b", "waiting", "0", "of", "1", "0"]
    with pytest.raises(files.BadInput, match="give the entry another name"):
        files.Record(tmp_path, replace(training, command="train a --seed 2"))


def test_the_queue_of_this_repository_can_be_read() -> None:
    trainings = files.read_queue(ROOT / "benchmarks/queue.toml")
    assert "paligemma-nano-2" in {training.name for training in trainings}
    for training in trainings:  # each is a command with options that there are
        parse([*shlex.split(training.command), "--out", "x", "--threads", "1", "--workers", "0"])
