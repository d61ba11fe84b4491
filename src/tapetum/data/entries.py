"""Files that list data sets: csv and texts, and JSON whose fields are checked on reading, or that is written entry by entry.

`tapetum.data.layouts` says which layouts there are. Messages name the file and the entry. Files are written atomically.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import check_length, open_file, parse_json, read_text
from tapetum.core.tables import csv_records
from tapetum.data.files import Files

Split = Literal["train", "val"]
"""What is learned from, and what is held out; where a layout has a test part but no val part, val is that."""
Asks = Literal["class", "labels", "elements", "nothing"]
"""What is known of an example: one class, any number of labels, a class of each pixel, or nothing."""
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Listing:
    """One split of a data set."""

    files: Mapping[str, Files]
    """The files of each example, by what they are: image, mask, audio, video, points (meshes) or cloud; each column of the same
    length N."""
    truth: np.ndarray | None
    """int64 (N,) class numbers, float32 (N, classes) of 0 and 1, or None where nothing is known or `mask` tells it."""
    classes: tuple[str, ...]
    """Names, by number."""
    asks: Asks
    missing: int = 0
    """Examples that are listed, but of which there is no file."""

    def __len__(self) -> int:
        return len(next(iter(self.files.values())))


def text_of(path: Path) -> str:
    """Read a text. Raises BadInput where that cannot be."""
    try:
        return read_text(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BadInput(f"cannot read {path}: {reason}; copy it again") from error


def class_labels(values: Sequence[Any], where: str) -> list[int] | list[str]:
    """Check one label a row: whole numbers as int, also where they are stored as floats, or words; never a mixture of these.

    Raises BadInput that names the first row without a label (None, NaN, an empty word) or with one that is no class.

    >>> class_labels([1.0, 0.0], "labels.csv")
    [1, 0]
    >>> class_labels([1.0, float("nan")], "labels.csv")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: labels.csv has no label in row 1 (one of 1); leave such rows out, or the column
    """
    lacking = [row for row, value in enumerate(values) if value is None or value != value or value == ""]
    if lacking:
        raise BadInput(f"{where} has no label in row {lacking[0]} (one of {len(lacking)}); leave such rows out, or the column")
    labels: list[Any] = []
    for row, value in enumerate(values):
        label = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(label, int | float) and math.isfinite(label) and label == int(label):
            label = int(label)
        elif not isinstance(label, str):
            raise BadInput(f"{where} has the label {str(value)[:40]} in row {row}; a class is a whole number or a word")
        labels.append(label)
    if len({type(label) for label in labels}) > 1:
        row = next(k for k, label in enumerate(labels) if type(label) is not type(labels[0]))
        raise BadInput(f"{where} has the label {labels[0]!r} in row 0 and {labels[row]!r} in row {row}; give one kind of them")
    return labels


def records_of(path: Path) -> list[dict[str, str]]:
    """Read the rows of a csv file by the names of their columns (`tapetum.core.tables`). Raises BadInput as `text_of`."""
    try:
        return csv_records(text_of(path))
    except csv.Error as error:
        raise BadInput(f"{path} is not a csv file ({error}); copy it again") from error


def numbered_classes(largest: int, place: Path) -> tuple[str, ...]:
    """Name classes that have no names, up to the number `largest`. Raises BadInput for one that is beyond all reason."""
    if largest >= _MOST_CLASSES:
        raise BadInput(f"{place} has the class {largest}; without names, number classes from 0 to less than {_MOST_CLASSES}")
    return tuple(str(k) for k in range(largest + 1))


_LONGEST = 1 << 20
"""Characters of a text in an entry, which may be a packed mask."""


class JsonEntry:
    """Fields of one entry, by name and type. Every method raises BadInput if the field is missing or of another type."""

    def __init__(self, fields: Any, where: str, name: str | int = ""):
        """`where` names the entry in messages; `name` is its number in a list, from 0, or its name in an object."""
        if not isinstance(fields, Mapping):
            raise BadInput(f"{where} is {_shown(fields)}; wanted an object with fields: copy the file again")
        self.fields, self.where, self.name = fields, where, name

    def __contains__(self, name: str) -> bool:
        return self.fields.get(name) is not None

    def text(self, name: str, *or_else: str) -> str:
        """Get a text, under the first of these names that exists."""
        field = next((n for n in (name, *or_else) if n in self), name)
        return self._short(field, self._of(field, str, "a text"))

    def optional_text(self, name: str) -> str:
        """Get a text, or an empty one if it is missing."""
        return self.text(name) if name in self else ""

    def whole(self, name: str) -> int:
        """Get a whole number."""
        value = self._of(name, int, "a whole number")
        if isinstance(value, bool):
            raise self._wrong(name, "a whole number")
        return value

    def seconds(self, name: str) -> float | None:
        """Get a time in a video, or None if it is missing."""
        value = self.fields.get(name)
        if value is not None and not (type(value) in (int, float) and 0 <= value < math.inf):
            raise self._wrong(name, "seconds")
        return value

    def key(self, name: str) -> str | int:
        """Get an id: a text or a whole number."""
        return self.text(name) if isinstance(self.fields.get(name), str) else self.whole(name)

    def file_name(self, name: str) -> str:
        """Get the name of a file below the data. Raises BadInput for one that leads outside."""
        return inside(self.text(name), f"{name} of {self.where}")

    def texts(self, name: str) -> tuple[str, ...]:
        """Get a list of texts."""
        values = self._of(name, list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(name, "a list of texts")
        return tuple(self._short(name, value) for value in values)

    def optional_texts(self, name: str) -> tuple[str, ...]:
        """Get a list of texts, or an empty one if it is missing."""
        return self.texts(name) if name in self else ()

    def entry(self, name: str) -> "JsonEntry":
        """Get a nested entry."""
        return JsonEntry(self.fields.get(name), f"{name} of {self.where}", name)

    def entries(self, name: str) -> list["JsonEntry"]:
        """Get a list of entries."""
        return [JsonEntry(item, f"{name} {k} of {self.where}") for k, item in enumerate(self._of(name, list, "a list"))]

    def _short(self, name: str, value: str) -> str:
        check_length(value, f"{name} of {self.where}", _LONGEST)
        return value

    def _of(self, name: str, kind: type, expected: str) -> Any:
        value = self.fields.get(name)
        if not isinstance(value, kind):
            raise self._wrong(name, expected)
        return value

    def _wrong(self, name: str, expected: str) -> BadInput:
        if name not in self.fields:
            some = ", ".join(map(str, list(self.fields)[:6]))
            return BadInput(f"{self.where} has no {name} (it has {some}); wanted {expected}: give the official file")
        return BadInput(f"{name} of {self.where} is {_shown(self.fields[name])}; wanted {expected}: give the official file")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises BadInput if it is missing or not JSON."""
    return _parsed(text_of(path), str(path))


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise BadInput(f"{where} is no JSON ({' '.join(str(error).split())[:80]}); copy it again") from None


