"""Threads and processes for computing: usable cores, how many workers a machine can run, signals during start-up.

Imports no torch.
"""

import math
import os
import signal
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
        raise BadInput(f"--threads {text}: wanted a whole number from 1 to {most}; leave it out to use all cores")
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
