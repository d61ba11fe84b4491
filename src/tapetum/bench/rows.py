"""Rows of finished work in a file, a JSON object a line, so that a command that was stopped goes on where it was."""

import json
from pathlib import Path
from typing import Any

from tapetum.errors import BadInput
from tapetum.files import cannot_write


class Rows:
    """Rows by key, in memory and, where a path is given, in a file: first a line of settings, then a line for each row.

    A last line that was cut off is dropped, and a file without any row is removed. Raises `BadInput` where the file was begun
    with other settings, is something else, or cannot be written.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]):
        self._path, self._settings = path, json.loads(json.dumps(settings))
        self._rows: dict[str, tuple[Any, dict[str, Any]]] = {}
        if path is None:
            return
        try:
            self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
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
            if not self._path.stat().st_size:
                self._path.unlink()

    def get(self, key: str, stamp: Any) -> dict[str, Any] | None:
        """Return the row under `key`, if it was added with an equal stamp (what the work depends on, as JSON has it)."""
        known, row = self._rows.get(key, (None, None))
        return row if known == stamp else None

    def add(self, key: str, stamp: Any, row: dict[str, Any]) -> None:
        """Keep a row, on the disk at once."""
        if self._path is not None:
            if not self._rows:
                self._file.write(json.dumps({"settings": self._settings}) + "\n")
            self._file.write(json.dumps({"key": key, "stamp": stamp, "row": row}, allow_nan=False) + "\n")
            self._file.flush()
        self._rows[key] = stamp, row

    def _read(self, path: Path) -> None:
        self._file.seek(0)
        try:
            text = self._file.read()
            whole = text[: text.rfind("\n") + 1]
            if not whole and not '{"settings"'.startswith(text[:11]):  # no first line that was cut off
                raise ValueError(text[:11])
            first, *lines = [json.loads(line) for line in whole.splitlines()] or [{"settings": self._settings}]
            self._rows = {line["key"]: (line["stamp"], line["row"]) for line in lines}
            begun = {name: first["settings"].get(name) for name in self._settings}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"{path} does not hold rows of an evaluation; give another --out, or remove it") from error
        for name, now in self._settings.items():
            if begun[name] != now:
                raise BadInput(f"{path} was begun with {name} {begun[name]}, now {now}; give another --out, or remove it")
        self._file.truncate(len(whole.encode()) if self._rows else 0)
