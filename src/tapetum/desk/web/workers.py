"""Processes that run jobs, one after the other, and keep their models loaded in between.

A worker gets jobs from its server through a pipe. When the pipe closes, because the server closes it or is gone, the worker
finishes its job and ends. A worker that dies fails only its job; the next job gets a new one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tapetum.core.devices import resident_bytes
from tapetum.core.plugins import is_reference
from tapetum.core.threads import threads_each

KEPT_KINDS = "track", "look", "mask"
"""Kinds of jobs whose workers are kept, since they load models; workers of other kinds end with their job."""
KEEP_S = 300.0
"""Seconds that an idle worker is kept."""
_SHARE = 0.25
"""Share of the machine's memory for all idle workers together."""


class JobWorker:
    """A process that runs jobs of one kind."""

    def __init__(self, folder: Path, kind: str, log: IO[bytes] | int):
        """Start it, for jobs in `folder`. It imports nothing from the server's working directory, unlike Python by default."""
        self.kind, self.job = kind, ""
        self.loaded: dict[str, Any] = {}
        self.idle_since = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tapetum.desk.web.job_process", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )

    @property
    def lives(self) -> bool:
        """Check whether the process lives."""
        return self.process.poll() is None

    @property
    def open(self) -> bool:
        """Check whether it takes jobs."""
        return self.lives and self.process.stdin is not None and not self.process.stdin.closed

    @property
    def memory(self) -> int:
        """Read its resident memory in bytes; 0 where the system does not say."""
        return resident_bytes(self.process.pid)

    def send(self, content: dict[str, Any]) -> None:
        """Send a job, or models to load. Raises OSError if the process is gone."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(content).encode() + b"\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Let it end when its job is over."""
        with suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()

    def kill(self, how: int) -> None:
        """Signal it and its children."""
        with suppress(OSError):
            if self.lives:
                os.killpg(self.process.pid, how)


class Workers:
    """The workers of a server; not thread-safe."""

    def __init__(self, folder: Path, keep_s: float = KEEP_S):
        self._folder, self._keep_s = folder, keep_s
        self._all: list[JobWorker] = []

    def run(self, job: dict[str, Any], log: IO[bytes]) -> JobWorker:
        """Give a job to an idle worker, else to a new one. Raises OSError if none can be started."""
        job = {**job, "threads": threads_each(1 + sum(bool(each.job) for each in self._all if each.lives))}
        for worker in self._idle():
            if worker.kind == job["kind"]:
                with suppress(OSError):  # it has just died
                    worker.send(job)
                    worker.job = job["id"]
                    return worker
        worker = self._start(job["kind"], log)
        worker.job = job["id"]
        worker.send(job)
        own_code = is_reference(str(job["settings"].get("model")), "tracker")  # it may change until the next job
        if job["kind"] not in KEPT_KINDS or not self._keep_s or own_code:
            worker.close()
        return worker

    def warm(self, kind: str, **needed: Any) -> None:
        """Let a worker load what the next job needs, unless one has done so, or works."""
        there = [each for each in self._all if each.open and each.kind == kind]
        if self._keep_s and not any(each.job or each.loaded == needed for each in there):
            with suppress(OSError):
                worker = there[0] if there else self._start(kind, subprocess.DEVNULL)
                worker.loaded = needed
                worker.send({"kind": kind, "load": needed, "threads": threads_each(1)})

    def free(self, job: str) -> None:
        """Note that a job is over."""
        for worker in self._all:
            if worker.job == job:
                worker.job, worker.idle_since = "", time.monotonic()

    def tend(self) -> None:
        """End workers that were idle for long, are one too many, or use too much memory, the longest idle ones first."""
        self._all = [worker for worker in self._all if worker.lives]
        kinds, room = set[str](), _SHARE * _machine_bytes()
        for worker in sorted(self._idle(), key=lambda each: -each.idle_since):
            room -= worker.memory
            if room < 0 or worker.kind in kinds or time.monotonic() - worker.idle_since > self._keep_s:
                worker.close()
            kinds.add(worker.kind)

    def close(self) -> None:
        """Let all end: at once those that are idle, the others after their jobs."""
        for worker in self._all:
            worker.close()
        for worker in [worker for worker in self._all if not worker.job]:
            worker.kill(signal.SIGTERM)
            worker.process.wait()

    def _idle(self) -> list[JobWorker]:
        return [each for each in self._all if each.open and not each.job]

    def _start(self, kind: str, log: IO[bytes] | int) -> JobWorker:
        self._all.append(JobWorker(self._folder, kind, log))
        return self._all[-1]


def _machine_bytes() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
