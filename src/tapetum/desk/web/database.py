"""Database of the page (SQLite): files by their ids, edits of points, computed tracks.

Each change is one transaction, written to disk before it is acknowledged, so a killed process loses nothing. Jobs, which are
separate processes, write tracks into the same file (write-ahead log). The schema version is its `user_version`: an older file
is upgraded when opened, a newer one is refused.

The file may come from someone else: if it is a link, or has tables or rows that no server writes (views, triggers, arrays
shorter than they claim), it is refused when opened.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.reading import check_database, check_schema
from tapetum.desk.web.hidden import check_plain

FILE = "projects.sqlite"
_PATIENCE_S = 60.0
"""Seconds that a change waits for another process."""
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE items (id TEXT PRIMARY KEY, path TEXT NOT NULL, size INTEGER NOT NULL, time INTEGER NOT NULL, "
        "content TEXT NOT NULL, kind TEXT NOT NULL, frames INTEGER NOT NULL, fps REAL NOT NULL, width INTEGER NOT NULL, "
        "height INTEGER NOT NULL)",
        "CREATE TABLE projects (item TEXT PRIMARY KEY, revision INTEGER NOT NULL, position INTEGER NOT NULL, "
        "tracked_revision INTEGER)",
        "CREATE TABLE edits (item TEXT NOT NULL, position INTEGER NOT NULL, edit TEXT NOT NULL, time REAL NOT NULL, "
        "PRIMARY KEY (item, position))",
    ),
    (
        "CREATE TABLE tracks (item TEXT NOT NULL, signature TEXT NOT NULL, frames INTEGER NOT NULL, track BLOB NOT NULL, "
        "backward BLOB, made REAL NOT NULL, PRIMARY KEY (item, signature))",
        "ALTER TABLE items ADD COLUMN times BLOB",
        "CREATE TABLE runs (id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE)",
    ),
    (
        "CREATE TABLE spaces (item TEXT PRIMARY KEY, about TEXT NOT NULL, signatures TEXT NOT NULL, frames INTEGER NOT NULL, "
        "places BLOB NOT NULL, poses BLOB NOT NULL)",
    ),
    ("CREATE TABLE masks (item TEXT PRIMARY KEY, signature TEXT NOT NULL, runs TEXT NOT NULL)",),
    ("DROP TABLE runs", "DROP TABLE spaces", "DROP TABLE masks"),
)
"""Statements that lead from each version of the schema to the next; released ones never change."""
_ID = "length(id) = 16 AND id NOT GLOB '*[^0-9a-f]*'"
_ROWS = {
    "items": f"{_ID} AND kind IN ('video', 'image', 'unreadable') AND frames BETWEEN 0 AND 1000000000 "
    "AND fps BETWEEN 0 AND 1e9 AND width BETWEEN kind <> 'unreadable' AND 1000000 "
    "AND height BETWEEN kind <> 'unreadable' AND 1000000 AND ifnull(length(times) % 8, 0) = 0",
    "projects": "max(revision, position, ifnull(tracked_revision, 0)) <= 1 << 60 "
    "AND min(revision, position, ifnull(tracked_revision, 0)) >= 0",
    "edits": "position >= 0",
    "tracks": "frames > 0 AND length(track) IN (16 * frames, 24 * frames) AND ifnull(length(backward) = 4 * frames, 1)",
}
"""Condition on the rows of each table, besides the types of its columns."""


class Database:
    """A connection that threads share, one transaction at a time."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        for ending in ("", "-wal", "-shm", "-journal"):
            check_plain(path.with_name(path.name + ending))
        try:
            if path.exists():
                check_database(path, wal=True)
            self._connection = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        self._connection.row_factory = sqlite3.Row
        self._connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")  # of names of files
        try:
            for setting in ("trusted_schema = OFF", "journal_mode = WAL", "synchronous = FULL"):
                self._connection.execute(f"PRAGMA {setting}")
            self._migrate()
            self._check_rows()
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._unusable(error) from error
        except BaseException:
            self.close()
            raise

    def _unusable(self, reason: object) -> BadInput:
        return BadInput(f"{self.path} cannot be used ({reason}); move it away, and a new one is made")

    def _migrate(self) -> None:
        with self.transaction():
            [[version]] = self._connection.execute("PRAGMA user_version").fetchall()
            if version > len(MIGRATIONS):
                raise BadInput(
                    f"{self.path} has schema {version}, this tapetum knows {len(MIGRATIONS)}; use a newer tapetum, or move it"
                )
            known = [statement for statements in MIGRATIONS[: max(version, 0)] for statement in statements]
            check_schema(self._connection, ";".join(known))
            for statements in MIGRATIONS[max(version, 0) :]:
                for statement in statements:
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _check_rows(self) -> None:
        for table, holds in _ROWS.items():
            for column in self.rows(f"PRAGMA table_info({table})"):
                kinds = [column["type"].lower(), *([] if column["notnull"] or column["pk"] else ["null"])]
                holds += f" AND typeof({column['name']}) IN ({', '.join(map(repr, kinds))})"
            if self.row(f"SELECT 1 FROM {table} WHERE NOT ({holds})") is not None:
                raise self._unusable(f"its {table} are not those of tapetum serve")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes of the block together, or none; a nested one is part of the outer one."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Execute a statement and list its rows. Raises BadInput if the file is damaged, or the disk full."""
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
                if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
                    raise
                raise BadInput(f"{self.path} cannot be read or written ({error}); free some room, or move it away") from error

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Execute a statement and get its first row; None if there is none."""
        return next(iter(self.rows(statement, *values)), None)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()
