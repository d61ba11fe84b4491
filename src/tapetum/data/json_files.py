"""JSON files that are larger than memory, written entry by entry; whole or not at all."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import open_file, parse_json


def write_lines(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON lines: one object a line. Raises BadInput for what JSON has not, and where the file cannot be written."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(dumps(row) + "\n")
    return Path(path)


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON lines. Raises BadInput for a file that is not there, or a line that is none."""
    try:
        with open_file(path, "r") as file:
            yield from map(parse_json, file)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON lines ({error}); write it again") from error


def write_lists(path: str | Path, **parts: Any) -> Path:
    """Write one JSON object whose values are the parts; those that are iterators become lists, written item by item."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("{")
        for number, (name, part) in enumerate(parts.items()):
            file.write((",\n" if number else "") + dumps(name) + ": ")
            if isinstance(part, Iterator):
                _items(file, "[", (dumps(item) for item in part), "]")
            else:
                file.write(dumps(part))
        file.write("}\n")
    return Path(path)


def write_items(path: str | Path, items: Iterable[Any]) -> Path:
    """Write one JSON list, item by item."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        _items(file, "[", map(dumps, items), "]\n")
    return Path(path)


def write_mapping(path: str | Path, entries: Iterable[tuple[str, Any]]) -> Path:
    """Write one JSON object of the entries, one at a time. Raises BadInput for a name that comes twice."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        _items(file, "{", (f"{dumps(name)}: {dumps(value)}" for name, value in _once(entries)), "}\n")
    return Path(path)


def dumps(value: Any) -> str:
    """Return compact JSON. Raises BadInput for what JSON has not: NaN, infinity, arrays."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"what is to be written is no JSON ({error}); give finite numbers, texts, lists and dicts") from None


def _items(file: IO[str], start: str, items: Iterable[str], end: str) -> None:
    file.write(start)
    for number, item in enumerate(items):
        file.write((",\n" if number else "") + item)
    file.write(end)


def _once(entries: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    names: set[str] = set()
    for name, value in entries:
        if name in names:
            raise BadInput(f"{name} is to be written twice; names in a file must differ")
        names.add(name)
        yield name, value
