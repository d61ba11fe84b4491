"""A folder of vectors that can be searched, updated file by file, and is never left half written.

    FOLDER/index.sqlite     about: model, channels, format, and what its maker notes; files: path, fingerprint,
                            size and time of change (ns) of one on disk;
                            pieces: row, file, start_s, stop_s, thumbnail, tags ("[]"; version 0.1.0 stored class names)
    FOLDER/vectors.f16      float16, a row a piece, of unit length; after each `compact` in turns vectors-2.f16 and this

SQLite is authoritative: a row of `vectors.f16` that no piece names was left by a killed process, and is overwritten. One
process writes at a time, any number read. Rows of removed files stay until `compact`.

Search is exact (`tapetum.desk.search.vector_search`), in blocks of the mapped file, so memory use is the operating system's
cache of it. float16 rounds a cosine by at most 0.001.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe, scan
from tapetum.desk.search.index_database import OTHER_VECTORS, VECTORS, create_database, open_database, read_about_table
from tapetum.desk.search.vector_search import Nearest, find_nearest

_BLOCK = 1 << 16
"""Number of rows copied at a time."""
FileState = tuple[int, int]
"""Size of a file on disk, and time of its last change in ns: while they are the same, its content is."""
_UNIT = 0.02
"""Maximum deviation of a vector's length from 1; float16 rounds it."""


@dataclass(frozen=True, kw_only=True)
class IndexedPiece:
    """An image, or a span of a film or of a recording."""

    path: str
    start_s: float | None = None
    """Start in the file, in seconds; None for an image."""
    stop_s: float | None = None
    thumbnail: bytes | None = None
    """A small JPEG."""


@dataclass(frozen=True)
class IndexedFile:
    """A file to be indexed."""

    path: str
    fingerprint: str
    pieces: Sequence[IndexedPiece]
    vectors: Float[np.ndarray, "n channels"]
    state: FileState | None = None
    """Size and time when it was read."""


