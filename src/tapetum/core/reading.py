"""Safe reading of external data: files, JSON, TOML and text that users name or write, and SQLite databases.

    open_file, read_bytes, read_text    a file that is opened here
    no_pipe, no_pipes_in                a file that a library opens by name, or in a folder
    parse_json, parse_toml, read_json   too deep nesting counts as damage
    check_length                        texts for tokenizers: prompts, questions, options, labels, captions
    check_database                      before opening: SQLite deletes the file that a journal beside it names as super-journal
    check_schema                        before reading: a view, a trigger or a computed column in place of a table runs for as
                                        long as it likes
    scan                                while reading: a cyclic tree of pages never ends

A pipe, a socket or a device, which may never begin or never end, is refused before anything waits for it, unless it comes from
a shell's <(command) and the caller allows that. Errors are OSError and ValueError, as those of `open` and `json`, because the
caller knows best what was expected, and reports it. `tests/hostile/test_reading.py` finds code that bypasses this module.
"""

import errno
import hashlib
import io
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    import sqlite3

MOST_TEXT = 1 << 30
"""Bytes of a file that is read at once, as text or JSON: annotations of the largest benchmarks have some hundred MB."""
MOST_SETTINGS = 16 << 20
"""Bytes of a file of settings."""
LONGEST_TEXT = 100_000
"""Characters of one text that a person wrote: a prompt, a question, an option, a label, a caption."""

_Name = str | os.PathLike[str]
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_address(source: object) -> bool:
    """Check whether this is an address (`tapetum.core.addresses`), such as s3://bucket/photos, rather than a path.

    >>> is_address("s3://bucket/photos"), is_address("photos/a.jpg")
    (True, False)
    """
    return isinstance(source, str) and bool(_ADDRESS.match(source))


def no_pipe(path: _Name) -> str:
    """Check `path` and return it as text; raise OSError for a pipe, a socket or a device, which may never end or never begin.

    A path that does not exist raises the error that opening it would raise.
    """
    name = os.fspath(path)
    _refuse(os.stat(name).st_mode, name)
    return name


def no_pipes_in(folder: _Name) -> str:
    """Check a folder from which a library opens a file, and return it as text; raise OSError if a file in it is a pipe."""
    for entry in os.scandir(folder):
        _refuse(entry.stat().st_mode, entry.path)
    return os.fspath(folder)


def _refuse(mode: int, name: str) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, f"it is {kind_of(mode)}, not a file", name)


def kind_of(mode: int) -> str:
    """Name the kind of a non-file, by the mode from `os.stat`: a pipe, a socket or a device."""
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


@overload
def open_file(path: _Name, mode: Literal["rb"] = "rb", *, pipes: bool = False) -> io.BufferedReader: ...
@overload
def open_file(path: _Name, mode: Literal["r"], *, newline: str | None = None, pipes: bool = False) -> io.TextIOWrapper: ...
def open_file(path: _Name, mode: str = "rb", *, newline: str | None = None, pipes: bool = False) -> Any:
    """Open a file for reading.

    Args:
        path: of the file.
        mode: "rb" for bytes, "r" for text in UTF-8.
        newline: as for `open`.
        pipes: also accept a shell's <(command), /dev/stdin or /dev/fd/N, since it does end.

    Raises:
        OSError: it cannot be opened, or is a pipe, a socket or a device.
    """
    given = pipes and (Path(path).is_relative_to("/dev/fd") or os.fspath(path) == "/dev/stdin")
    return open(path, mode, encoding="utf-8" if mode == "r" else None, newline=newline, opener=None if given else _opened)


def _opened(path: str, flags: int) -> int:
    """Opens without waiting for a writer of a pipe, then checks what was opened."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _refuse(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_bytes(path: _Name, most: int | None = None, *, pipes: bool = False) -> bytes:
    """Read a whole file; raises OSError as `open_file`, and if it has more bytes than `most`."""
    with open_file(path, pipes=pipes) as file:
        if most is None:
            return file.read()
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", os.fspath(path))
    return data


def read_text(path: _Name, encoding: str = "utf-8", errors: str = "strict", most: int = MOST_TEXT) -> str:
    """Read a whole text file; all kinds of line ends become Python's.

    Raises OSError as `read_bytes`, and ValueError if it is not text.
    """
    text = read_bytes(path, most).decode(encoding, errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str | bytes) -> Any:
    """Read JSON; raises ValueError if it is invalid, or nested unreasonably deeply.

    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: it is nested too deeply
    """
    return _shallow(json.loads, text)


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML; raises ValueError as `parse_json`."""
    return _shallow(tomllib.loads, text)


def _shallow(parse: Any, text: str | bytes) -> Any:
    try:
        return parse(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: _Name) -> Any:
    """Read a file of JSON; raises OSError and ValueError as `read_text` and `parse_json`."""
    return parse_json(read_text(path))


def sha256_of(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_length(text: str, what: str, most: int = LONGEST_TEXT) -> None:
    """Raise BadInput, naming `what` it is, if a text is unreasonably long.

    >>> check_length("a" * 200_000, "the prompt")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: the prompt has 200,000 characters; give 100,000 or fewer
    """
    if len(text) > most:
        raise BadInput(f"{what} has {len(text):,} characters; give {most:,} or fewer")


_MAGIC, _ROLLBACK = b"SQLite format 3\0", b"\1\1"
_JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""What a journal begins with, and ends with where it names a super-journal, which only transactions over several files have."""


def check_database(path: Path, wal: bool = False) -> None:
    """Raise OSError if a file is not a database, or the files beside it were not left by a process that used it exclusively.

    Args:
        path: of the database.
        wal: whether it may keep its changes in a write-ahead log.
    """
    with open_file(path) as file:
        header = file.read(len(_MAGIC) + 4)
    if header[: len(_MAGIC)] != _MAGIC:  # SQLite takes an empty file for a database, and writes into it
        raise OSError(errno.EINVAL, "it is no database", os.fspath(path))
    if header[18:20] != _ROLLBACK and not wal:
        raise OSError(errno.EINVAL, "it has a write-ahead log", os.fspath(path))
    for ending in ("-journal", "-wal", "-shm"):
        beside = f"{path.resolve()}{ending}"
        if os.path.islink(beside):
            raise OSError(errno.EINVAL, f"{beside} is a link", beside)
        with suppress(FileNotFoundError):  # there is none, or another process has just removed its own
            if ending != "-journal":
                no_pipe(beside)
                continue
            with open_file(beside) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - len(_JOURNAL)))
                if file.read() == _JOURNAL:
                    raise OSError(errno.EINVAL, f"{beside} names another file", beside)


def check_schema(database: "sqlite3.Connection", schema: str) -> None:
    """Raise sqlite3.DatabaseError if a database has other tables, or anything else, than SQL statements create."""
    import sqlite3

    names = "select type, name, tbl_name, sql from sqlite_master order by name limit 1000"
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(schema)
        if list(map(tuple, database.execute(names))) != made.execute(names).fetchall():
            raise sqlite3.DatabaseError("its tables are not those that were made")


def scan(database: "sqlite3.Connection", statement: str) -> Iterator[tuple[Any, ...]]:
    """Read rows in order of their first column, a number; raise sqlite3.DatabaseError if it does not ascend from 0."""
    import sqlite3

    last = -1
    for row in database.execute(statement):
        if not row[0] > last:
            raise sqlite3.DatabaseError(f"row {row[0]} comes after row {last}")
        last = row[0]
        yield row
