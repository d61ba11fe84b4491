"""Inverted lists of 8-bit codes (IVF-SQ8, inner product) of unit vectors, scanned by faiss in a mapped file. Imports no torch.

    a line of JSON, padded to `_HEADER` bytes
    head: sizes int64 (lists), centroids float32 (lists, channels), range of the codes float32 (2 channels), mean float32
          (channels) and second moments float32 (channels, channels) of the vectors
    each list: its codes uint8, then its rows int64, both padded with zeros to a multiple of 8 entries

There are about 4 sqrt(n) lists. The lists whose centroids are nearest to a query are scanned, and the best candidates are
compared again in float32 with the vectors themselves, so that a row may be missed, but no cosine is wrong. Mean and deviation
of all cosines follow from the moments: q . mean, and sqrt(q' moments q - (q . mean)^2).

faiss parses no file here: sizes are checked before it maps the lists, and the head has a checksum. Damage of the codes behind
it can cost recall, and nothing else.
"""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, Int64

from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, open_file, parse_json
from tapetum.transfer.vector_search import Nearest, cosines_of

_FORMAT = "tapetum inverted lists 1"
_HEADER, _ALIGNED = 1024, 8
_BLOCK = 1 << 16
"""Rows that are encoded at a time."""
_SAMPLE, _SAMPLE_BYTES = 48, 1 << 30
"""Vectors a list of which the centroids are computed, and most bytes of all of them in float32."""
_PROBED, _LEAST_PROBED = 8, 32
"""One list in so many is scanned, and so many at least."""
_CANDIDATES = 4
"""Rows that are compared again for each that is wanted."""

Progress = Callable[[int, int], None]


