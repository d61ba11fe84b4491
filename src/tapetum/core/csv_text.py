"""Rows of csv texts, as other programs write them: with commas, semicolons or tabs; and cells for those that we write.

Imports no numpy.
"""

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice


class CsvRows:
    """Rows of a csv text, with commas, semicolons or tabs between cells, whichever gives the most cells in the first row.

    Excel writes semicolons in locales with decimal commas: if commas do not separate cells, 1,5 is read as 1.5 (not with
    `decimals` false, for tables of words). Its first line `sep=;`, which names the separator, is not a row.

    >>> list(CsvRows("t;x;y\\n0;1,5;-2,25\\n")), list(CsvRows('a,b\\n1,"2,5"\\n'))
    ([['t', 'x', 'y'], ['0', '1.5', '-2.25']], [['a', 'b'], ['1', '2,5']])
    """

    def __init__(self, text: str, decimals: bool = True):
        """Find the separator; raises csv.Error for other text."""
        hint = re.match(r"sep=([,;\t])\r?\n", text)
        self._skipped = 0 if hint is None else 1
        text = text if hint is None else text[hint.end() :]
        self.separator = separator_of(text) if hint is None else hint[1]
        self._rows = csv.reader(io.StringIO(text, newline=""), delimiter=self.separator)
        self._decimals = decimals and self.separator != ","

    @property
    def line_num(self) -> int:
        """Count the lines read so far."""
        return self._rows.line_num + self._skipped

    def __iter__(self) -> Iterator[list[str]]:
        """Read the rows one by one."""
        return self

    def __next__(self) -> list[str]:
        """Read the next row."""
        row = next(self._rows)
        return [_with_point(cell) for cell in row] if self._decimals else row


def csv_records(text: str) -> list[dict[str, str]]:
    """Read rows of words under the column names in the first row; like `CsvRows`, but commas in cells stay.

    Cells beyond the named columns are dropped, and missing ones are empty. Raises csv.Error for other text.

    >>> csv_records("name;says\\na;1,5\\n\\nb\\n")
    [{'name': 'a', 'says': '1,5'}, {'name': 'b', 'says': ''}]
    """
    rows = CsvRows(text, decimals=False)
    header = next(rows, [])
    return [dict(zip(header, [*row, *[""] * (len(header) - len(row))], strict=False)) for row in rows if row]


def cells_of(text: str) -> list[str]:
    """Split one row of numbers as `CsvRows` does: "0,120.5,80", or "0;120,5;80".

    >>> cells_of("0,120.5,80"), cells_of("0; 120,5; 80")
    (['0', '120.5', '80'], ['0', '120.5', '80'])
    """
    sign = next((sign for sign in ";\t" if sign in text), ",")
    parts = [part.strip() for part in text.split(sign)]
    return parts if sign == "," else [_with_point(part) for part in parts]


_DECIMAL = re.compile(r"\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*")


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if "," in cell and _DECIMAL.fullmatch(cell) else cell


def separator_of(text: str) -> str:
    """Find the separator: the one that gives the most cells in the first non-empty row; a comma if two give as many."""

    def cells(sign: str) -> int:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=sign)
        return max((len(row) for row in islice((row for row in rows if any(map(str.strip, row))), 1)), default=1)

    return max((",", ";", "\t"), key=cells)


_FORMULA = """(^|[,;\\t\\r\\n])%s([ '"]*[=+\\-@\uff1d\uff0b\uff0d\uff20])"""
_GUARDED, _UNGUARDED = re.compile(_FORMULA % "'"), re.compile(_FORMULA % "")


def guarded(word: str) -> str:
    """Write a word for a cell so that no spreadsheet takes it, or the part after a separator in it, for a formula.

    >>> guarded("=1+1"), guarded("a;@b"), guarded("x-y")
    ("'=1+1", "a;'@b", 'x-y')
    """
    return _UNGUARDED.sub(r"\1'\2", word)


def unguarded(cell: str) -> str:
    """Read a word that `guarded` wrote.

    >>> unguarded("'=1+1"), unguarded("'tail")
    ('=1+1', "'tail")
    """
    return _GUARDED.sub(r"\1\2", cell)