class VectorIndex:
    """Vectors of pieces of files, and search among them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, VectorIndex.create(folder, "resnet-nano", 2) as index:
    ...     index.put("a.png", "f1", [IndexedPiece(path="a.png")], np.array([[3.0, 4.0]]))
    ...     index.put("b.png", "f2", [IndexedPiece(path="b.png")], np.array([[-1.0, 0.0]]))
    ...     found = index.nearest(np.array([[1.0, 0.0]]), 2)
    ...     [piece.path for piece in index.pieces(found.rows[0])], found.cosines.astype(float).round(2).tolist()
    (['a.png', 'b.png'], [[0.6, -1.0]])
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, writes: bool):
        self.folder, self._database, self.writes = folder, database, writes
        about = read_about_table(database)
        self.model: str = about["model"]
        """Identity of the weights and preprocessing that made the vectors."""
        self.channels = int(about["channels"])
        self.about: dict[str, str] = about
        """Metadata."""
        self._live: Int64[np.ndarray, " n"] | None = None
        self._mapped: np.ndarray | None = None
        self._version: int | None = None

    @classmethod
    def create(cls, folder: str | Path, model: str, channels: int, exist_ok: bool = False, **others: str) -> "VectorIndex":
        """Create an empty index; `others` is stored in `about`. One made by another process is opened if `exist_ok`.

        Raises BadInput if there is one already, or the folder cannot be written.
        """
        create_database(Path(folder), {**others, "model": model, "channels": str(channels)}, exist_ok)
        return cls.open(folder, writes=True)

    @classmethod
    def open(cls, folder: str | Path, writes: bool = False) -> "VectorIndex":
        """Open an index, for reading or writing.

        Raises BadInput if there is none, it is damaged or of a later version, or another process is changing it.
        """
        folder = Path(folder)
        database = open_database(folder, writes)
        try:
            index = cls(folder, database, writes)
            rows, vectors = index._rows(), index._vectors()
            if not vectors.is_file() or vectors.stat().st_size < 2 * rows * index.channels:
                raise BadInput(f"{vectors} is shorter than its {rows} rows, or gone; make the index again")
        except (BadInput, sqlite3.Error):
            database.close()
            raise
        return index

    def close(self) -> None:
        """Close the files."""
        self._database.close()

    def __enter__(self) -> "VectorIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.rows())

    def fingerprints(self) -> dict[str, str]:
        """Read the fingerprint of each file in the index, by path."""
        rows = scan(self._database, "select id, path, fingerprint from files order by id")
        return {str(path): str(fingerprint) for _, path, fingerprint in rows}

    def states(self) -> dict[str, tuple[str, FileState | None]]:
        """Read fingerprint and state of each file in an index that is open for writing, by path."""
        rows = scan(self._database, "select id, path, fingerprint, size, time from files order by id")
        return {str(path): (str(mark), None if size is None else (size, time)) for _, path, mark, size, time in rows}

    def set_states(self, states: Mapping[str, FileState]) -> None:
        """Record the states of files whose content is that in the index."""
        with self._transaction():
            rows = [(*state, path) for path, state in states.items()]
            self._database.executemany("update files set size = ?, time = ? where path = ?", rows)

    def put(
        self,
        path: str,
        fingerprint: str,
        pieces: Sequence[IndexedPiece],
        vectors: Float[np.ndarray, "n channels"],
        state: FileState | None = None,
    ) -> None:
        """Add the pieces of a file as `put_files` does; `state`: what it had as it was read."""
        self.put_files([IndexedFile(path, fingerprint, pieces, vectors, state)])

    def put_files(self, files: "Sequence[IndexedFile]") -> None:
        """Add the pieces of files, replacing their earlier ones, in one transaction.

        Raises BadInput for vectors of another width, that are not finite, or of length 0, and for a full disk.
        """
        units = [self._unit(file.vectors) for file in files]
        for file, unit in zip(files, units, strict=True):
            if len(unit) != len(file.pieces):
                raise BadInput(f"there are {len(file.pieces)} pieces of {file.path} and {len(unit)} vectors; give one for each")
        row = self._rows()
        self._live, self._mapped = None, None
        try:
            os.truncate(self._vectors(), 2 * row * self.channels)  # rows that no piece names
            with open(self._vectors(), "ab") as opened:
                opened.writelines(unit.astype(np.float16).tobytes() for unit in units)
                opened.flush()
                os.fsync(opened.fileno())  # before the database says that they are there
            with self._transaction():
                for file in files:
                    self._database.execute("delete from files where path = ?", (file.path,))
                    about = file.path, file.fingerprint, *(file.state or (None, None))
                    number = self._database.execute(
                        "insert into files (path, fingerprint, size, time) values (?, ?, ?, ?)", about
                    )
                    rows = [
                        (row + k, number.lastrowid, p.start_s, p.stop_s, p.thumbnail, "[]") for k, p in enumerate(file.pieces)
                    ]
                    self._database.executemany("insert into pieces values (?, ?, ?, ?, ?, ?)", rows)
                    row += len(rows)
        except (OSError, sqlite3.Error) as error:
            raise BadInput(f"cannot write the index {self.folder}: {error}; what was there before is intact") from error

    def remove(self, paths: Iterable[str]) -> int:
        """Remove files; returns how many existed."""
        with self._transaction():
            return sum(self._database.execute("delete from files where path = ?", (path,)).rowcount for path in paths)

    def compact(self) -> None:
        """Rewrite the vectors without the rows of removed files; if killed, the index stays unchanged."""
        rows, before = self.rows(), self._vectors()
        after = self.folder / (VECTORS if before.name != VECTORS else OTHER_VECTORS)
        with open(after, "wb") as file:
            for first in range(0, len(rows), _BLOCK):
                file.write(np.ascontiguousarray(self._matrix()[rows[first : first + _BLOCK]]).tobytes())
            file.flush()
            os.fsync(file.fileno())  # before the database says that they are there
        with self._transaction():  # new rows never lie above the old ones, and go up with them, so that none is met twice
            self._database.executemany("update pieces set row = ? where row = ?", enumerate(rows.tolist()))
            self._database.execute("insert or replace into about values ('vectors', ?)", (after.name,))
        before.unlink()

    def pieces(self, rows: Iterable[int]) -> list[IndexedPiece]:
        """Read the pieces of rows, in their order."""
        query = "select path, start_s, stop_s, thumbnail from pieces join files on files.id = file where row = ?"
        return [_piece(self._database.execute(query, (int(row),)).fetchone()) for row in rows]

    def rows_of(self, path: str) -> Int64[np.ndarray, " n"]:
        """Read the rows of a file's pieces, in order; empty if it is not in the index."""
        query = "select id from files where path = ?"
        file = self._database.execute(query, (path,)).fetchone()
        if file is None:
            return np.zeros(0, np.int64)
        stored = scan(self._database, f"select row from pieces where file = {int(file[0])} order by row")
        rows, live = np.fromiter((row for (row,) in stored), np.int64), self.rows()
        if len(rows) and not np.array_equal(live[np.searchsorted(live, rows).clip(max=len(live) - 1)], rows):
            raise sqlite3.DatabaseError("a file has rows that are not there")
        return rows

    def unused_rows(self) -> int:
        """Count the rows of the vector file that no piece names any more."""
        return self._rows() - len(self)

    def rows(self) -> Int64[np.ndarray, " n"]:
        """Read the rows of all pieces, ascending."""
        self._forget_what_changed()
        if self._live is None:
            rows = scan(self._database, "select row from pieces order by row")
            self._live = np.fromiter((row for (row,) in rows), np.int64)
        return self._live

    def vectors(self, rows: Int64[np.ndarray, " n"] | None = None) -> Float32[np.ndarray, "n channels"]:
        """Read the vectors of rows, by default of all pieces."""
        vectors = self._matrix()[self.rows() if rows is None else rows].astype(np.float32)
        self._refuse_damage((np.abs(np.square(vectors).sum(1) - 1) < _UNIT).all())
        return vectors

    def nearest(self, queries: Float[np.ndarray, "q channels"], count: int) -> Nearest:
        """Find the rows with the most similar vectors, the best first; on ties the earlier row.

        Args:
            queries: vectors of any length but 0.
            count: how many to find; fewer if the index has fewer.

        Raises:
            BadInput: queries of another width, that are not finite, or of length 0.
        """
        nearest = find_nearest(self._matrix(), self.rows(), self._unit(queries), count)
        self._refuse_damage((np.abs(nearest.cosines) < 1 + _UNIT).all())
        return nearest

    def _refuse_damage(self, whole: bool | np.bool_) -> None:
        if not whole:
            raise BadInput(f"{self._vectors()} has vectors that are not finite, or not of length 1; make the index again")

    def _unit(self, vectors: Float[np.ndarray, "n c"]) -> Float32[np.ndarray, "n c"]:
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.channels:
            raise BadInput(f"vectors are of shape {vectors.shape}; those of the index have {self.channels} channels")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(vectors).all() or not (lengths > 0).all():
            raise BadInput("a vector is not finite, or of length 0, and points nowhere; compute it again")
        return vectors / lengths

    def _vectors(self) -> Path:
        """Find the vector file named in the database; only the two names of this module are accepted."""
        named = self._database.execute("select value from about where name = 'vectors'").fetchone()
        return self.folder / (OTHER_VECTORS if named == (OTHER_VECTORS,) else VECTORS)

    def _rows(self) -> int:
        """Rows up to the last one named by a piece."""
        return self._database.execute("select coalesce(max(row) + 1, 0) from pieces").fetchone()[0]

    def _matrix(self) -> np.ndarray:
        self._forget_what_changed()
        if self._mapped is None:
            rows, path = self._rows(), self._vectors()
            empty = np.zeros((0, self.channels), np.float16)
            self._mapped = np.memmap(no_pipe(path), np.float16, "c", shape=(rows, self.channels)) if rows else empty
        return self._mapped

    def _forget_what_changed(self) -> None:
        """Drop cached data of an index that another process has changed since."""
        version = self._database.execute("pragma data_version").fetchone()[0]
        if version != self._version:
            self._live, self._mapped, self._version = None, None, version

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Changes that are written together; what was cached before is dropped."""
        self._database.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._database.execute("rollback")
            raise
        self._database.execute("commit")
        self._live, self._mapped = None, None


def _piece(entry: tuple[Any, ...] | None) -> IndexedPiece:
    """The piece in a row of the database."""
    path, start, stop, thumbnail = entry or (None,) * 4
    image = start is None and stop is None
    span = isinstance(start, float) and isinstance(stop, float) and 0 <= start <= stop < float("inf")
    if not (isinstance(path, str) and (image or span)):
        raise sqlite3.DatabaseError("a piece has no file, or no time in it")
    return IndexedPiece(path=path, start_s=start, stop_s=stop, thumbnail=thumbnail if isinstance(thumbnail, bytes) else None)
