"""Approximate search among very many unit vectors with faiss: inverted lists of 8-bit codes (IVF-SQ8, inner product).

    FOLDER/vectors.faiss    the index as faiss writes it, of which only the codes are mapped and not read
                            mean float32 (channels) and second moments float32 (channels, channels) of the vectors
                            a line of JSON, padded to `_TRAILER` bytes

There are about 4 sqrt(n) lists. Those with the centroids nearest to a query are scanned, and the best candidates are compared
again in float32 with the vectors themselves, so a row may be missed, but no cosine is wrong. Mean and deviation of all cosines
follow from the moments: q . mean, and sqrt(q' moments q - (q . mean)^2).

The lists remain usable while the index changes a little: removed rows are skipped, and later rows are compared one by one. They
are out of date, and not used, when such rows exceed `_DRIFT` of all, or when rows in them were overwritten. That happens from
some row on to the end of the vector file, so a digest of some vectors, including the last, detects it.

Everything faiss parses has a checksum; damage to the codes costs recall, and nothing else. Imports no torch.
"""

import hashlib
import io
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, Int64

from tapetum.core.errors import BadInput, Remark, install_line
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, open_file, parse_json
from tapetum.desk.search.vector_search import Nearest, cosines_of

LIMIT = 1_000_000
"""Vectors above which search is approximate."""
LISTS = "vectors.faiss"
MOST = 1000
"""The largest number of rows to find that is searched for approximately."""
_DRIFT = 0.1
_STAMPED = 1024
"""Vectors of which the digest is."""
_FORMAT = "tapetum faiss 1"
_TRAILER = 1024
_BLOCK = 1 << 16
"""Rows that are encoded at a time."""
_SAMPLE, _SAMPLE_BYTES = 48, 1 << 30
"""Vectors a list of which the centroids are computed, and most bytes of all of them in float32."""
_PROBED, _LEAST_PROBED = 8, 32
"""One list in so many is scanned, and so many at least."""
_CANDIDATES = 4
"""Rows that are compared again for each that is wanted."""

