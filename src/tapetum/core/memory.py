"""Memory: whether a piece of work has enough, and glibc's malloc configured to keep freed blocks.

Networks allocate and free blocks of some megabytes for every layer. If kept, they are reused by the next layer instead of being
requested from the system again, page by page.
"""

import os
import sys
from pathlib import Path

from tapetum.core.errors import BadInput

_GROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int | None:
    """Count the bytes that this process can still allocate: of the machine, or of its control group; None if unknown."""
    known = [number for number in (_of_machine(), _of_group()) if number is not None]
    return min(known) if known else None


def peak_bytes() -> int | None:
    """Count the most bytes that this process has had in memory at a time; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def check_room(needed: float, work: str, advice: str) -> None:
    """Raise BadInput if `needed` bytes are more than are free; `work` says what uses them, `advice` what to do.

    >>> check_room(1e30, "a clip of 100000x100000 pixels", "make it smaller")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: a clip of 100000x100000 pixels takes about ... GiB of memory, ...; make it smaller
    """
    free = free_bytes()
    if free is not None and needed > free:
        raise BadInput(f"{work} takes about {size(needed)} of memory, of which {size(free)} are free; {advice}")


def size(count: float) -> str:
    """Format a number of bytes for display.

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
    """Version 2 of control groups, in which a container sees its own root."""
    try:
        most, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no groups, or "max": no limit
        return None
    return max(0, most - used)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of the two settings in glibc's malloc.h."""

LARGEST_BLOCK = 32 << 20
"""Bytes; glibc allows no more. Larger blocks go back to the system as before."""
MOST_KEPT = 512 << 20
"""Bytes that may lie idle."""


def keep_freed_memory() -> bool:
    """Set glibc to keep freed blocks of up to `LARGEST_BLOCK`, `MOST_KEPT` in all; returns whether it now does.

    Does nothing with another C library, or if the environment already configures malloc.
    """
    import ctypes

    if any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        known = "CS_GNU_LIBC_VERSION" in os.confstr_names and os.confstr("CS_GNU_LIBC_VERSION")
        mallopt = ctypes.CDLL(None).mallopt if known else None
    except (AttributeError, OSError, ValueError):
        return False
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST_BLOCK) and mallopt(_TRIM_THRESHOLD, MOST_KEPT))
