"""The errors that a user can meet.

Every message is one line that says what was found, what was wanted and what to do next.
The command line prints it without a traceback and exits with code 2.
"""


class TapetumError(Exception):
    """Root of all errors raised on purpose by tapetum."""


class BadInput(TapetumError):
    """A file, array or argument is not what was asked for; the user can mend it."""


class Remark(UserWarning):
    """Something that was taken for granted, or may surprise; the command line prints it as one line, and goes on."""


class MissingExtra(TapetumError):
    """An optional dependency is needed.

    >>> str(MissingExtra("pyarrow", "tables", "reading parquet"))
    "reading parquet needs the package pyarrow, which is not installed: pip install 'tapetum[tables]'"
    """

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs the package {package}, which is not installed: pip install 'tapetum[{extra}]'")
