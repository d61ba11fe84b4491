"""Files that say they are databases of SQLite."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tapetum.core.reading import check_database


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as made:
        made.execute("create table t (x)")
    return tmp_path / "a.sqlite"


def test_what_a_killed_process_left_is_taken(database: Path) -> None:
    check_database(database)
    Path(f"{database}-journal").write_bytes(bytes(1000))
    check_database(database)


def test_what_is_none_is_refused(database: Path) -> None:
    with closing(sqlite3.connect(database)) as made:
        made.execute("pragma journal_mode = wal")
    with pytest.raises(OSError, match="it has a write-ahead log"):
        check_database(database)
    check_database(database, wal=True)
    for ending in ("-journal", "-wal", "-shm"):
        beside = Path(f"{database}{ending}")
        beside.symlink_to("/dev/null")
        with pytest.raises(OSError, match="is a link"):
            check_database(database, wal=True)
        beside.unlink()
        os.mkfifo(beside)
        with pytest.raises(OSError, match="it is a pipe, not a file"):
            check_database(database, wal=True)
        beside.unlink()
    for content in (b"", b"nonsense" * 99):
        database.write_bytes(content)
        with pytest.raises(OSError, match="it is no database"):
            check_database(database)
