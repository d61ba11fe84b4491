"""Time that a piece of work spends in its stages, such as decoding and writing; measured only within `timed`."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

OTHER = "other"
"""Time of no stage."""


class _Clock:
    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.open, self._since = [OTHER], time.perf_counter()

    def count(self) -> None:
        torch: Any = sys.modules.get("torch")
        if torch is not None and torch.accelerator.is_available():  # which computes while the host goes on
            torch.accelerator.synchronize()
        now = time.perf_counter()
        self.seconds[self.open[-1]] += now - self._since
        self._since = now


_CLOCK: ContextVar[_Clock | None] = ContextVar("clock", default=None)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Measure the stages of what this thread does within the block; yields seconds by stage, which are known at its end."""
    clock = _Clock()
    token = _CLOCK.set(clock)
    try:
        yield clock.seconds
    finally:
        _CLOCK.reset(token)
        clock.count()


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the time of the block as that of a stage; a stage within it counts for itself alone.

    >>> with timed() as seconds, stage("outer"), stage("inner"):
    ...     pass
    >>> sorted(seconds)
    ['inner', 'other', 'outer']
    """
    if (clock := _CLOCK.get()) is None:
        yield
        return
    clock.count()
    clock.open.append(name)
    try:
        yield
    finally:
        clock.count()
        clock.open.pop()
