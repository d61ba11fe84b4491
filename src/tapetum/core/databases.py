"""SQLite databases from outside, checked before SQLite trusts their content.

check_file     before opening: SQLite deletes the file that a journal beside it names as its super-journal
check_schema   before reading: a view, a trigger or a computed column in place of a table runs for as long as it likes
scan           while reading: a cyclic tree of pages never ends
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tapetum.core.reading import no_pipe, open_file

_MAGIC, _ROLLBACK = b"SQLite format 3\0", b"\1\1"
_JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""What a journal begins with, and ends with where it names a super-journal, which only transactions over several files have."""


def check_file(path: Path, wal: bool = False) -> None:
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


def check_schema(database: sqlite3.Connection, schema: str) -> None:
    """Raise sqlite3.DatabaseError if a database has other tables, or anything else, than SQL statements create."""
    names = "select type, name, tbl_name, sql from sqlite_master order by name limit 1000"
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(schema)
        if list(map(tuple, database.execute(names))) != made.execute(names).fetchall():
            raise sqlite3.DatabaseError("its tables are not those that were made")


def scan(database: sqlite3.Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    """Read rows in order of their first column, a number; raise sqlite3.DatabaseError if it does not ascend from 0."""
    last = -1
    for row in database.execute(statement):
        if not row[0] > last:
            raise sqlite3.DatabaseError(f"row {row[0]} comes after row {last}")
        last = row[0]
        yield row
