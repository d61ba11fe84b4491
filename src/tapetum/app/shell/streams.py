"""Standard streams on which printing never raises because of its content; imports nothing heavy.

The caller of a program may close its streams, give it a full disk, a terminal that goes away, or an encoding with few
characters. Then:

    a stream is closed                      stands for /dev/null; else the next file to be opened would be taken for it
    a character that its encoding lacks     is written as \\u1234; frames of boxes are drawn with + - |, dots of lists as *
    stderr cannot be written                what is said there is lost, and nothing else
    stdout cannot be written                raises where it is printed, since results go there
"""

import codecs
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from tapetum.core.errors import escape_controls

_ERRORS = "tapetum.printable"
_BOXES = dict.fromkeys("─━═╌┄", "-") | dict.fromkeys("│┃║", "|") | dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛╔╗╚╝", "+") | {"•": "*"}


@contextmanager
def sturdy_streams() -> Iterator[None]:
    """Guard the standard streams as described above; on exit they are restored, except those that were closed."""
    _open_closed()
    codecs.register_error(_ERRORS, _printable)
    before = sys.stdout, sys.stderr
    errors = [(stream, stream.errors) for stream in before if hasattr(stream, "reconfigure")]
    for stream, _ in errors:
        stream.reconfigure(errors=_ERRORS)  # pyright: ignore[reportAttributeAccessIssue]
    sys.stderr = _Forgiving(before[1])
    try:
        yield
    finally:
        if isinstance(sys.stderr, _Forgiving):
            sys.stderr = before[1]
        for stream, kind in errors:
            with suppress(ValueError, OSError):
                stream.reconfigure(errors=kind)  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def starting(verb: str) -> Iterator[None]:
    """Show on a terminal that the verb is starting while its imports load; the line is erased afterwards."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"tapetum {verb} ...", end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\x1b[2K", end="\r", file=sys.stderr, flush=True)


@contextmanager
def visible_results() -> Iterator[None]:
    """Escape control characters printed on stdout so that they cannot affect a terminal (`core.errors`)."""
    before = sys.stdout
    sys.stdout = _Visible(before)
    try:
        yield
    finally:
        if isinstance(sys.stdout, _Visible):
            sys.stdout = before


def reader_has_gone() -> bool:
    """Check whether stdout is a pipe whose reader has gone."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return True


def mute(stream: TextIO) -> None:
    """Redirect a stream that cannot be written to the null device, since the interpreter flushes it again on exit."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Wrapped:
    """A text stream with its own way of writing."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


class _Visible(_Wrapped):
    """A text stream that makes control characters visible."""

    def write(self, text: str) -> int:
        self._stream.write(escape_controls(text))
        return len(text)


class _Forgiving(_Wrapped):
    """A text stream whose writes never fail."""

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            mute(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            mute(self._stream)


def _printable(error: UnicodeError) -> tuple[str, int]:
    """The error handler of the streams."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(_BOXES.get(c) or c.encode("ascii", "backslashreplace").decode() for c in part), error.end


def _open_closed() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False, encoding="utf-8"))  # noqa: SIM115
