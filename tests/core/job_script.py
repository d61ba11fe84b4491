"""What workers do in `test_jobs.py`; as a script: doubles numbers in two processes, each into its own file, to be killed."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from tapetum.core.files import write_json
from tapetum.core.jobs import run_jobs


def invert(item: int, tool: int) -> float:
    return tool / item


def fail(item: int, error: Exception) -> float:
    return -1.0


def three() -> int:
    return 3


def die(item: int, _: None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def double(out: Path, number: int, tool: int) -> int:
    """Write the product with the tool into the number's file."""
    time.sleep(0.05)
    (out / f"{number}.began").open("a").write("began\n")
    write_json(out / f"{number}.json", {"stamp": {"tool": tool}, "result": number * tool})
    return number * tool


def two() -> int:
    return 2


def run(out: Path, count: int, workers: int) -> list[int]:
    missing = [number for number in range(count) if not (out / f"{number}.json").exists()]
    return [missing[k] for k, _ in run_jobs(partial(double, out), missing, two, workers=workers)]


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), workers=2)
