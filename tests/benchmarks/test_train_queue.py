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

import pytest

from support.scripts import ROOT, script
from tapetum.app.shell.main import parse

files = script("benchmarks/train_queue_files.py")
queue = script("benchmarks/train_queue.py")

STEPS = 48
ENTRY = '[[training]]\nname = "{name}"\ncommand = "{command}"\ncore_hours = {hours}\n'
SCORE = 'score = ["tapetum ledger {out} --json", "python -c \'print(1); print(2)\'"]\n'


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


def record(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / f"{name}.json").read_text())


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