def entries(path: Path, *under: str) -> list[JsonEntry]:
    """Read the entries of a JSON file: a list, or the list under these names. Raises BadInput if there is none."""
    content = read_json(path)
    for name in under:
        content = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(content, list):
        raise BadInput(f"{path} has no list{' under ' + ', '.join(under) if under else ''}; give the official file")
    return [JsonEntry(item, f"entry {k} of {path}", k) for k, item in enumerate(content)]


def named_entries(path: Path) -> list[JsonEntry]:
    """Read the entries of a JSON file that is one object. Raises BadInput if it is not."""
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise BadInput(f"{path} is {_shown(content)}; wanted an object of entries: give the official file")
    return [JsonEntry(item, f"entry {name!r} of {path}", str(name)) for name, item in content.items()]


def line_entries(path: Path) -> list[JsonEntry]:
    """Read the entries of JSON lines. Raises BadInput for an invalid line."""
    lines = ((line, f"line {k} of {path}") for k, line in enumerate(text_of(path).splitlines(), 1) if line.strip())
    return [JsonEntry(_parsed(line, where), where, k) for k, (line, where) in enumerate(lines)]


def csv_entries(path: Path) -> list[JsonEntry]:
    """Read the rows of a csv file as entries of texts. Raises BadInput if it is not csv."""
    return [JsonEntry(row, f"line {k + 2} of {path}", k) for k, row in enumerate(records_of(path))]


def inside(name: str, what: str) -> str:
    """Check a relative name of a file. Raises BadInput for one that leads out of its folder."""
    path = Path(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise BadInput(f"{what} is {_shown(name)}, which is no name of a file below the data; give the official file")
    return name


def first_of(folder: Path, names: Sequence[str]) -> Path:
    """Find the first of these files that exists. Raises BadInput if none does."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BadInput(f"{folder} holds no {' or '.join(names)}; put the official file there")


def one_of(split: str, splits: Iterable[str]) -> str:
    """Check that a split is one of `splits`. Raises BadInput for another."""
    known = list(splits)
    if split not in known:
        raise BadInput(f"there is no split {split!r}; it is one of {', '.join(known)}")
    return split


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _write(path: str | Path, pieces: Iterable[str]) -> Path:
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(pieces)
    return Path(path)


def _joined(items: Iterable[str]) -> Iterator[str]:
    for number, item in enumerate(items):
        yield ",\n" + item if number else item


def write_lines(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON lines: one object per line. Raises BadInput for values that JSON lacks, and if the file cannot be written."""
    return _write(path, (dumps(row) + "\n" for row in rows))


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON lines. Raises BadInput for a missing file, or an invalid line."""
    try:
        with open_file(path, "r") as file:
            yield from map(parse_json, file)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON lines ({error}); write it again") from error


def write_lists(path: str | Path, **parts: Any) -> Path:
    """Write one JSON object whose values are the parts; those that are iterators become lists, written item by item."""

    def pieces() -> Iterator[str]:
        for number, (name, part) in enumerate(parts.items()):
            yield (",\n" if number else "{") + dumps(name) + ": "
            yield from chain("[", _joined(map(dumps, part)), "]") if isinstance(part, Iterator) else [dumps(part)]
        yield "}\n"

    return _write(path, pieces())


def write_items(path: str | Path, items: Iterable[Any]) -> Path:
    """Write one JSON list, item by item."""
    return _write(path, chain("[", _joined(map(dumps, items)), ["]\n"]))


def write_mapping(path: str | Path, entries: Iterable[tuple[str, Any]]) -> Path:
    """Write one JSON object of the entries, one at a time. Raises BadInput for a duplicate name."""
    return _write(path, chain("{", _joined(f"{dumps(name)}: {dumps(value)}" for name, value in _once(entries)), ["}\n"]))


def dumps(value: Any) -> str:
    """Write compact JSON. Raises BadInput for values that JSON lacks: NaN, infinity, arrays."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"what is to be written is no JSON ({error}); give finite numbers, texts, lists and dicts") from None


def _once(entries: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    names: set[str] = set()
    for name, value in entries:
        if name in names:
            raise BadInput(f"{name} is to be written twice; names in a file must differ")
        names.add(name)
        yield name, value
