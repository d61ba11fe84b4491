"""What tyro finds wrong with a command line, as one line in place of a box of ten.

╭─ Value error ──────────────────────────────────────────╮
│ Error parsing --grid: no type matching {None}|INT ...  │       --grid: 'abc' is no INT (see: tapetum track --help)
│ ...                                                    │  -->
│ For full helptext, see tapetum track --help            │
╰────────────────────────────────────────────────────────╯
"""

import io
import os
import re
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import TypeVar

from tapetum.core.errors import BadInput

Parsed = TypeVar("Parsed")
_WIDE = "1000"
"""Columns in which tyro breaks hardly any line."""
_WORDS = (
    (r"Error parsing (\S+): no type matching (?:\{None\}\|)?(\S+) could be instantiated from \[(.*?)\].*", r"\1: \3 is no \2"),
    (r"Error parsing (\S+): invalid literal for int\(\) with base 10: (.*)", r"\1: \2 is no INT"),
    (r"Error parsing (\S+): could not convert string to float: (.*)", r"\1: \2 is no FLOAT"),
    (r"invalid choice (.*) for argument '(?:\w+\.)*(\S+)'\. Expected one of \((.*?),?\)\.", r"\2: \1 is none of \3"),
    (r"Missing value for argument '(\S+)'\. Expected 1 values\.", r"\1 lacks its value"),
    (r"Expected one of \{(.*)\}\.", r"give one of \1"),
    (r"Unrecognized options: (.*)", r"nothing takes \1"),
)
"""How tyro says it, and how we do."""


def in_one_line(parse: Callable[[], Parsed], command: str) -> Parsed:
    """Call `parse`, which lets tyro read the words of `command`; raise BadInput where it would have printed what is wrong."""
    heard = io.StringIO()
    width = os.environ.get("COLUMNS")
    try:
        with redirect_stderr(heard):
            return parse()
    except SystemExit as stop:
        if not stop.code:
            raise
    try:
        os.environ["COLUMNS"], heard = _WIDE, io.StringIO()
        with redirect_stderr(heard):
            return parse()
    except SystemExit as stop:
        raise BadInput(line_of(heard.getvalue(), command)) from stop
    finally:
        del os.environ["COLUMNS"]
        if width is not None:
            os.environ["COLUMNS"] = width


def line_of(box: str, command: str) -> str:
    """Give in one line what a box of tyro says.

    >>> line_of("+- Missing argument -+\\n| Missing value for argument '--grid'. Expected 1 values. |\\n|  |", "tapetum track")
    '--grid lacks its value (see: tapetum track --help)'
    """
    rows = [row[2:].rstrip(" │|") for row in box.splitlines() if row[:1] in ("│", "|")]
    named = re.search(r"(tapetum [\w -]+?) --help", " ".join(rows))
    said = []
    for row in rows:
        if not row.strip(" ─-"):
            break
        said.append(row)
    missing = [re.split(r"\s", row.strip())[0] for row in said[1:] if re.match(r" {4}\S", row)]
    text = " ".join(" ".join(said).split())
    if missing:
        text = f"{', '.join(missing)} must be given"
    for theirs, ours in _WORDS:
        text = re.sub(f"^{theirs}$", ours, text)
    return f"{text or 'this cannot be read'} (see: {named[1] if named else command} --help)"
