"""The database of an index of vectors: what is in its tables, and how it is made and opened, whatever state it was left in."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.reading import open_file

FORMAT = 2
DATABASE, VECTORS, OTHER_VECTORS = "index.sqlite", "vectors.f16", "vectors-2.f16"
_WAIT_S = 5.0
"""Seconds to wait for another process that writes."""
_MAGIC = b"SQLite format 3\0"
_SCHEMA = """
create table about (name text primary key, value text not null);
create table files (id integer primary key, path text unique not null, fingerprint text not null);
create table pieces (row integer primary key, file integer not null references files(id) on delete cascade,
                     start_s real, stop_s real, thumbnail blob, tags text not null);
create index pieces_of_files on pieces(file);
"""


def create_database(folder: Path, about: Mapping[str, str]) -> None:
    """Make the files of an empty index; `about` is what it says of itself.

    Raises BadInput where there is an index or a file of vectors already, or the folder cannot be written.
    """
    if (folder / DATABASE).exists():
        raise BadInput(f"{folder} holds an index already; open it, or give another folder")
    if (folder / VECTORS).is_file() and (folder / VECTORS).stat().st_size:
        raise BadInput(f"{folder / VECTORS} is there, and no {DATABASE} that says what it is; give another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / VECTORS).touch()
        temporary = folder / f".{DATABASE}.new"
        temporary.unlink(missing_ok=True)
        with _connected(temporary) as database:
            database.executescript(_SCHEMA)
            database.executemany("insert into about values (?, ?)", {**about, "format": str(FORMAT)}.items())
        temporary.replace(folder / DATABASE)
    except (OSError, sqlite3.Error) as error:
        raise BadInput(f"cannot make an index in {folder}: {error}; choose another folder") from error


def open_database(folder: Path, writes: bool) -> sqlite3.Connection:
    """Open the database of an index. What a killed process left half written is taken back, by readers too.

    Raises BadInput where there is none, it is damaged or of another format, or another process is changing it.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise BadInput(f"{folder} holds no index; make one: tapetum index FOLDER --out {folder}")
    database: sqlite3.Connection | None = None
    try:
        with open_file(path) as file:
            if file.read(len(_MAGIC)) != _MAGIC:  # SQLite takes an empty file for a database, and writes into it
                raise BadInput(f"{path} is no index, or is damaged; remove it, and make it again")
        address = f"{path.resolve().as_uri()}?mode=rw"  # of what is write-protected SQLite only reads
        database = sqlite3.connect(address, uri=True, timeout=_WAIT_S, isolation_level=None)
        database.execute("pragma foreign_keys = on")
        database.execute("pragma trusted_schema = off")
        if writes:
            database.execute("pragma locking_mode = exclusive")
            database.execute("begin exclusive")
            database.execute("commit")
        about = dict(database.execute("select name, value from about"))
        if not writes:
            database.execute("pragma query_only = on")
    except sqlite3.Error as error:
        if database is not None:
            database.close()  # it may hold a lock, for as long as somebody looks at the error
        if not isinstance(error, sqlite3.OperationalError):
            raise BadInput(f"{path} is no index, or is damaged ({error}); remove it, and make it again") from error
        if "locked" in str(error) or "busy" in str(error):
            raise BadInput(f"another process is changing the index {folder}; try again when it is done") from error
        raise BadInput(f"the index {folder} cannot be opened ({error}); make it again") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    if about.get("format") != str(FORMAT) or not str(about.get("channels", "")).isdecimal() or "model" not in about:
        database.close()
        raise BadInput(f"{folder} has format {about.get('format')}, and this version reads {FORMAT}; make it again")
    return database


def read_about(folder: Path) -> dict[str, str]:
    """Read what an index says of itself, which never changes, also while another process changes the rest.

    Raises BadInput where there is none, or it is damaged.
    """
    path = folder / DATABASE
    try:
        with open_file(path) as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise BadInput(f"{path} is no index, or is damaged; remove it, and make it again")
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            return dict(database.execute("select name, value from about"))
    except (sqlite3.Error, OSError) as error:
        raise BadInput(f"{path} is no index, or is damaged ({error}); remove it, and make it again") from error


@contextmanager
def refusing_damage(folder: str | Path) -> Iterator[None]:
    """Raise BadInput where the block meets damage in the database of an index."""
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
