"""Rows of finished work in a file, a JSON object a line, so that a command that was stopped goes on where it was.

    {"settings": {...}}                           what all rows below depend on, up to the next such line
    {"key": ..., "stamp": {...}, "row": {...}}    a row: of which item, what was in it (`tapetum.core.identity`), what came of
    it

A row is given back to a call with the same settings and the same stamp alone. What is of other settings stays in the file, for
the call that they belong to.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write
from tapetum.core.identity import Outdated, differing, stamp
from tapetum.core.reading import parse_json


class Rows:
    """Rows by key, in memory and, where a path is given, in a file.

    A last line that was cut off is dropped, and a file without any row is removed. `note` hears in one line how many rows are
    of other settings or items, and so are made again. Raises `BadInput` where the file is something else, or cannot be written.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any], note: Callable[[str], None] = lambda text: None):
        self._path, self._settings = path, json.loads(json.dumps(stamp(**settings)))
        self._rows: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._others: dict[str, tuple[Any, Any]] = {}
        """By key: settings and stamp of the last row that is of other settings."""
        self._current: Any = None
        """Settings of the last lines of the file."""
        self._outdated, self._counted = Outdated(note), set[str]()
        if path is None:
            return
        try:
            self._file = open(path, "a+", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            self._read(path)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            self._file.close()
            self._outdated.say(self._path, done=True)
            if not self._path.stat().st_size:
                self._path.unlink()

    def stamp(self, **parts: Any) -> dict[str, Any]:
        """Compute the stamp of an item (`core.identity.stamp`); an empty one, without reading any file, for rows in memory."""
        return {} if self._path is None else json.loads(json.dumps(stamp(**parts)))

    def get(self, key: str, stamp: Any) -> dict[str, Any] | None:
        """Look up the row under `key`, if it was added with an equal stamp (what is in the item, as JSON has it)."""
        known, row = self._rows.get(key, (None, None))
        if row is not None and known == stamp:
            return row
        if key not in self._counted and (row is not None or key in self._others):
            self._counted.add(key)
            self._outdated.add(self._differences(key, stamp))
        return None

    def add(self, key: str, stamp: Any, row: dict[str, Any]) -> None:
        """Add a row, on the disk at once."""
        if self._path is not None:
            if self._current != self._settings:
                self._file.write(json.dumps({"settings": self._settings}) + "\n")
                self._current = self._settings
            self._file.write(json.dumps({"key": key, "stamp": stamp, "row": row}, allow_nan=False) + "\n")
            self._file.flush()
        self._rows[key] = stamp, row

    def _differences(self, key: str, stamp: Any) -> list[str]:
        """List what is otherwise than in the row that is there."""
        if key in self._rows:
            return differing(self._rows[key][0], stamp) if isinstance(stamp, dict) else ["item"]
        return differing(self._others[key][0], self._settings)

    def _read(self, path: Path) -> None:
        self._file.seek(0)
        try:
            text = self._file.read()
            whole = text[: text.rfind("\n") + 1]
            if not whole and not '{"settings"'.startswith(text[:11]):  # no first line that was cut off
                raise ValueError(text[:11])
            for line in whole.splitlines():
                self._take(parse_json(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"{path} does not hold rows of an evaluation; give another file, or remove it") from error
        self._file.truncate(len(whole.encode()) if self._rows or self._others else 0)
        if self._others and not self._rows:  # said before the work, which may be long
            for key, (settings, _) in self._others.items():
                self._counted.add(key)
                self._outdated.add(differing(settings, self._settings))
            self._outdated.say(path)

    def _take(self, line: dict[str, Any]) -> None:
        if "settings" in line:
            self._current = dict(line["settings"])
        elif self._current is None:
            raise ValueError("a row of no settings")
        elif self._current == self._settings:
            self._rows[line["key"]] = line["stamp"], line["row"]
        else:
            self._others[line["key"]] = self._current, line["stamp"]
            _ = line["row"]
