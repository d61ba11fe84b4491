"""Jobs: long work in processes of their own, which go on when the server ends; a new server finds them.

At most so many run at a time, the others wait in their order. Whether a job lives is told by the lock of its folder
(`job_files`), whoever started it; one whose process has gone without a last word has failed, or was cancelled.
"""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tapetum.app.web import job_files
from tapetum.app.web.answers import Refused
from tapetum.app.web.job_files import FINAL, WAITING
from tapetum.core.threads import threads_each

AT_ONCE = 2
_KEPT = 200
"""Jobs whose folders are kept, the last ones."""
_OLD_S = 86400.0
"""A new server removes jobs that were begun longer ago and are over, but for the last of each kind and item."""
_GRACE_S = 3.0
"""Between asking a process to end and making it end."""
_KILLED = (
    "it ended before it was done (was it killed, or is there too little memory?); what it had computed is kept: start it again"
)


class Jobs:
    """All jobs of a folder; may be called by several threads."""

    def __init__(self, folder: Path, at_once: int = AT_ONCE, changed: Callable[[dict[str, Any]], None] = lambda job: None):
        self.folder, self.at_once, self._changed = folder, at_once, changed
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._cancelled: dict[str, float] = {}
        saved = [job for path in folder.iterdir() if (job := job_files.read(path / "job.json"))]
        saved.sort(key=lambda job: (job["created"], job["id"]))
        self._jobs = {job["id"]: {**job, **job_files.read(folder / job["id"] / "progress.json", WAITING)} for job in saved}
        last = {(job["kind"], job["item"]): number for number, job in self._jobs.items()}
        old = time.time() - _OLD_S
        self._forget(each["id"] for each in saved if each["created"] < old and each["id"] != last[each["kind"], each["item"]])

    def submit(self, kind: str, item: str | None, **settings: Any) -> dict[str, Any]:
        """Enter a job, which begins as soon as fewer than `at_once` run."""
        with self._lock:
            job = {"id": secrets.token_hex(8), "kind": kind, "item": item, "created": time.time(), "settings": settings}
            place = self.folder / job["id"]
            place.mkdir()
            job_files.write(place / "job.json", job)
            self._jobs[job["id"]] = {**job, **WAITING}
            self._changed(self.get(job["id"]))
            self._forget(list(self._jobs)[: max(len(self._jobs) - _KEPT, 0)])
            self.poll()
            return self.get(job["id"])

    def get(self, number: str, result: bool = False) -> dict[str, Any]:
        """Describe a job for the page, with its result if that is wanted. Raises Refused with 404 where there is none."""
        with self._lock:
            job = self._jobs.get(number)
        if job is None:
            raise Refused(404, "there is no such job; reload the page")
        shown = {name: job[name] for name in ("id", "kind", "item", *WAITING)}
        if result and job["state"] == "done":
            shown |= job_files.read(self.folder / number / "result.json", {})
        return shown

    def latest(self, kind: str, item: str | None = None) -> dict[str, Any] | None:
        """Describe the last job of a kind, of an item; None where there is none."""
        with self._lock:
            numbers = [job["id"] for job in self._jobs.values() if (job["kind"], job["item"]) == (kind, item)]
            return self.get(numbers[-1]) if numbers else None

    def settings(self, number: str) -> dict[str, Any]:
        """Get the settings of a job."""
        return self._jobs[number]["settings"]

    def cancel(self, number: str) -> dict[str, Any]:
        """Cancel a job; one that is over stays as it is. Raises Refused with 404 where there is none."""
        with self._lock:
            if self.get(number)["state"] not in FINAL:
                (self.folder / number / "cancel").touch()
                self._end_process(number, signal.SIGTERM)
                self._cancelled.setdefault(number, time.monotonic())
                self.poll()
            return self.get(number)

    def busy(self) -> bool:
        """Check whether a job waits or runs."""
        with self._lock:
            return any(job["state"] not in FINAL for job in self._jobs.values())

    def at_work_on(self, item: str) -> bool:
        """Check whether a job of an item waits or runs."""
        with self._lock:
            return any(job["item"] == item and job["state"] not in FINAL for job in self._jobs.values())

    def poll(self) -> None:
        """Look what has become of the jobs, and begin those that wait as far as there is room."""
        with self._lock:
            running = 0
            for number, job in self._jobs.items():
                if job["state"] in FINAL:
                    continue
                lives = self._lives(number)
                running += lives
                place = self.folder / number
                progress = job_files.read(place / "progress.json", WAITING)
                if not lives and progress["state"] not in FINAL:
                    if (place / "cancel").exists():
                        progress = {**progress, "state": "cancelled", "seconds_left": None, "message": ""}
                    elif number in self._children or (place / "lock").exists():
                        progress = {**progress, "state": "failed", "seconds_left": None, "message": _KILLED}
                    if progress["state"] in FINAL:
                        job_files.write(place / "progress.json", progress)
                if time.monotonic() - self._cancelled.get(number, time.monotonic()) > _GRACE_S:
                    self._end_process(number, signal.SIGKILL)
                if any(job[name] != progress[name] for name in WAITING):
                    job.update(progress)
                    self._changed(self.get(number))
            for number, job in self._jobs.items():
                if job["state"] == "waiting" and running < self.at_once and not self._lives(number):
                    self._begin(number)
                    running += 1

    def _lives(self, number: str) -> bool:
        child = self._children.get(number)
        return (child is not None and child.poll() is None) or job_files.holder(self.folder / number) is not None

    def _begin(self, number: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads_each(self.at_once))}
        with open(self.folder / number / "log.txt", "ab") as log:
            self._children[number] = subprocess.Popen(
                [sys.executable, "-m", "tapetum.app.web.job_process", str(self.folder / number)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment,
            )

    def _end_process(self, number: str, how: int) -> None:
        child = self._children.get(number)
        process = child.pid if child is not None and child.poll() is None else job_files.holder(self.folder / number)
        if process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process, how)

    def _forget(self, numbers: Iterable[str]) -> None:
        """Remove those of some jobs that are over, with their folders."""
        import shutil

        for number in [number for number in numbers if self._jobs[number]["state"] in FINAL]:
            del self._jobs[number]
            self._children.pop(number, None)
            shutil.rmtree(self.folder / number, ignore_errors=True)
