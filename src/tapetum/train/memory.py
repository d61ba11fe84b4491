"""Keeps memory that tensors free in the process.

glibc gives every large block back to the system as soon as it is freed, so each step of a training on the CPU faults all its
activations in anew, page by page, zeroed by the kernel. Kept blocks are reused instead; the process holds its peak size.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of mallopt(3)."""


def keep_freed_memory() -> None:
    """Tell the C library to keep freed blocks; does nothing where it is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