Progress = Callable[[int, int], None]


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
        """Find approximately the rows with the most similar vectors, with their exact cosines.

        None if exact search should be used: there are at most `LIMIT` rows, more than `MOST` are requested, faiss is not
        installed, there are no usable lists (a `Remark` says why), or they have fewer rows than requested.

        Args:
            matrix: unit vectors.
            rows: the existing rows, ascending.
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
        """Build the lists if there are more than `LIMIT` rows and no usable lists; return a line that says so, or None.

        Args:
            matrix: unit vectors.
            rows: the existing rows, ascending.
            progress: called with the numbers of encoded and of all rows.
        """
        if len(rows) <= LIMIT:
            return None
        many = f"the index has more than {LIMIT:,} vectors"
        if not _installed():
            return f"{many}; approximate search is faster: {install_line('index')}; then index again"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Remark)  # what cannot be used is built again
            if self._read(matrix, rows) is not None:
                return None
        begun, self._of = time.monotonic(), None
        try:
            build_lists(self.path, matrix, rows, _stamp(matrix, int(rows[-1]) + 1, self.model), progress)
        except BadInput as error:
            return f"{many}, and approximate search could not be prepared: {error}"
        return f"{many}: built lists for approximate search in {time.monotonic() - begun:.0f} s; search --exact looks at all"

    def _read(self, matrix: np.ndarray, rows: np.ndarray) -> "InvertedLists | None":
        if not self.path.exists():
            return None
        try:
            lists = InvertedLists(self.path, matrix.shape[1])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
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


def build_lists(
    path: Path,
    matrix: Float16[np.ndarray, "m c"],
    rows: Int64[np.ndarray, " n"],
    stamp: str,
    progress: Progress | None = None,
) -> None:
    """Build the lists of the rows of a matrix in memory, and write them atomically.

    Args:
        path: of the file.
        matrix: unit vectors.
        rows: the rows in the lists, ascending.
        stamp: what the file records about its source.
        progress: called with the amount done and the total.

    Raises:
        BadInput: the file cannot be written.
    """
    import faiss

    rng, channels, count = np.random.default_rng(0), matrix.shape[1], max(1, min(round(4 * len(rows) ** 0.5), len(rows)))
    many = min(len(rows), max(count, min(_SAMPLE * count, _SAMPLE_BYTES // (4 * channels))))
    quantizer, kind = faiss.IndexFlatIP(channels), faiss.ScalarQuantizer.QT_8bit
    index: Any = faiss.IndexIVFScalarQuantizer(quantizer, channels, count, kind, faiss.METRIC_INNER_PRODUCT, False)
    index.cp.seed, index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, 1, _SAMPLE
    index.train(matrix[np.sort(rng.choice(rows, many, replace=False))].astype(np.float32))
    mean, moments = np.zeros(channels), np.zeros((channels, channels))
    for first in range(0, len(rows), _BLOCK):
        block = matrix[rows[first : first + _BLOCK]].astype(np.float32)
        index.add_with_ids(block, rows[first : first + _BLOCK])
        mean += block.sum(0, dtype=np.float64) / len(rows)
        moments += block.T @ block / len(rows)
        if progress is not None:
            progress(first + len(block), len(rows))
    with whole_file(path, own=True) as temporary:
        try:
            faiss.write_index(index, str(temporary))
        except RuntimeError as error:
            raise OSError(None, str(error).splitlines()[0]) from error
        with open_file(temporary) as file:
            head = file.read(temporary.stat().st_size - len(rows) * (channels + 8))
        statistics = mean.astype(np.float32).tobytes() + moments.astype(np.float32).tobytes()
        about = {"format": _FORMAT, "channels": channels, "rows": len(rows), "covered": int(rows[-1]) + 1, "stamp": stamp}
        about |= {"head": len(head), "digest": hashlib.sha256(head + statistics).hexdigest()}
        with temporary.open("ab") as file:
            file.write(statistics + json.dumps(about).encode().ljust(_TRAILER))


class InvertedLists:
    """The memory-mapped lists of a file. Raises OSError, ValueError, KeyError, TypeError or RuntimeError for other files."""

    def __init__(self, path: Path, channels: int):
        import faiss

        with open_file(path) as file:
            length = file.seek(0, io.SEEK_END) - _TRAILER
            file.seek(max(length, 0))
            about = parse_json(file.read())
            if about["format"] != _FORMAT or about["channels"] != channels:
                raise ValueError("it has another format or number of channels")
            self.covered, self.rows, self.stamp, head = (about[k] for k in ("covered", "rows", "stamp", "head"))
            codes, statistics = self.rows * (channels + 8), 4 * (channels + channels**2)
            if not 0 < self.rows <= self.covered or head + codes + statistics != length:
                raise ValueError("its size is wrong")
            file.seek(0)
            parsed = file.read(head)
            file.seek(head + codes)
            numbers = file.read(statistics)
        if hashlib.sha256(parsed + numbers).hexdigest() != about["digest"]:
            raise ValueError("its checksum is wrong")
        self.mean, moments = np.split(np.frombuffer(numbers, np.float32), [channels])
        self.moments = moments.reshape(channels, channels)
        self._index: Any = faiss.read_index(no_pipe(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)

    def select(self, rows: Int64[np.ndarray, " n"]) -> None:
        """Set which rows exist, ascending: others are not found, and those from `covered` on are in no list."""
        self._below = int(np.searchsorted(rows, self.covered))
        there = np.zeros(self.covered, bool)
        there[rows[: self._below]] = True
        self._there, self._later = np.packbits(there, bitorder="little"), rows[self._below :]

    def nearest(self, matrix: Float16[np.ndarray, "m c"], queries: Float32[np.ndarray, "q c"], count: int) -> Nearest | None:
        """Find approximately the most similar rows; None if the scanned lists have fewer than `count`.

        Mean and deviation refer to the rows that the lists were built from.
        """
        import faiss

        lists = self._index.nlist
        probed = min(lists, max(_LEAST_PROBED, lists // _PROBED))
        chosen: Any = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(self._there), nprobe=probed)  # pyright: ignore[reportCallIssue]
        candidates_of = self._index.search(queries, min(_CANDIDATES * count, self._below), params=chosen)[1]
        best_rows, best = [], []
        for query, candidates in zip(queries, candidates_of, strict=True):
            candidates = np.union1d(candidates[candidates >= 0], self._later)  # ascending: of equal ones the earlier first
            if len(candidates) < min(count, self._below + len(self._later)):
                return None
            cosines = cosines_of(matrix, candidates, query[None])[0]
            order = np.argsort(-cosines, kind="stable")[:count]
            best_rows.append(candidates[order])
            best.append(cosines[order])
        mean = queries @ self.mean
        square = ((queries @ self.moments) * queries).sum(1)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        return Nearest(rows=np.stack(best_rows), cosines=np.stack(best), mean=mean, deviation=deviation)


def _stamp(matrix: np.ndarray, covered: int, model: str) -> str:
    """Compute a digest of some of the first `covered` vectors, including the last."""
    some = matrix[np.linspace(0, covered - 1, min(covered, _STAMPED)).astype(np.int64)]
    return hashlib.sha256(json.dumps([model, covered]).encode() + some.tobytes()).hexdigest()


def _installed() -> bool:
    """Check whether faiss is installed and can map lists, which it cannot on Windows."""
    try:
        import faiss
    except ImportError:
        return False
    return hasattr(faiss, "OnDiskInvertedLists")


def _remark(text: str) -> None:
    warnings.warn(text, Remark, stacklevel=2)
