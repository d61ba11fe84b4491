"""Records on disk of which items are finished, so that a stopped command can continue (`tapetum.core.jobs`).

    Rows                                  one file for all items, one JSON object per line
    ComputedItems, ResultsOnDisk          items and results of this call that memory need not hold
    read_finished                         a JSON file per item, written after all other files of the item
    changed_settings                      which run a folder belongs to
    continues_run                         whether a call continues it
    remove_unfinished                     files left by killed workers

A result belongs to an item and to a stamp of its dependencies (`tapetum.core.identity`): with another stamp it is recomputed.
"""

import json
import os
import pickle
import shutil
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write
from tapetum.core.identity import Outdated, differing, stamp
from tapetum.core.reading import parse_json, read_json


def read_finished(
    file: Path, stamp: Mapping[str, Any] | Callable[[], Mapping[str, Any]], outdated: Outdated, name: str = "stamp"
) -> dict[str, Any] | None:
    """Read the result of a finished item: the content of its file, if the stamp stored there under `name` is equal.

    None if the file is missing or damaged; also if the stamp differs, which `outdated` counts. `stamp` may be a function,
    called only if there is a file.
    """
    if not file.exists():
        return None
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or name not in content:
        return None
    if changed := differing(content[name], stamp() if callable(stamp) else stamp):
        outdated.add(changed)
        return None
    return content


def changed_settings(file: Path, settings: Mapping[str, Any], advice: str) -> dict[str, Any] | None:
    """Compare the settings of a run with those in `file`: return the names and earlier values of those that differ.

    None if there is no such file. Raises BadInput, which ends with `advice`, if it cannot be read.
    """
    try:
        before = read_json(file) if file.exists() else None
        if before is None:
            return None
        return {k: before.get(k) for k, value in settings.items() if before.get(k) != value}
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{file} cannot be read ({error}); {advice}") from error


def continues_run(file: Path, settings: Mapping[str, Any], out: Path, done: str) -> bool:
    """Check whether `file` holds the settings of a run into `out` that was interrupted after `done`, such as "2 scenes".

    Raises BadInput if they differ, or cannot be read.
    """
    changed = changed_settings(file, settings, f"remove {out} or choose another folder")
    if changed:
        had = " ".join(f"--{name} {value}" for name, value in changed.items())
        raise BadInput(
            f"{out} holds {done} of a run with {had} that was not finished; give that again to go on, remove the folder, or "
            "choose another"
        )
    return changed is not None


def remove_unfinished(files: Iterable[Path]) -> None:
    for path in files:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class ComputedItems(Sequence[Any]):
    """Items that are made of others when they are given out, and not kept.

    >>> list(ComputedItems(abs, [-1, 2]))
    [1, 2]
    """

    make: Callable[[Any], Any]
    given: Sequence[Any]

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, number: Any) -> Any:
        return self.make(self.given[number])


class ResultsOnDisk(Sequence[Any]):
    """Results by number in a temporary file of this process: memory holds 8 bytes of each, and the first MiB.

    >>> results = ResultsOnDisk(2)
    >>> results[1], results[0] = {"points": 4}, None
    >>> results[1], len(results)
    ({'points': 4}, 2)
    """

    def __init__(self, count: int):
        self._file = SpooledTemporaryFile(1 << 20)  # noqa: SIM115 # for as long as this lives
        self._places = array("q", [0]) * count

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        self._file.seek(self._places[number])
        return pickle.load(self._file)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)  # copies are in memory

    def __setitem__(self, number: int, result: Any) -> None:
        self._places[number] = self._file.seek(0, os.SEEK_END)
        pickle.dump(result, self._file)


class Rows:
    """Rows by key, in memory and, if a path is set, in a file.

        {"settings": {...}}                           applies to all rows below, up to the next such line
        {"key": ..., "stamp": {...}, "row": {...}}    a row: its item, the item's content, the result

    A row is only returned to a call with the same settings and the same stamp; others stay in the file, for the calls that they
    belong to. A truncated last line is dropped, and a file without any row is removed. `note` receives one line with the number
    of rows that are recomputed. Raises `BadInput` if the file is something else, or cannot be written.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any], note: Callable[[str], None] = lambda text: None):
        self._path, self._settings = path, json.loads(json.dumps(stamp(**settings)))
        self._rows: dict[str, tuple[Any, Any, dict[str, Any]]] = {}
        """Settings, stamp and row by key: of these settings, if there is one."""
        self._current: Any = None
        """Settings of the last lines of the file."""
        self._outdated, self._counted = Outdated(note), set[str]()
        if path is not None:
            try:
                self._file = open(path, "a+", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            except OSError as error:
                raise cannot_write(path, error) from error
            self._read(path)

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
        """Look up the row under `key`, if it was added with an equal stamp (the item's content, as JSON values)."""
        if key not in self._rows:
            return None
        settings, known, row = self._rows[key]
        if (settings, known) == (self._settings, stamp):
            return row
        if key not in self._counted:
            self._counted.add(key)
            changed = [] if not isinstance(stamp, dict) else differing(known, stamp)
            self._outdated.add(differing(settings, self._settings) or changed or ["item"])
        return None

    def add(self, key: str, stamp: Any, row: dict[str, Any]) -> None:
        """Add a row, and write it to disk immediately."""
        if self._path is not None:
            if self._current != self._settings:
                self._file.write(json.dumps({"settings": self._settings}) + "\n")
                self._current = self._settings
            self._file.write(json.dumps({"key": key, "stamp": stamp, "row": row}, allow_nan=False) + "\n")
            self._file.flush()
        self._rows[key] = self._settings, stamp, row

    def _read(self, path: Path) -> None:
        self._file.seek(0)
        try:
            text = self._file.read()
            whole = text[: text.rfind("\n") + 1]
            if not whole and not '{"settings"'.startswith(text[:11]):  # no first line that was cut off
                raise ValueError(text[:11])
            for line in map(parse_json, whole.splitlines()):
                if "settings" in line:
                    self._current = dict(line["settings"])
                elif self._current is None:
                    raise ValueError("a row of no settings")
                elif self._current == self._settings or self._rows.get(line["key"], [None])[0] != self._settings:
                    self._rows[line["key"]] = self._current, line["stamp"], line["row"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._file.close()
            raise BadInput(f"{path} does not hold rows of an evaluation; give another file, or remove it") from error
        self._file.truncate(len(whole.encode()) if self._rows else 0)
        others = [each[0] for each in self._rows.values() if each[0] != self._settings]
        if len(others) == len(self._rows):  # said before the work, which may be long
            self._counted.update(self._rows)
            for settings in others:
                self._outdated.add(differing(settings, self._settings))
            self._outdated.say(path)
