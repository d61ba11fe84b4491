"""Checks of free memory before a piece of work begins, and a one-line error where it will not do."""

import os
from pathlib import Path

from tapetum.core.errors import BadInput

_GROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int | None:
    """Count how many bytes this process may still ask for: of the machine, or of its control group; None where nobody says."""
    known = [number for number in (_of_machine(), _of_group()) if number is not None]
    return min(known) if known else None


def check_room(needed: float, work: str, advice: str) -> None:
    """Raise BadInput where `needed` bytes are more than are free; `work` says what takes them, `advice` what to do.

    >>> check_room(1e30, "a clip of 100000x100000 pixels", "make it smaller")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: a clip of 100000x100000 pixels takes about ... GiB of memory, ...; make it smaller
    """
    free = free_bytes()
    if free is not None and needed > free:
        raise BadInput(f"{work} takes about {size(needed)} of memory, of which {size(free)} are free; {advice}")


def size(count: float) -> str:
    """Format a number of bytes for people.

    >>> size(3_500_000), size(2.5 * 2**30)
    ('3 MiB', '2.5 GiB')
    """
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_group() -> int | None:
    """Version 2 of control groups, in which the root of a container is its own."""
    try:
        most, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no groups, or "max": no limit
        return None
    return max(0, most - used)
