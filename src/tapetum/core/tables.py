"""Tables: rows of csv texts as other programs write them, named columns and arrays as bytes, and values as files.

A text may have commas, semicolons or tabs between its cells. Values are written in one of several formats, chosen by file
extension; files appear whole or not at all, and reading them never runs code. A type declares its formats as a mapping from
the extension to a pair of functions: value to bytes, and bytes to the fields of a value.
"""

import csv
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.files import named_path, whole_file, writable
from tapetum.core.reading import no_pipe, read_bytes

if TYPE_CHECKING:
    import numpy as np


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
        return self._rows.line_num + self._skipped

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
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


Value = TypeVar("Value")
Formats = Mapping[str, tuple[Callable[[Value], bytes | Iterator[bytes]], Callable[[bytes], dict[str, Any]]]]
"""By extension: value to bytes, or to pieces of them; bytes to fields. The second raises one of `DAMAGE` for bytes that hold
no such value."""

DAMAGE = (ValueError, KeyError, EOFError, TypeError, OverflowError, RuntimeError, csv.Error, zipfile.BadZipFile, zlib.error)
"""What numpy, csv, json and zipfile raise on damaged files, depending on where the damage is."""

_TRUTH = {"true": "1", "false": "0"}


def save(value: Value, path: str | os.PathLike[str], formats: Formats[Value], what: str) -> Path:
    """Write `value` to `path`, in the format of its extension: under a temporary name, flushed to disk, then renamed.

    `what` names such values in messages, in the plural. Raises BadInput for another extension or a path that cannot be
    written, MissingExtra if a format needs an extra.
    """
    path = named_path(path)
    data = _format(path, formats, what)[0](value)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
    return path


def load(path: str | os.PathLike[str], formats: Formats[Any], what: str, writer: str) -> dict[str, Any]:
    """Read the fields of a value that `save` wrote; `writer` names the function that makes such a file."""
    path = named_path(path)
    read = _format(path, formats, what)[1]
    try:
        data = read_bytes(path)
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"cannot read {what} from {path}: {reason}; give a file written by {writer}") from error
    try:
        return read(data)
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path} does not hold {what} ({reason}); give a file written by {writer}") from error


def _format(
    path: Path, formats: Formats[Value], what: str
) -> tuple[Callable[[Value], bytes | Iterator[bytes]], Callable[[bytes], dict[str, Any]]]:
    try:
        return formats[path.suffix.lower()]
    except KeyError:
        ending = f"the extension {path.suffix!r}" if path.suffix else "no extension"
        *most, last = [extension.removeprefix(".") for extension in formats]
        known = f"{', '.join(most)} or {last}" if most else last
        raise BadInput(f"{path} has {ending}; {what} are stored as {known}") from None


def to_npz(arrays: Mapping[str, Any]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def from_npz(data: bytes, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read the arrays `names` of an npz, and any of `optional` that exist; raises one of `DAMAGE`."""
    import numpy as np

    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in names} | {name: file[name] for name in optional if name in file}


def to_csv(columns: "Mapping[str, np.ndarray]") -> bytes:
    """Write columns of numbers or text as csv, booleans as 0 and 1; `from_csv` restores the same numbers."""
    return (",".join(columns) + "\n").encode("utf-8", "backslashreplace") + b"".join(csv_rows(columns))


def csv_rows(columns: "Mapping[str, np.ndarray]") -> Iterator[bytes]:
    """Yield the rows of `to_csv`, without its header, some thousands at a time."""
    import numpy as np

    numbers = [values.astype(np.int64) if values.dtype == np.bool_ else values for values in columns.values()]
    for start in range(0, len(numbers[0]), 10_000):  # in parts: Ctrl-C waits for the end of each call of join
        rows = zip(*(_texts(values[start : start + 10_000]) for values in numbers), strict=True)
        yield ("\n".join(map(",".join, rows)) + "\n").encode("utf-8", "backslashreplace")


def _texts(values: "np.ndarray") -> Iterable[str]:
    """The numbers as text; frequent ones are converted only once."""

    if values.dtype.kind == "U":
        return map(_quoted, values.tolist())
    return map(str, values)  # of a float32, the shortest text that reads back to the same float32


def _quoted(text: str) -> str:
    """A text cell in a form that the csv module and `unguarded` can read back."""
    text = guarded(text)
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n\r') else text


def from_csv(data: bytes, dtypes: Mapping[str, type]) -> "dict[str, np.ndarray]":
    """Read the columns of a csv file by name, as float32 unless `dtypes` says otherwise; raises one of `DAMAGE`."""
    import numpy as np

    rows = CsvRows(data.decode("utf-8-sig"))
    header = next(rows, [])
    body = [(row, rows.line_num) for row in rows if row]
    if any(len(row) != len(header) for row, _ in body):
        raise ValueError("a row has another number of columns than the header")
    columns = {}
    for index, name in enumerate(header):
        dtype = dtypes.get(name, np.float32)
        texts = [unguarded(row[index]) if dtype is np.str_ else row[index] for row, _ in body]
        columns[name] = _numbers(texts, dtype, [line for _, line in body], name) if texts else np.zeros(0, dtype)
    return columns


def _numbers(texts: list[str], dtype: type, lines: list[int], column: str) -> "np.ndarray":
    """Parse numbers, and true and false if booleans are expected; raises ValueError, which names the line."""
    import numpy as np

    if np.dtype(dtype) == np.bool_:
        texts = [_TRUTH.get(text.strip().lower(), text) for text in texts]
    try:
        return np.array(texts, dtype=np.str_).astype(dtype)
    except (ValueError, OverflowError):
        for text, line in zip(texts, lines, strict=True):
            try:
                np.array([text], dtype=np.str_).astype(dtype)
            except (ValueError, OverflowError):
                allowed = "0 or 1" if np.dtype(dtype) == np.bool_ else "a number"
                raise ValueError(f"line {line} has {text[:80]!r} for {column}, which must be {allowed}") from None
        raise


def to_parquet(columns: "Mapping[str, np.ndarray]") -> bytes:
    """Write columns as parquet; raises MissingExtra without pyarrow."""
    arrow, parquet = pyarrow_for("writing parquet")
    buffer = io.BytesIO()
    names = {name: list(map(writable, values.tolist())) for name, values in columns.items() if values.dtype.kind == "U"}
    parquet.write_table(arrow.table({**columns, **names}), buffer)
    return buffer.getvalue()


def from_parquet(data: bytes) -> "dict[str, np.ndarray]":
    """Read the columns of a parquet file by name; raises one of `DAMAGE`, or MissingExtra without pyarrow."""
    arrow, parquet = pyarrow_for("reading parquet")
    try:
        table = parquet.read_table(io.BytesIO(data))
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    return {name: table.column(name).to_numpy() for name in table.column_names}


def parquet_file(path: str | os.PathLike[str], purpose: str) -> Any:
    """Open a parquet file with pyarrow.parquet, whatever its name; raises OSError, or MissingExtra."""
    return pyarrow_for(purpose)[0].OSFile(os.fsencode(no_pipe(path)))


def pyarrow_for(purpose: str) -> tuple[Any, Any]:
    """Import pyarrow and pyarrow.parquet; raises MissingExtra, naming the purpose, if they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "tables", purpose) from error
    return pyarrow, pyarrow.parquet
