"""Database of the page (SQLite): files by their ids, edits of points, tracks that were computed.

Each change is one transaction that is on the disk before it is answered, so a process that is killed loses nothing. Jobs, which
are processes of their own, write tracks into the same file (write-ahead log). The number of the schema is its `user_version`:
an older file is brought up to date when it is opened, a newer one is refused.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput

HIDDEN = ".tapetum-web"
"""What is kept lies in this folder of the served one."""
FILE = "projects.sqlite"
_PATIENCE_S = 60.0
"""How long a change waits for that of another process."""
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
)
"""Statements that lead from each version of the schema to the next; those that were released never change."""


class Database:
    """A connection that threads share, one transaction at a time."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            for setting in ("journal_mode = WAL", "synchronous = FULL"):
                self._connection.execute(f"PRAGMA {setting}")
            self._migrate()
        except sqlite3.DatabaseError as error:
            self.close()
            raise BadInput(f"{path} cannot be used ({error}); move it away, and a new one is made") from error
        except BaseException:
            self.close()
            raise

    def _migrate(self) -> None:
        with self.transaction():
            [[version]] = self._connection.execute("PRAGMA user_version").fetchall()
            if version > len(MIGRATIONS):
                raise BadInput(
                    f"{self.path} has schema {version}, this tapetum knows {len(MIGRATIONS)}; use a newer tapetum, or move it"
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of the block together, or none of them; one inside another is part of it."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Execute a statement and list its rows."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Execute a statement and get its first row; None where there is none."""
        return next(iter(self.rows(statement, *values)), None)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()
