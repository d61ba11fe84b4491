"""The errors that a user can meet.

Every message is one line that says what was found, what was wanted and what to do next.
The command line prints it without a traceback and exits with code 2.
"""

import re

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""Write control characters, by which text from outside could act on a terminal, as they are written in Python.

    Line ends and tabs stay. Names of files, fields of ledgers, captions, labels and what servers answer go through this before
    they are printed.

    >>> print(visible("\x1b[2Jcat.png"))
    \x1b[2Jcat.png
    """
    return _UNSEEN.sub(lambda match: repr(match[0])[1:-1], text)


class TapetumError(Exception):
    """Root of all errors raised on purpose by tapetum."""


class BadInput(TapetumError):
    """A file, array or argument is not what was asked for; the user can mend it."""


class Unreachable(TapetumError):
    """What lies at an address could not be read, also when that was tried again; it is not damaged, and may be there later."""


class Remark(UserWarning):
    """Warning of what was taken for granted, or may surprise; the command line prints it as one line, and goes on."""


class MissingExtra(TapetumError):
    """An optional dependency is needed.

    >>> str(MissingExtra("pyarrow", "tables", "reading parquet"))
    "reading parquet needs the package pyarrow, which is not installed: pip install 'tapetum[tables]'"
    """

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs the package {package}, which is not installed: pip install 'tapetum[{extra}]'")


def check_several(values: object, what: str) -> None:
    """Raise `BadInput` for one text where several are wanted: it would be taken letter by letter.

    >>> check_several(["a cat", "a dog"], "options")
    >>> check_several("a cat", "options")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: options are one text, 'a cat'; give a list of texts
    """
    if isinstance(values, str | bytes):
        raise BadInput(f"{what} are one text, {values[:60]!r}; give a list of texts")
