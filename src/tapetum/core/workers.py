"""Starting worker processes: how many this machine can run, and signals that come while they start."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from tapetum.core.errors import BadInput

ENDING = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
"""Signals that end a command."""


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
    """Block signals that end a command while processes are started, and in these, which would say what nobody reads.

    This process hears of them at the end of the block; one that was started, when it says so (`signal.pthread_sigmask`).
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
