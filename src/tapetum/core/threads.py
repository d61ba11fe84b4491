"""Threads and processes for computing: free cores, how many workers a machine can run, signals during start-up.

Imports no torch.
"""

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

from tapetum.core.errors import BadInput

ENDING = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
"""Signals that end a command."""
SHARED = "TAPETUM_SHARED_THREADS"
"""Set where OMP_NUM_THREADS is not the user's, but what this machine has to share."""


def threads_each(workers: int) -> int:
    """Count the threads for each of several processes: the user's number, or else their share of the cores."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdigit() and not os.environ.get(SHARED):
        return max(1, int(limit))
    return max(1, (int(limit) if limit.isdigit() else usable_cores()) // workers)


def check_threads(text: str) -> int:
    """Read a number of threads. Raises BadInput for other text, and for more than this machine can sensibly run.

    >>> check_threads("2")
    2
    """
    most = max(64, 4 * (os.cpu_count() or 1))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise BadInput(f"--threads {text}: wanted a whole number from 1 to {most}; leave it out to use the cores that are free")
    return int(text)


def usable_cores() -> int:
    """Count the cores that this process may use, by its affinity and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _quota() -> float | None:
    """CPU time that the control group allows, in cores; None if it has no limit."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # of versions 2 and 1
        try:
            quota, period = " ".join(Path("/sys/fs/cgroup", name).read_text() for name in names).split()
            return float(quota) / float(period) if quota not in ("max", "-1") else None
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return None


class Load:
    """Load on this process's cores from now on, by other processes."""

    _LEAST_S = 0.1
    """For which the cores are looked at; ticks are a hundredth of a second."""

    def __init__(self) -> None:
        self._begin = time.monotonic(), time.process_time(), _idle_s()

    def free_cores(self) -> int:
        """Count the cores that others left idle, rounded down, at least 1; all if the system does not report it."""
        began, own, idle = self._begin
        if idle is None:
            return usable_cores()
        time.sleep(max(0.0, began + self._LEAST_S - time.monotonic()))
        passed, own, later = time.monotonic() - began, time.process_time() - own, _idle_s()
        return cores_left(usable_cores(), passed, own, (later or 0.0) - idle)


def cores_left(cores: int, passed: float, own: float, idle: float) -> int:
    """Count free cores: those idle for `idle` core-seconds of `passed` seconds, during which this process used `own` of them.

    >>> cores_left(8, 0.5, 0.5, 3.5), cores_left(8, 0.5, 0.5, 1.3), cores_left(2, 0.5, 0.1, 0.0)
    (8, 3, 1)
    """
    return max(1, min(cores, int((idle + own) / passed + 0.2)))  # a fifth of a core is what ticks and passing jobs take


def _idle_s() -> float | None:
    """Total seconds that the cores of this process were idle; None if the system does not report it."""
    try:
        own = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        with open("/proc/stat") as file:
            rows = [line.split() for line in file if line.startswith("cpu")]
        ticks = os.sysconf("SC_CLK_TCK")
        return sum(int(row[4]) + int(row[5]) for row in rows if row[0] in own) / ticks
    except (OSError, AttributeError, ValueError, IndexError):
        return None


def check_workers(workers: int) -> None:
    """Raise BadInput for more processes than this machine can sensibly run.

    >>> check_workers(9999999)
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: asked for 9999999 workers on a machine of ... processors; give ... or fewer
    """
    cores = os.cpu_count() or 1
    if workers > (most := max(64, 4 * cores)):
        raise BadInput(f"asked for {workers} workers on a machine of {cores} processors; give {most} or fewer")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Block signals that end a command while processes start, here and in the new processes, so they print no traceback.

    This process receives them at the end of the block; a new process, when it unblocks them (`signal.pthread_sigmask`).
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()  # of multiprocessing; it is deaf to the other two, which it would let through again
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
