"""Fingerprints of content, which tie a stored result to its item, weights and settings.

A name, a size and a time do not identify the content of a file: it may have been replaced, or be a copy. So every result stored
for a later call has a stamp, a dict of its dependencies, in which files are represented by fingerprints of their bytes.
If the stamp of a later call differs, the result is recomputed, and `Outdated` says so in one line.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tapetum.core.reading import no_pipe, open_file

_LETTERS = 16
"""Hexadecimal digits of a fingerprint: 64 bits."""
_LONGEST = 80
"""Letters of a text that stands in a stamp as it is."""


def fingerprint(path: str | Path) -> str:
    """Compute 16 hexadecimal digits from the bytes of a file, or from names and bytes of all files in and below a folder.

    A file is read again in this process only if its size or time has changed. Hidden files do not count. Raises OSError
    for unreadable files, and for pipes and devices.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one, other = Path(folder, "a.bin"), Path(folder, "b.bin")
    ...     _ = one.write_bytes(b"x"), other.write_bytes(b"x")
    ...     fingerprint(one) == fingerprint(other)
    True
    """
    path = Path(path)
    if path.is_dir():
        return _digest([[name, fingerprint(file)] for name, file in _files_below(path)])
    no_pipe(path)
    about = path.stat()
    return _of_file(os.path.realpath(path), about.st_size, about.st_mtime_ns)


def source_label(source: str | Path | None) -> str | None:
    """Name a possibly large source of images by its last name and a hash: of a file's bytes; of names and sizes of a
    folder's files.

    None stays None, and a missing source has no hash.
    """
    if source is None:
        return None
    path = Path(source)
    if path.is_dir():
        return f"{path.name} {_digest([[name, file.stat().st_size] for name, file in _files_below(path)])}"
    return f"{path.name} {fingerprint(path)}" if path.is_file() else path.name


def stamp(**parts: Any) -> dict[str, Any]:
    """Express a result's dependencies as JSON values: files and folders as their fingerprints, long values as a hash.

    A part is any JSON value, a path, an array, bytes, a dataclass, or several of these; a path that does not exist is
    represented by its name.

    >>> stamp(frame_rate=1.0, question="what?", video=Path("no such file"))
    {'frame_rate': 1.0, 'question': 'what?', 'video': 'no such file'}
    """
    return {name: _short(value) for name, value in parts.items()}


def differing(before: Any, now: Mapping[str, Any]) -> list[str]:
    """Name the parts of a stamp that have changed; all of them if the old value was not a stamp.

    >>> differing({"model": "a", "rate": 1}, {"model": "b", "rate": 1})
    ['model']
    """
    known = before if isinstance(before, dict) else {}
    return [name.replace("_", " ") for name, value in now.items() if known.get(name) != value]


class Outdated:
    """Counts stored results that belong to something else, and reports them once.

    >>> outdated = Outdated(print)
    >>> outdated.add(["model", "dtype"])
    >>> outdated.say("rows.jsonl")
    rows.jsonl: 1 result that was kept there differs in model and dtype; it is computed again
    """

    def __init__(self, note: Callable[[str], None]):
        self._note, self._parts, self._count = note, Counter[str](), 0

    def add(self, parts: list[str], count: int = 1) -> None:
        self._count += count
        self._parts.update(parts)

    def say(self, where: object, done: bool = False) -> None:
        """Describe their number and cause in one line; empty if there are none. `done`: they have been recomputed meanwhile."""
        if not self._count:
            return
        *parts, last = [name for name, _ in self._parts.most_common()] or ["all"]
        of = f"{', '.join(parts)} and {last}" if parts else last
        what, then = "result that was kept there differs", "it was" if done else "it is"
        if self._count > 1:
            what, then = "results that were kept there differ", "they were" if done else "they are"
        self._note(f"{where}: {self._count} {what} in {of}; {then} computed again")
        self._count = 0
        self._parts.clear()


def _files_below(folder: Path) -> list[tuple[str, Path]]:
    named = [(path.relative_to(folder), path) for path in sorted(folder.rglob("*"))]
    visible = [(name, path) for name, path in named if not any(part.startswith(".") for part in name.parts)]
    return [(name.as_posix(), path) for name, path in visible if path.is_file()]


@lru_cache(maxsize=4096)
def _of_file(place: str, size: int, time: int) -> str:
    with open_file(place) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_LETTERS]


def _short(value: Any) -> Any:
    plain = _plain(value)
    simple = plain is None or isinstance(plain, bool | int | float) or (isinstance(plain, str) and len(plain) <= _LONGEST)
    return plain if simple else _digest(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return fingerprint(value) if value.is_file() or value.is_dir() else str(value)
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "__array__"):  # such as an image of Pillow, or a tensor
        import numpy as np

        array = np.ascontiguousarray(value)
        return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    return str(value)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode(errors="surrogatepass")).hexdigest()[:_LETTERS]
