"""Errors that users can encounter, and the receiver for remarks and progress of work.

Every message is one line that says what was found, what was expected and what to do next.
The command line prints it without a traceback and exits with code 2.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_USER = re.compile(r"(?<=://)[^/?#]*@")
_SECRET = re.compile(
    r"([?&;#][^=&;#]*(?:token|signature|secret|passw|pwd|credential|auth|key|\bsig\b)[^=&;#]*=)[^&;#'\"]+", re.IGNORECASE
)


def hide_secrets(text: str) -> str:
    """Replace user, password, and query signatures by ... in the addresses of a text that others may see.

    >>> hide_secrets("rtsp://ann:secret@robot/front"), hide_secrets("https://a.org/b.png?part=1&X-Amz-Signature=0f3c")
    ('rtsp://...@robot/front', 'https://a.org/b.png?part=1&X-Amz-Signature=...')
    """
    if "://" not in text:
        return text
    return _ADDRESS.sub(lambda match: _SECRET.sub(r"\1...", _USER.sub("...@", match[0])), text)


def escape_controls(text: str) -> str:
    r"""Escape control characters, with which external text could act on a terminal, as Python writes them.

    Line ends and tabs stay.

    >>> print(escape_controls("\x1b[2Jcat.png"))
    \x1b[2Jcat.png
    """
    return _UNSEEN.sub(lambda match: repr(match[0])[1:-1], text)


def visible(text: str) -> str:
    """Escape control characters, and hide secrets in addresses.

    File names, fields of ledgers, captions, labels and server responses go through this before they are printed.
    """
    return escape_controls(hide_secrets(text))


class TapetumError(Exception):
    """Root of all errors that tapetum raises on purpose; secrets in the addresses of a message are hidden."""

    def __init__(self, *args: object):
        super().__init__(*(hide_secrets(each) if isinstance(each, str) else each for each in args))


class BadInput(TapetumError):
    """A file, array or argument is not as expected; the user can fix it."""


class Remark(UserWarning):
    """Warning about an assumption, or a surprising effect; the command line prints it as one line, and continues."""


def install_line(extra: str) -> str:
    """Say how to install an extra, from a clone of the repository and from a package index.

    >>> install_line("tables")
    "pip install '.[tables]' in a clone, or pip install 'tapetum[tables]' from an index"
    """
    clone = "./packages/world" if extra == "world" else f"'.[{extra}]'"  # a distribution of its own
    return f"pip install {clone} in a clone, or pip install 'tapetum[{extra}]' from an index"


class MissingExtra(TapetumError):
    """An optional dependency is needed."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs the package {package}, which is not installed: {install_line(extra)}")


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None, *, most: int = 1, dashes: str = "") -> str:
    """Suggest the known names, at most `most`, nearest to a misspelt one; if none is near, list all, or say `otherwise`.

    >>> did_you_mean("tapri", ["tapir", "tapnext"]), did_you_mean("x", ["tapir", "tapnext"])
    ('did you mean tapir?', 'it is one of tapir, tapnext')
    """
    known = list(known)
    if near := difflib.get_close_matches(name, known, n=most):
        return f"did you mean {' or '.join(dashes + each for each in near)}?"
    return f"it is one of {', '.join(known)}" if otherwise is None else otherwise


def check_several(values: object, what: str) -> None:
    """Raise `BadInput` for a single text where several are expected: it would be split into letters.

    >>> check_several(["a cat", "a dog"], "options")
    >>> check_several("a cat", "options")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: options are one text, 'a cat'; give a list of texts
    """
    if isinstance(values, str | bytes):
        raise BadInput(f"{what} are one text, {values[:60]!r}; give a list of texts")


class Listener:
    """Receives remarks and progress of work. This one ignores them; subclasses print them, or turn them into warnings."""

    def note(self, text: str) -> None:
        """Receive a remark that is not a result, such as a note about damaged frames."""

    def line(self, text: str) -> None:
        """Receive a line that belongs with the result, such as the number of training images."""

    def progress(self, task: str, done: int, total: int | None) -> None:
        """Receive the progress of a task: `total` is None until known, and a task ends with `done` equal to `total`."""

    def status(self, text: str) -> None:
        """Receive the current status line, which replaces the previous one; an empty one removes it."""

    def part(self, result: Any) -> None:
        """Receive a part of the result as soon as it is available, such as the points in one frame of a live video."""

    def counting(self, task: str) -> Callable[[int, int | None], None]:
        """Bind `progress` to one task, to be called with the amount done and the total."""
        return lambda done, total: self.progress(task, done, total)
