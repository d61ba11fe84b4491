"""Settings of glibc's allocator: freed memory is kept for the next layer instead of being fetched anew, page by page."""

import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of the two settings in glibc's malloc.h."""

LARGEST_BLOCK = 32 << 20
"""Bytes; glibc allows no more. Larger blocks go back to the system as before."""
MOST_KEPT = 512 << 20
"""Bytes that may lie idle."""


def keep_freed_memory() -> bool:
    """Set glibc to keep freed blocks of up to `LARGEST_BLOCK`, `MOST_KEPT` in all; returns whether it now does.

    Networks take and free blocks of some megabytes for every layer. Nothing is done with another C library, nor where the
    environment says already how malloc is to behave.
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
