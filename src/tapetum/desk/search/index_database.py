"""The database of an index of vectors: its tables, and how it is created and opened, whatever state it was left in.

An index may come from anyone: nothing in it is trusted (`tapetum.core.reading`).
"""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.files import temporary_file
from tapetum.core.reading import check_database, check_schema

FORMAT = 2
DATABASE, VECTORS, OTHER_VECTORS = "index.sqlite", "vectors.f16", "vectors-2.f16"
_WAIT_S = 5.0
"""Seconds to wait for another process that writes."""
_SCHEMA = """
create table about (name text primary key, value text not null);
create table files (id integer primary key, path text unique not null, fingerprint text not null);
create table pieces (row integer primary key, file integer not null references files(id) on delete cascade,
                     start_s real, stop_s real, thumbnail blob, tags text not null);
create index pieces_of_files on pieces(file);
"""
_STATES = "alter table files add column size integer; alter table files add column time integer;"
"""Columns that a writer adds to older indexes."""


def create_database(folder: Path, about: Mapping[str, str], exist_ok: bool = False) -> None:
    """Create the files of an empty index; `about` is its metadata. One made by another process stays if `exist_ok`.

    Raises BadInput if there is an index or a file of vectors already, or the folder cannot be written.
    """
    stray = (folder / VECTORS).is_file() and (folder / VECTORS).stat().st_size  # looked at first: others may write now
    if (folder / DATABASE).exists():
        if exist_ok:
            return
        raise BadInput(f"{folder} holds an index already; open it, or give another folder")
    if stray:
        raise BadInput(f"{folder / VECTORS} is there, and no {DATABASE} that says what it is; give another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / VECTORS).touch()
        own = temporary_file(folder / DATABASE)
        own.unlink(missing_ok=True)
        with _connected(own) as database:
            database.executescript(_SCHEMA + _STATES)
            database.executemany("insert into about values (?, ?)", {**about, "format": str(FORMAT)}.items())
        _put_in_place(own, folder / DATABASE, exist_ok)
    except (OSError, sqlite3.Error) as error:
        raise BadInput(f"cannot make an index in {folder}: {error}; choose another folder") from error


def _put_in_place(made: Path, path: Path, exist_ok: bool) -> None:
    """Rename a database to its final name, unless another process was faster."""
    try:
        os.link(made, path)
    except FileExistsError:
        if not exist_ok:
            raise
    except OSError:  # the disk knows no second names
        made.rename(path)
    finally:
        made.unlink(missing_ok=True)


def open_database(folder: Path, writes: bool) -> sqlite3.Connection:
    """Open the database of an index. Incomplete changes of a killed process are rolled back, by readers too.

    Raises BadInput if there is none, it is damaged or of another format, or another process is changing it.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise BadInput(f"{folder} holds no index; make one: tapetum index FOLDER --out {folder}")
    for name in (DATABASE, VECTORS, OTHER_VECTORS):
        if writes and (folder / name).is_symlink():
            raise BadInput(f"{folder / name} is a link, and an index is not written through one; copy what it leads to")
    _check_file(path)
    database: sqlite3.Connection | None = None
    try:
        address = f"{path.resolve().as_uri()}?mode=rw"  # of what is write-protected SQLite only reads
        database = sqlite3.connect(address, uri=True, timeout=_WAIT_S, isolation_level=None)
        database.execute("pragma foreign_keys = on")
        database.execute("pragma trusted_schema = off")
        if writes:
            database.execute("begin exclusive")
            database.execute("pragma locking_mode = exclusive")  # only now: two that wait would hold each other's locks
            database.execute("commit")
        about = read_about_table(database, writes)
        if not writes:
            database.execute("pragma query_only = on")
    except sqlite3.Error as error:
        if database is not None:
            database.close()  # it may hold a lock, for as long as somebody looks at the error
        if not isinstance(error, sqlite3.OperationalError):
            raise _damaged(path, error) from error
        if "locked" in str(error) or "busy" in str(error):
            raise BadInput(f"another process is changing the index {folder}; try again when it is done") from error
        raise BadInput(f"the index {folder} cannot be opened ({error}); make it again") from error
    if about.get("format") != str(FORMAT):
        database.close()
        raise BadInput(f"{folder} has format {about.get('format')}, and this version reads {FORMAT}; make it again")
    return database


def _check_file(path: Path) -> None:
    try:
        check_database(path)
    except OSError as error:
        raise _damaged(path, error.strerror or error) from error


def read_about_table(database: sqlite3.Connection, writes: bool = False) -> dict[str, str]:
    """Read the metadata of an index; raises sqlite3.DatabaseError if its tables are not as created."""
    try:
        check_schema(database, _SCHEMA + _STATES)
    except sqlite3.DatabaseError:
        check_schema(database, _SCHEMA)
        if writes:
            database.executescript(f"begin; {_STATES} commit")
    about = dict(database.execute("select name, value from about limit 100"))
    channels = about.get("channels", "")
    whole = all(isinstance(text, str) for each in about.items() for text in each)
    if not whole or "model" not in about or not re.fullmatch("[1-9][0-9]{0,6}", channels):
        raise sqlite3.DatabaseError("it does not say what made it")
    return about


def _damaged(path: Path, error: object) -> BadInput:
    return BadInput(f"{path} is no index of this version, or is damaged ({error}); remove it, and make it again")


@contextmanager
def refusing_damage(folder: str | Path) -> Iterator[None]:
    """Raise BadInput if the block finds damage in the database of an index."""
    try:
        yield
    except sqlite3.Error as error:
        raise BadInput(f"the index {folder} is damaged ({error}); remove it, and make it again: tapetum index") from error


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path)
    try:
        with database:
            yield database
    finally:
        database.close()
