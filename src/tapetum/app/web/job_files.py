"""Folders of jobs: what a job is told and what it tells, in files that survive both server and job.

job.json         id, kind, item, settings, created: written once
progress.json    state, done, total, seconds_left, message: by the job while it holds the lock, else by the server
result.json      what came out, before the state is done
lock             held (flock) as long as the process of the job lives; its text is the number of the process
cancel           somebody has cancelled it
log.txt          what it printed
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tapetum.core.files import whole_file, write_text
from tapetum.core.reading import open_file, read_json

FINAL = frozenset(("done", "failed", "cancelled"))
"""States of a job that is over."""
WAITING: dict[str, Any] = {"state": "waiting", "done": 0, "total": 0, "seconds_left": None, "message": ""}
_TRIES, _PAUSE_S = 60, 0.05


def write(path: Path, content: Any) -> None:
    """Write a file of JSON, whole or not at all."""
    with whole_file(path, own=True) as temporary:
        write_text(temporary, json.dumps(content))


def read(path: Path, default: Any = None) -> Any:
    """Read a file of JSON; the default where it is not there or damaged."""
    try:
        return read_json(path, most=1 << 30)
    except (OSError, ValueError):
        return default


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Hold the lock of a job's folder within the block: False where another process does."""
    with open(folder / "lock", "a+") as file:
        locked = False
        for _ in range(_TRIES):  # the server may be looking at this moment
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
                break
            time.sleep(_PAUSE_S)
        if locked:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield locked


def holder(folder: Path) -> int | None:
    """Find the process that holds the lock of a job's folder; None where none does."""
    try:
        with open_file(folder / "lock") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().decode()
                return int(text) if text.isdecimal() else 0
    except OSError:
        pass
    return None


class Progress:
    """Writer of the progress of a job: not too often, with an estimate of the time that is left."""

    EVERY_S = 0.2

    def __init__(self, folder: Path):
        self._file = folder / "progress.json"
        self._begin, self._written = time.monotonic(), 0.0
        self._now = {**WAITING, "state": "running"}
        self.say()

    def say(self, done: int | None = None, total: int | None = None, message: str | None = None) -> None:
        """Say how far the job is; numbers are written from time to time, a message alone at once."""
        for name, value in (("done", done), ("total", total), ("message", message)):
            if value is not None:
                self._now[name] = value
        now = time.monotonic()
        if done is not None and now - self._written < self.EVERY_S:
            return
        share = self._now["done"] / self._now["total"] if self._now["total"] else 0
        self._now["seconds_left"] = round((now - self._begin) * (1 / share - 1), 1) if share else None
        write(self._file, self._now)
        self._written = now

    def end(self, state: str, message: str = "") -> None:
        """Say that the job is over."""
        done = self._now["total"] if state == "done" else self._now["done"]
        write(self._file, {**self._now, "state": state, "done": done, "seconds_left": None, "message": message})
