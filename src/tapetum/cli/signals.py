"""SIGTERM and SIGHUP end a command as Ctrl-C does: what was begun is cleared away, what is finished stays, one line says so.

A second one ends it at once. Processes of torchrun are left as they are: it ends those that wait for a dead one, which hear of
nothing that Python would have to say.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = ("SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """Raised in the main thread by a signal that ends the command."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


_unheeded: list[int] = []
"""Signals that came and of which `_guarded` has not heard yet."""


def heed() -> None:
    """Raise `Ended` once more where a library swallowed it, as some do that import or call back from C.

    Called where a command says how far it is, never while it clears away.
    """
    if _unheeded:
        raise Ended(_unheeded.pop())


def number_of(error: KeyboardInterrupt) -> int:
    """Give the number of the signal that was the reason, which is heeded herewith."""
    _unheeded.clear()
    return error.number if isinstance(error, Ended) else int(signal.SIGINT)


@contextmanager
def ended_by_signals(for_good: bool = False) -> Iterator[None]:
    """Raise `Ended` for the signals inside the block, unless somebody heeds or ignores them already, as nohup does.

    With `for_good` these and Ctrl-C end the process without a word afterwards, since there is nothing left to be cleared away.
    """
    before: dict[int, Any] = {}
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if alone and threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
        before = {n: signal.signal(n, _end) for n in numbers if signal.getsignal(n) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if for_good and before and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    _unheeded[:] = [number]
    raise Ended(number)
