"""Signals while worker processes start: no worker says anything, and none outlives the command."""

import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tapetum.train import stream

STARTING = """
import signal, sys, time
from tapetum.core.jobs import run_jobs

def sleep(seconds, _):
    time.sleep(seconds)

def ended(number, _):
    raise KeyboardInterrupt

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    try:
        print("begun", flush=True)
        list(run_jobs(sleep, [3000, 3000, 3000], workers=3))
    except KeyboardInterrupt:
        print("ended", flush=True)
else:
    time.sleep(0.5)  # a worker that imports for long
"""


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_workers_that_start_say_nothing(tmp_path: Path, number: signal.Signals, whole_group: bool) -> None:
    (tmp_path / "starting.py").write_text(STARTING)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "starting.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    until = time.monotonic() + 600
    while len(started := children(process.pid)) < 2 and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(0.05)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    out, error = process.communicate(timeout=600)
    assert (out, error) == ("ended\n", "")
    assert len(started) >= 2
    while any(Path(f"/proc/{each}/cmdline").exists() for each in started) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{each}/cmdline").exists() for each in started)


def test_the_server_of_data_workers_is_deaf_to_signals_from_its_first_moment() -> None:
    stream._end_server()
    stream._context()
    server: Any = multiprocessing.forkserver._forkserver  # pyright: ignore[reportAttributeAccessIssue]
    try:
        status = Path(f"/proc/{server._forkserver_pid}/status").read_text()
        [blocked] = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk")]
        assert all(blocked >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}
    finally:
        stream._end_server()
    assert server._forkserver_pid is None


PLANTED = "open({mark!r}, 'a').write(__file__)\nraise ImportError('planted')\n"
FROM_FOREIGN_FOLDER = """
import sys
from tapetum.app.shell.main import main
from tapetum.core.jobs import run_jobs

def length(text, _):
    return len(text)

if __name__ == "__main__":
    code = main()
    print(code, [result for _, result in run_jobs(length, ["a", "bb"], workers=2)])
"""


@pytest.mark.slow
def test_no_process_imports_from_the_folder_that_it_is_started_in(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("torch", "numpy", "multiprocessing", "tapetum", "signal", "socket"):
        (tmp_path / "here" / f"{name}.py").write_text(PLANTED.format(mark=str(tmp_path / "mark")))
    (tmp_path / "here" / "tapir.pt").write_bytes(b"no weights")
    (tmp_path / "bin" / "tapetum").write_text(FROM_FOREIGN_FOLDER)
    done = subprocess.run(
        [sys.executable, tmp_path / "bin" / "tapetum", "weights", "convert", "tapir.pt"],
        capture_output=True,
        text=True,
        cwd=tmp_path / "here",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert not (tmp_path / "mark").exists(), (tmp_path / "mark").read_text()
    assert done.stdout.startswith("2 ["), done.stdout + done.stderr
    assert "tapir.pt" in done.stderr
