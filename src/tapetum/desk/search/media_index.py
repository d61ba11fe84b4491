"""The sources `tapetum search` reads: an index of `tapetum index`, or a table of `tapetum embed`, with the same interface."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tapetum.app.see.embedding_table import read_table
from tapetum.core.addresses import describe, is_address, join_address
from tapetum.core.errors import BadInput
from tapetum.desk.search.index import HIDDEN

if TYPE_CHECKING:
    import numpy as np

    from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex
    from tapetum.desk.search.vector_search import Nearest

    MediaIndex: TypeAlias = "VectorIndex | Table"


@dataclass
class Table:
    """A table of `tapetum embed`, in memory."""

    columns: "dict[str, np.ndarray]"

    def __post_init__(self) -> None:
        self.model = str(self.columns["model"])
        self.about = {"reference": str(self.columns["reference"])}
        self.channels = self.columns["embedding"].shape[1]

    def __len__(self) -> int:
        return len(self.columns["path"])

    @cached_property
    def _unit(self) -> "np.ndarray":
        import numpy as np

        vectors = self.columns["embedding"].astype(np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def rows(self) -> "np.ndarray":
        """List the numbers of all rows."""
        import numpy as np

        return np.arange(len(self))

    def nearest(self, queries: Any, count: int) -> "Nearest":
        """Find the most similar rows."""
        import numpy as np

        from tapetum.desk.search.vector_search import find_nearest

        queries = np.asarray(queries, np.float32)
        return find_nearest(self._unit, self.rows(), queries / np.linalg.norm(queries, axis=1, keepdims=True), count)

    def pieces(self, rows: Iterable[int]) -> "list[IndexedPiece]":
        """Read the pieces of rows; a table has no thumbnails."""
        from tapetum.desk.search.vector_index import IndexedPiece

        paths, start, stop = (self.columns[name] for name in ("path", "start_s", "stop_s"))
        return [IndexedPiece(path=str(paths[k]), start_s=_seconds(start[k]), stop_s=_seconds(stop[k])) for k in rows]

    def rows_of(self, path: str) -> "np.ndarray":
        """Find the rows of a file's pieces."""
        import numpy as np

        return np.flatnonzero(self.columns["path"] == path)

    def vectors(self, rows: "np.ndarray | None" = None) -> "np.ndarray":
        """Read unit vectors of rows, by default of all."""
        return self._unit if rows is None else self._unit[rows]


@contextmanager
def open_media_index(place: str | Path) -> "Iterator[MediaIndex]":
    """Open an index, a folder that contains one, or a table; one at an address is first copied into a cache.

    Raises BadInput for other files, an index that another process is changing, and damage whenever found.
    """
    from tapetum.desk.search.index_database import DATABASE, refusing_damage

    path = _fetched(place) if isinstance(place, str) and is_address(place) else Path(place)
    if not path.is_dir():
        yield _table(path)
        return
    from tapetum.desk.search.vector_index import VectorIndex

    inner = path / HIDDEN
    with refusing_damage(place), VectorIndex.open(inner if (inner / DATABASE).is_file() else path) as index:
        if not len(index):
            raise BadInput(f"the index {place} is empty; make it again: tapetum index FOLDER")
        yield index


def _fetched(address: str) -> Path:
    """Copy an index, or a table, at an address to this machine."""
    from tapetum.data.remote_folder import local_place
    from tapetum.desk.search.index_database import DATABASE

    if address.endswith((".npz", ".parquet")):
        return local_place(address)
    for folder in (join_address(address, HIDDEN), address.rstrip("/")):
        if describe(join_address(folder, DATABASE)) is not None:
            return local_place(folder)
    raise BadInput(f"there is no index at {address}; make one here with tapetum index FOLDER --out INDEX, and copy it there")


def _table(path: Path) -> Table:
    import numpy as np

    if not path.is_file() and path.suffix not in (".npz", ".parquet"):
        raise BadInput(
            f"there is no index {str(path)[:80]!r}; make one: tapetum index FOLDER, or a table: tapetum embed ... --out FILE"
        )
    columns = read_table(path)
    vectors = columns["embedding"]
    if vectors.ndim != 2 or not vectors.size or vectors.dtype.kind != "f" or not np.isfinite(vectors).all():
        raise BadInput(f"{path} has vectors of shape {vectors.shape}, or such as are not finite; embed the files again")
    if any(len(columns[name]) != len(vectors) for name in ("path", "start_s", "stop_s")):
        raise BadInput(f"{path} has columns of different lengths; embed the files again")
    return Table(columns)


def _seconds(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
