"""The first sign of life, before anything is imported that takes long."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def starting(verb: str) -> Iterator[None]:
    """Say on a terminal that the verb begins, while what it needs is imported; it is wiped away at the end."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"tapetum {verb} ...", end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\x1b[2K", end="\r", file=sys.stderr, flush=True)
