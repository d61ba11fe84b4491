"""Ctrl-C, SIGTERM and SIGHUP end a command: partial output is removed, finished output stays, and one line reports it.

Python raises an error wherever such a signal arrives, and the code running there may swallow it: a library that tries an import
and ignores any failure, a callback from C, a finalizer, or C code that turns it into an error of its own. So the signal is
remembered until `_guarded` of `tapetum.app.shell.main` handles it:

    signal --> _end --> Ended raised --> ... --> _guarded: "interrupted"       number_of forgets it
                |            `--> swallowed --> next `heed` raises it again    wherever a command says how far it is,
                `--> remembered                                                before results appear, and at the end

A second SIGTERM or SIGHUP, or a third Ctrl-C, ends the process at once; a second Ctrl-C still cleans up, since people press it
twice. Processes of torchrun are left alone: it kills those that wait for a dead one, which never receive what Python would have
to say.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """Raised in the main thread by a signal that ends the command."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


_pending: list[int] = []
"""Signals that came and of which `_guarded` has not heard yet, the first one first."""


def remember(error: KeyboardInterrupt | None) -> None:
    """Record a signal that Python cannot raise."""
    if not _pending:
        _pending.append(error.number if isinstance(error, Ended) else int(signal.SIGINT))


def raise_pending() -> None:
    """Raise `Ended` again if it was swallowed.

    Called where a command reports progress, never during cleanup.
    """
    if _pending:
        raise Ended(_pending[0])


@contextmanager
def pending_signals() -> Iterator[None]:
    """Raise `Ended` at the end of the block if it was swallowed inside or became another error."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not _pending:
            raise
        ended = Ended(_pending[0])
        for note in getattr(error, "__notes__", ()):
            ended.add_note(note)
        raise ended from error
    raise_pending()


def number_of(error: KeyboardInterrupt) -> int:
    """Read the number of the signal behind the error, and mark it as handled."""
    _pending.clear()
    return error.number if isinstance(error, Ended) else int(signal.SIGINT)


@contextmanager
def ended_by_signals(for_good: bool = False) -> Iterator[None]:
    """Raise `Ended` for signals inside the block, unless they are already handled or ignored, as under nohup.

    With `for_good`, these and Ctrl-C afterwards end the process silently, since nothing is left to clean up.
    """
    before: dict[int, Any] = {}
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    _pending.clear()
    if alone and threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
        usual = {signal.SIGINT: signal.default_int_handler}
        before = {n: signal.signal(n, _end) for n in numbers if signal.getsignal(n) is usual.get(n, signal.SIG_DFL)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if for_good else handler)


def _end(number: int, _frame: FrameType | None) -> None:
    if number != signal.SIGINT or signal.SIGINT in _pending:
        signal.signal(number, signal.SIG_DFL)
    _pending.append(number)
    raise Ended(_pending[0])
