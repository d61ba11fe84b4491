"""Approximate search in an index of very many vectors: when there is any, and whether its lists are still good.

The lists (`tapetum.transfer.inverted_lists`) lie in FOLDER/vectors.ivf. They stay good while the index changes a little: rows
that are gone are skipped, and rows that came later are compared one by one. They are out of date, and not used, when such rows
are more than `_DRIFT` of all, or when rows that they have were written over. That happens only from some
row on to the end of the file of vectors; so a digest of some vectors, the last among them, shows it. Imports no torch.
"""

import hashlib
import json
import time
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Float32, Int64

from tapetum.core.errors import BadInput, Remark
from tapetum.transfer.inverted_lists import InvertedLists, Progress, build_lists
from tapetum.transfer.vector_search import Nearest

LIMIT = 1_000_000
"""Vectors above which search is approximate."""
LISTS = "vectors.ivf"
MOST = 1000
"""The largest number of rows to find that is searched for approximately."""
_DRIFT = 0.1
_STAMPED = 1024
"""Vectors of which the digest is."""


class ApproximateSearch:
    """Approximate search in the vectors of a folder; `matrix` and `rows` are those of `VectorIndex`."""

    def __init__(self, folder: Path, model: str):
        self.path, self.model = folder / LISTS, model
        self._lists: InvertedLists | None = None
        self._of: tuple[object, object] | None = None

    def nearest(
        self,
        matrix: Float16[np.ndarray, "m c"],
        rows: Int64[np.ndarray, " n"],
        queries: Float32[np.ndarray, "q c"],
        count: int,
    ) -> Nearest | None:
        """Find about the rows whose vectors are most alike, with their exact cosines.

        None where exact search is to be used: there are at most `LIMIT` rows, more than `MOST` are wanted, faiss is not
        installed, there are no lists or none that can be used (a `Remark` says why), or they have fewer rows than are wanted.

        Args:
            matrix: unit vectors.
            rows: which rows are there, ascending.
            queries: unit vectors.
            count: how many to find.
        """
        if len(rows) <= LIMIT or count > MOST or not _installed():
            return None
        if self._of is None or self._of[0] is not matrix or self._of[1] is not rows:
            self._lists, self._of = self._read(matrix, rows), (matrix, rows)
        return None if self._lists is None else self._lists.nearest(matrix, queries, count)

    def renew(
        self, matrix: Float16[np.ndarray, "m c"], rows: Int64[np.ndarray, " n"], progress: Progress | None = None
    ) -> str | None:
        """Build the lists where there are more than `LIMIT` rows and no lists that are good; a line of what was done, or None.

        Args:
            matrix: unit vectors.
            rows: which rows are there, ascending.
            progress: is told how many rows are encoded, and of how many.
        """
        if len(rows) <= LIMIT:
            return None
        many = f"the index has more than {LIMIT:,} vectors"
        if not _installed():
            return f"{many}; approximate search is faster: pip install 'tapetum[index]', and index again"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Remark)  # what cannot be used is made anew
            if self._read(matrix, rows) is not None:
                return None
        begun, self._of = time.monotonic(), None
        try:
            build_lists(self.path, matrix, rows, _stamp(matrix, int(rows[-1]) + 1, self.model), progress)
        except BadInput as error:
            return f"{many}, and approximate search could not be prepared: {error}"
        return f"{many}: built lists for approximate search in {time.monotonic() - begun:.0f} s; search --exact looks at all"

    def _read(self, matrix: np.ndarray, rows: np.ndarray) -> InvertedLists | None:
        if not self.path.exists():
            return None
        try:
            lists = InvertedLists(self.path, matrix.shape[1])
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            reason = str(error) or type(error).__name__
            _remark(f"{self.path} is damaged, or no file of tapetum ({reason}), and is not used; tapetum index makes it anew")
            return None
        below = int(np.searchsorted(rows, min(lists.covered, len(matrix))))
        changed = (lists.rows - below) + (len(rows) - below)  # gone, and later
        same = lists.covered <= len(matrix) and lists.stamp == _stamp(matrix, lists.covered, self.model)
        if not same or changed > _DRIFT * len(rows):
            _remark(f"{self.path} is older than the index, and is not used; tapetum index renews it")
            return None
        lists.select(rows)
        return lists


def _stamp(matrix: np.ndarray, covered: int, model: str) -> str:
    """A digest of some of the first `covered` vectors, the last among them."""
    some = matrix[np.linspace(0, covered - 1, min(covered, _STAMPED)).astype(np.int64)]
    return hashlib.sha256(json.dumps([model, covered]).encode() + some.tobytes()).hexdigest()


def _installed() -> bool:
    """Whether faiss is there, and maps lists; on Windows it does not."""
    try:
        import faiss
    except ImportError:
        return False
    return hasattr(faiss, "OnDiskInvertedLists")


def _remark(text: str) -> None:
    warnings.warn(text, Remark, stacklevel=2)
