"""Files that say they are databases of SQLite."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tapetum.core.databases import check_file


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as made:
        made.execute("create table t (x)")
    return tmp_path / "a.sqlite"


def test_what_a_killed_process_left_is_taken(database: Path) -> None:
    check_file(database)
    Path(f"{database}-journal").write_bytes(bytes(1000))
    check_file(database)


def test_what_is_none_is_refused(database: Path) -> None:
    with closing(sqlite3.connect(database)) as made:
        made.execute("pragma journal_mode = wal")
    with pytest.raises(OSError, match="it has a write-ahead log"):
        check_file(database)
    check_file(database, wal=True)
    for ending in ("-journal", "-wal", "-shm"):
        beside = Path(f"{database}{ending}")
        beside.symlink_to("/dev/null")
        with pytest.raises(OSError, match="is a link"):
            check_file(database, wal=True)
        beside.unlink()
        os.mkfifo(beside)
        with pytest.raises(OSError, match="it is a pipe, not a file"):
            check_file(database, wal=True)
        beside.unlink()
    for content in (b"", b"nonsense" * 99):
        database.write_bytes(content)
        with pytest.raises(OSError, match="it is no database"):
            check_file(database)
