"""Jobs: long-running work in separate processes (`workers`), which end a job when the server ends; a new server finds it.

A limited number runs at a time; the others wait in order. The lock of its folder (`job_files`) shows whether a job is alive,
whoever started it; a job whose process has gone without a final state has failed, or was cancelled.

A server starts only jobs requested from itself: earlier jobs that never started, or ended unfinished, are interrupted; their
files are listed but never executed.
"""

import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, writable
from tapetum.core.reading import read_bytes
from tapetum.desk.web import job_files
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.job_files import FINAL, WAITING
from tapetum.desk.web.workers import KEEP_S, JobWorker, Workers

AT_ONCE = 2
MOST_WAITING = 50
"""Maximum number of jobs that wait or run."""
_KEPT = 200
"""Number of the last jobs whose folders are kept."""
_OLD_S = 86400.0
"""Age in seconds from which a new server removes finished jobs, except the last of each kind and item."""
_GRACE_S = 3.0
"""Seconds between asking a process to end and killing it."""
_INTERRUPTED = "its server ended before it was done; what it had computed is kept: start it again"
_KILLED = (
    "it ended before it was done (was it killed, or is there too little memory?); what it had computed is kept: start it again"
)


class Jobs:
    """All jobs of a folder; thread-safe."""

    def __init__(
        self,
        folder: Path,
        at_once: int = AT_ONCE,
        changed: Callable[[dict[str, Any]], None] = lambda job: None,
        keep_s: float = KEEP_S,
    ):
        self.folder, self.at_once, self._changed = folder, at_once, changed
        self._workers = Workers(folder, keep_s)
        self._lock = threading.RLock()
        self._own: set[str] = set()
        """Jobs requested from this server; it starts no others."""
        self._begun: dict[str, JobWorker] = {}
        self._cancelled: dict[str, float] = {}
        saved = job_files.read_jobs(folder)
        self._jobs = {job["id"]: {**job, **self._state_of(folder / job["id"])} for job in saved}
        last = {(job["kind"], job["item"]): number for number, job in self._jobs.items()}
        old = time.time() - _OLD_S
        self._forget(each["id"] for each in saved if each["created"] < old and each["id"] != last[each["kind"], each["item"]])

    @staticmethod
    def _state_of(place: Path) -> dict[str, Any]:
        """The final state of a job of an earlier server."""
        lives = job_files.holder(place) is not None  # first, so that a job that ends meanwhile is over
        progress = job_files.read_progress(place) or WAITING
        if lives and progress["state"] not in FINAL:
            return {**progress, "state": "running"}
        interrupted = {**progress, "state": "interrupted", "seconds_left": None, "message": _INTERRUPTED}
        return progress if progress["state"] in FINAL else interrupted

    def submit(self, kind: str, item: str, **settings: Any) -> dict[str, Any]:
        """Add a job, which starts as soon as fewer than `at_once` run.

        Raises Refused with 429 if `MOST_WAITING` wait or run, BadInput if its folder cannot be written.
        """
        with self._lock:
            if sum(job["state"] not in FINAL for job in self._jobs.values()) >= MOST_WAITING:
                raise Refused(429, f"{MOST_WAITING} jobs wait or run, the most that are taken; wait for them, or cancel some")
            job = {"id": secrets.token_hex(8), "kind": kind, "item": item, "created": time.time(), "settings": settings}
            place = self.folder / job["id"]
            try:
                place.mkdir()
                job_files.write(place / "job.json", job)
            except (OSError, BadInput) as error:
                shutil.rmtree(place, ignore_errors=True)
                raise cannot_write("the job", error) if isinstance(error, OSError) else error from error
            self._jobs[job["id"]] = {**job, **WAITING}
            self._own.add(job["id"])
            self._changed(self.get(job["id"]))
            self._forget(list(self._jobs)[: max(len(self._jobs) - _KEPT, 0)])
            self.poll()
            return self.get(job["id"])

    def get(self, number: str, result: bool = False) -> dict[str, Any]:
        """Describe a job for the page, with its result if requested. Raises Refused with 404 if it does not exist."""
        with self._lock:
            job = self._jobs.get(number)
        if job is None:
            raise Refused(404, "there is no such job; reload the page")
        shown = {name: job[name] for name in ("id", "kind", "item", *WAITING)}
        if result and job["state"] == "done":
            shown |= job_files.read_result(self.folder / number)
        return shown

    def latest(self, kind: str, item: str) -> dict[str, Any] | None:
        """Describe the last job of a kind for an item; None if there is none."""
        with self._lock:
            numbers = [job["id"] for job in self._jobs.values() if (job["kind"], job["item"]) == (kind, item)]
            return self.get(numbers[-1]) if numbers else None

    def settings(self, number: str) -> dict[str, Any]:
        """Get the settings of a job."""
        return self._jobs[number]["settings"]

    def cancel(self, number: str) -> dict[str, Any]:
        """Cancel a job; a finished one is unchanged. Raises Refused with 404 if it does not exist."""
        with self._lock:
            if self.get(number)["state"] not in FINAL:
                with suppress(OSError):  # its folder may be gone
                    job_files.mark_cancelled(self.folder / number)
                self._end_process(number, signal.SIGTERM)
                self._cancelled.setdefault(number, time.monotonic())
                self.poll()
            return self.get(number)

    def busy(self) -> bool:
        """Check whether a job waits or runs."""
        with self._lock:
            return any(job["state"] not in FINAL for job in self._jobs.values())

    def warm(self, kind: str, **needed: Any) -> None:
        """Load what the next job of a kind needs."""
        with self._lock:
            self._workers.warm(kind, **needed)

    def close(self) -> None:
        """Let idle workers end; jobs continue."""
        with self._lock:
            self._workers.close()

    def poll(self) -> None:
        """Update the states of the jobs, and start waiting ones as far as the limit allows.

        A problem with one job is reported, and does not stop the others.
        """
        with self._lock:
            running = 0
            for number, job in list(self._jobs.items()):
                if job["state"] in FINAL:
                    continue
                lives = self._lives(number)
                running += lives
                try:
                    self._look(number, job, lives)
                except Exception as error:
                    self._fail(number, error)
                if job["state"] in FINAL:
                    self._workers.free(number)
            self._workers.tend()
            for number, job in list(self._jobs.items()):
                if number in self._own and job["state"] == "waiting" and running < self.at_once and not self._lives(number):
                    try:
                        self._begin(number, job)
                        running += 1
                    except Exception as error:
                        self._fail(number, error)

    def _look(self, number: str, job: dict[str, Any], lives: bool) -> None:
        """Read a job's progress, and set the final state of one that has gone without."""
        place = self.folder / number
        progress = job_files.read_progress(place) or {name: job[name] for name in WAITING}
        if not lives and progress["state"] not in FINAL:
            if number in self._cancelled:
                progress = {**progress, "state": "cancelled", "seconds_left": None, "message": ""}
            elif number in self._begun or number not in self._own:
                progress = {**progress, "state": "failed", "seconds_left": None, "message": _KILLED}
            if progress["state"] in FINAL:
                with suppress(OSError, BadInput):  # its folder may be gone, or the disk full
                    job_files.write(place / "progress.json", progress)
        if time.monotonic() - self._cancelled.get(number, time.monotonic()) > _GRACE_S:
            self._end_process(number, signal.SIGKILL)
        if any(job[name] != progress[name] for name in WAITING):
            job.update(progress)
            self._changed(self.get(number))

    def _fail(self, number: str, error: Exception) -> None:
        """Record that a job cannot be read, or started."""
        text = f"{type(error).__name__}: {error}"
        print(f"tapetum: job {number}: {' '.join(writable(text).split())}", file=sys.stderr)
        self._jobs[number] |= {"state": "failed", "seconds_left": None, "message": f"it cannot go on ({text}); start it again"}
        with suppress(Exception):
            self._changed(self.get(number))

    def _lives(self, number: str) -> bool:
        worker = self._begun.get(number)
        return (worker is not None and worker.job == number and worker.lives) or job_files.holder(
            self.folder / number
        ) is not None

    def _begin(self, number: str, job: dict[str, Any]) -> None:
        """Give a job to a worker; what it does it hears from here, not from its folder."""
        description = {name: job[name] for name in ("id", "kind", "item", "settings")}
        with open(self.folder / number / "log.txt", "ab") as log:
            self._begun[number] = self._workers.run(description, log)

    def _end_process(self, number: str, how: int) -> None:
        worker = self._begun.get(number)
        if worker is not None and worker.job == number:
            worker.kill(how)
        elif (process := job_files.holder(self.folder / number)) and _is_worker(process, self.folder):
            with suppress(OSError):  # it may have ended
                os.killpg(process, how)

    def _forget(self, numbers: Iterable[str]) -> None:
        """Remove the finished jobs among these, with their folders."""
        for number in [number for number in numbers if self._jobs[number]["state"] in FINAL]:
            del self._jobs[number]
            self._begun.pop(number, None)
            shutil.rmtree(self.folder / number, ignore_errors=True)


def _is_worker(process: int, folder: Path) -> bool:
    """Check whether a process, whose id was read from a file, is a worker for a folder of jobs."""
    line = Path(f"/proc/{process}/cmdline")
    return os.fsencode(folder) in read_bytes(line).split(b"\0") if line.exists() else not Path("/proc/self").exists()
