"""Folders of jobs: their state, in files that outlive both server and job; nothing read from them is trusted.

job.json         id, kind, item, settings, created: written once, for the list of jobs; what a job does it hears from its server
progress.json    state, done, total, seconds_left, message: by the job while it holds the lock, else by the server
result.json      what came out, before the state is done
lock             held (flock) as long as the process of the job lives; its text is the number of the process
cancel           somebody has cancelled it
log.txt          what it printed
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tapetum.core.files import write_text
from tapetum.core.reading import parse_json
from tapetum.desk.web.hidden import open_plain, read_plain

KINDS = {
    "track": "track_job",
    "look": "look_job",
    "export": "exports",
    "fetch": "models",
    "mask": "mask_job",
    "masks": "mask_job",
}
"""Kinds of jobs, and the modules that do them: `work` takes the job, the served folder and a listener."""
FINAL = frozenset(("done", "failed", "cancelled", "interrupted"))
"""States of a finished job; interrupted: its server ended before it was done, and only a person starts it again."""
STATES = FINAL | {"waiting", "running"}
ID = re.compile("[0-9a-f]{16}")
"""Ids of jobs and items."""
NO_ITEM = "0" * 16
"""The item of a job that is about none."""
WAITING: dict[str, Any] = {"state": "waiting", "done": 0, "total": 0, "seconds_left": None, "message": ""}
_MOST, MOST_RESULT = 1 << 24, 1 << 28
"""Maximum size of a file about a job, and of its result, which may hold images, in bytes."""
_LONGEST = 2000
"""Maximum length of a message."""
_TRIES, _PAUSE_S = 60, 0.05


def write(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content), own=True)


def read(folder: Path, name: str, most: int = _MOST) -> Any:
    """Read a JSON file in a folder; None if it does not exist, is not a plain file, or is damaged."""
    try:
        return parse_json(read_plain(folder.parent, folder.name, name, most=most))
    except (OSError, ValueError):
        return None


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """List the jobs whose folders are in a folder, the oldest first; incomplete jobs are skipped."""
    jobs = [job for name in os.listdir(folder) if ID.fullmatch(name) and _is_job(job := read(folder / name, "job.json"), name)]
    return sorted(jobs, key=lambda job: (job["created"], job["id"]))


def _is_job(job: Any, name: str) -> bool:
    if not isinstance(job, dict) or job.get("id") != name or not isinstance(job.get("settings"), dict):
        return False
    if not isinstance(job.get("kind"), str) or job["kind"] not in KINDS:
        return False
    item = job.get("item")
    return isinstance(item, str) and bool(ID.fullmatch(item)) and _is_number(job.get("created"))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e18  # neither NaN nor infinite


def read_progress(folder: Path) -> dict[str, Any] | None:
    """Read the progress of a job; None if it is missing or invalid."""
    read_ = read(folder, "progress.json")
    if not isinstance(read_, dict):
        return None
    now: dict[str, Any] = {name: read_.get(name) for name in WAITING}
    numbers = now["done"], now["total"], 0 if now["seconds_left"] is None else now["seconds_left"]
    texts = isinstance(now["state"], str) and isinstance(now["message"], str)
    return (
        {**now, "message": now["message"][:_LONGEST]}
        if texts and now["state"] in STATES and all(map(_is_number, numbers))
        else None
    )


def read_result(folder: Path) -> dict[str, Any]:
    """Read the output of a job: `result`, an object, and `model`, a text, if present."""
    read_ = read(folder, "result.json", MOST_RESULT)
    kinds = {"result": dict, "model": str}
    return {name: read_[name] for name, kind in kinds.items() if isinstance(read_, dict) and isinstance(read_.get(name), kind)}


def mark_cancelled(folder: Path) -> None:
    """Mark a job as cancelled. Raises OSError if that fails."""
    os.close(open_plain(folder.parent, folder.name, "cancel", flags=os.O_WRONLY | os.O_CREAT))


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Hold the lock of a job's folder within the block; False if another process holds it."""
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
    """Find the process that holds the lock of a job's folder: 0 if it is unknown, None if there is none."""
    try:
        with os.fdopen(open_plain(folder.parent, folder.name, "lock"), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(9)
                return int(text) if text.isdigit() else 0
    except OSError:
        pass
    return None


class Progress:
    """Writer of the progress of a job: rate-limited, with an estimate of the remaining time."""

    EVERY_S = 0.2

    def __init__(self, folder: Path):
        self._file = folder / "progress.json"
        self._begin, self._written = time.monotonic(), 0.0
        self._now = {**WAITING, "state": "running"}
        self.say()

    def say(self, done: int | None = None, total: int | None = None, message: str | None = None) -> None:
        """Report the progress of the job; numbers are written occasionally, a message without numbers at once."""
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
        """Report that the job is over."""
        done = self._now["total"] if state == "done" else self._now["done"]
        write(self._file, {**self._now, "state": state, "done": done, "seconds_left": None, "message": message})
