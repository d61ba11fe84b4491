"""The places `tapetum search` reads: a folder of media with its index, the folder of an index, or the address of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tapetum.core.addresses import describe, is_address, join_address
from tapetum.core.errors import BadInput
from tapetum.desk.search.index import HIDDEN

if TYPE_CHECKING:
    from tapetum.desk.search.vector_index import VectorIndex


@contextmanager
def open_media_index(place: str | Path) -> "Iterator[VectorIndex]":
    """Open an index, or a folder that contains one; one at an address is first copied into a cache.

    Raises BadInput for other files, an index that another process is changing, and damage whenever found.
    """
    from tapetum.desk.search.index_database import DATABASE, refusing_damage
    from tapetum.desk.search.vector_index import VectorIndex

    path = _fetched(place) if isinstance(place, str) and is_address(place) else Path(place)
    if not path.is_dir():
        raise BadInput(f"there is no index {str(path)[:80]!r}; make one: tapetum index FOLDER")
    inner = path / HIDDEN
    with refusing_damage(place), VectorIndex.open(inner if (inner / DATABASE).is_file() else path) as index:
        if not len(index):
            raise BadInput(f"the index {place} is empty; make it again: tapetum index FOLDER")
        yield index


def _fetched(address: str) -> Path:
    """Copy an index at an address to this machine."""
    from tapetum.data.remote_folder import local_place
    from tapetum.desk.search.index_database import DATABASE

    for folder in (join_address(address, HIDDEN), address.rstrip("/")):
        if describe(join_address(folder, DATABASE)) is not None:
            return local_place(folder)
    raise BadInput(f"there is no index at {address}; make one here with tapetum index FOLDER --out INDEX, and copy it there")