def build_lists(
    path: Path,
    matrix: Float16[np.ndarray, "m c"],
    rows: Int64[np.ndarray, " n"],
    stamp: str,
    progress: Progress | None = None,
) -> None:
    """Build the lists of the rows of a matrix, and write them, whole or not at all.

    Vectors are read in blocks: in memory are a sample of them, and 4 bytes a row.

    Args:
        path: of the file.
        matrix: unit vectors.
        rows: which rows the lists have, ascending.
        stamp: what the file says of what it was built of.
        progress: is told how much is done, and of how much.

    Raises:
        BadInput: the file cannot be written.
    """
    faiss = _faiss()
    rng, channels, count = np.random.default_rng(0), matrix.shape[1], max(1, min(round(4 * len(rows) ** 0.5), len(rows)))
    many = min(len(rows), max(count, min(_SAMPLE * count, _SAMPLE_BYTES // (4 * channels))))
    sample = matrix[np.sort(rng.choice(rows, many, replace=False))].astype(np.float32)
    quantizer, index = _empty_index(channels, count)
    index.cp.seed, index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, 1, _SAMPLE
    index.train(sample)
    del sample
    belongs, mean, moments = np.empty(len(rows), np.int32), np.zeros(channels), np.zeros((channels, channels))
    for first in range(0, len(rows), _BLOCK):
        block = matrix[rows[first : first + _BLOCK]].astype(np.float32)
        belongs[first : first + len(block)] = quantizer.search(block, 1)[1][:, 0]
        mean += block.sum(0, dtype=np.float64) / len(rows)
        moments += block.T @ block / len(rows)
        if progress is not None:
            progress(first + len(block), 2 * len(rows))
    sizes = np.bincount(belongs, minlength=count).astype(np.int64)
    head = b"".join(
        np.ascontiguousarray(array, kind).tobytes()
        for array, kind in (
            (sizes, np.int64),
            (quantizer.reconstruct_n(0, count), np.float32),
            (faiss.vector_to_array(index.sq.trained), np.float32),
            (mean, np.float32),
            (moments, np.float32),
        )
    )
    covered = int(rows[-1]) + 1
    about = {"format": _FORMAT, "channels": channels, "lists": count, "rows": len(rows), "covered": covered}
    about |= {"stamp": stamp, "head": hashlib.sha256(head).hexdigest()}
    offsets, written = _offsets(sizes, _HEADER + len(head), channels), np.zeros(count, np.int64)
    with whole_file(path, own=True) as temporary, open(temporary, "wb") as file:
        file.write(json.dumps(about).encode().ljust(_HEADER) + head)
        for first in range(0, len(rows), _BLOCK):
            order = first + np.argsort(belongs[first : first + _BLOCK], kind="stable")
            codes = index.sq.compute_codes(matrix[rows[order]].astype(np.float32))
            there, begins = np.unique(belongs[order], return_index=True)
            for one, begin, end in zip(there.tolist(), begins, [*begins[1:], len(order)], strict=True):
                file.seek(int(offsets[one] + written[one] * channels))
                file.write(codes[begin:end].tobytes())
                file.seek(int(offsets[one] + _aligned(sizes[one]) * channels + 8 * written[one]))
                file.write(rows[order[begin:end]].tobytes())
                written[one] += end - begin
            if progress is not None:
                progress(len(rows) + first + len(order), 2 * len(rows))
        file.truncate(int(offsets[-1]))


class InvertedLists:
    """The lists of a file, mapped. Raises OSError, ValueError, KeyError or TypeError for what is no such file."""

    def __init__(self, path: Path, channels: int):
        faiss = _faiss()
        with open_file(path) as file:
            about = parse_json(file.read(_HEADER))
            if about["format"] != _FORMAT or about["channels"] != channels:
                raise ValueError("it has another format or number of channels")
            self.covered, self.rows, self.stamp, self.count = (about[k] for k in ("covered", "rows", "stamp", "lists"))
            counts = 2 * self.count, self.count * channels, 2 * channels, channels, channels**2  # in units of 4 bytes
            length = file.seek(0, io.SEEK_END)
            if not 0 < self.count <= self.rows <= self.covered or 4 * sum(counts) > length - _HEADER:
                raise ValueError("it is cut off")
            file.seek(_HEADER)
            head = file.read(4 * sum(counts))
        if hashlib.sha256(head).hexdigest() != about["head"]:
            raise ValueError("its checksum is wrong")
        parts = np.split(np.frombuffer(head, np.float32), np.cumsum(counts)[:-1])
        sizes, self.mean, self.moments = parts[0].view(np.int64), parts[3], parts[4].reshape(channels, channels)
        offsets = _offsets(sizes, _HEADER + len(head), channels)
        if (sizes < 0).any() or (sizes > self.rows).any() or sizes.sum() != self.rows or offsets[-1] != length:
            raise ValueError("its size is wrong")
        self._quantizer, self._index = _empty_index(channels, self.count)
        self._quantizer.add(parts[1].reshape(self.count, channels))
        faiss.copy_array_to_vector(parts[2], self._index.sq.trained)
        self._inverted = _mapped_lists(no_pipe(path), sizes, offsets, channels)
        self._index.replace_invlists(self._inverted, False)
        self._index.ntotal, self._index.is_trained = self.rows, True

    def select(self, rows: Int64[np.ndarray, " n"]) -> None:
        """Set which rows are there, ascending: others are not found, and those from `covered` on are in no list."""
        self._below = int(np.searchsorted(rows, self.covered))
        there = np.zeros(self.covered, bool)
        there[rows[: self._below]] = True
        self._there, self._later = np.packbits(there, bitorder="little"), rows[self._below :]

    def nearest(self, matrix: Float16[np.ndarray, "m c"], queries: Float32[np.ndarray, "q c"], count: int) -> Nearest | None:
        """Find about the rows that are most alike; None where the lists that are scanned have fewer than `count`.

        Mean and deviation are those of the rows that the lists were built of.
        """
        faiss = _faiss()
        probed = min(self.count, max(_LEAST_PROBED, self.count // _PROBED))
        chosen = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(self._there), nprobe=probed)
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


def _empty_index(channels: int, count: int) -> tuple[Any, Any]:
    """The quantizer, which holds the centroids, and the index, which does not keep it alive."""
    faiss = _faiss()
    quantizer, kind = faiss.IndexFlatIP(channels), faiss.ScalarQuantizer.QT_8bit
    return quantizer, faiss.IndexIVFScalarQuantizer(quantizer, channels, count, kind, faiss.METRIC_INNER_PRODUCT, False)


def _mapped_lists(name: str, sizes: np.ndarray, offsets: np.ndarray, channels: int) -> Any:
    faiss = _faiss()
    inverted = faiss.OnDiskInvertedLists()
    inverted.nlist, inverted.code_size, inverted.filename = len(sizes), channels, name
    inverted.read_only, inverted.totsize = True, int(offsets[-1])
    for size, offset in zip(sizes.tolist(), offsets[:-1].tolist(), strict=True):
        one = faiss.OnDiskOneList()
        one.size, one.capacity, one.offset = size, _aligned(size), offset
        inverted.lists.push_back(one)
    inverted.do_mmap()
    return inverted


def _offsets(sizes: np.ndarray, begins: int, channels: int) -> np.ndarray:
    """Where each list begins in the file, and where the last ends."""
    return begins + np.concatenate([[0], np.cumsum(_aligned(sizes) * (channels + 8))])


def _aligned(size: Any) -> Any:
    return -(-size // _ALIGNED) * _ALIGNED


def _faiss() -> Any:
    """faiss, of whose attributes its stubs do not have all."""
    import faiss

    return faiss
