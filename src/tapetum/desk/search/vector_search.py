"""Exact search among unit vectors: nearest neighbours by cosine. Does not itself import torch.

Cosines are dot products in float32. A search scans all vectors: a first pass multiplies them as stored, in float16, with an
error of at most `_ERROR`; vectors that may be among the nearest despite that error are then multiplied again in float32. So the
result is that of float32, at the speed of reading memory, and only one cosine per vector is kept in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32, Int64

from tapetum.core.errors import BadInput

_BLOCK = 1 << 16
"""Number of rows multiplied at a time."""
_ERROR = 2e-3
"""Bound of the error of a cosine of the first pass: a query rounded to float16 (2^-11 at most), sums in float32, and the result
rounded to float16 (2^-12 at most) come to half of it."""
_MANY = 1 << 24
"""Matrix size from which torch multiplies it; smaller ones are faster than importing torch."""


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The nearest vectors of some queries, and how all others lie about them."""

    rows: Int64[np.ndarray, "q k"]
    """Rows of the matrix, most similar first; on ties the earlier row."""
    cosines: Float32[np.ndarray, "q k"]
    mean: Float32[np.ndarray, " q"]
    """Mean cosine of the query with all vectors."""
    deviation: Float32[np.ndarray, " q"]
    """Standard deviation of these cosines."""


def find_nearest(
    matrix: Float16[np.ndarray, "m c"], rows: Int64[np.ndarray, " n"], queries: Float32[np.ndarray, "q c"], count: int
) -> Nearest:
    """Find the rows with the most similar vectors, and their cosines.

    Args:
        matrix: unit vectors.
        rows: the rows to search, ascending.
        queries: unit vectors.
        count: how many to find; fewer if there are fewer.

    Raises BadInput if a vector is not finite, or longer than 1.

    >>> matrix = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float16)
    >>> found = find_nearest(matrix, np.arange(3), np.array([[0, 1]], np.float32), 2)
    >>> found.rows.tolist(), found.cosines.astype(float).round(2).tolist()
    ([[2, 1]], [[1.0, 0.8]])
    """
    each = [_nearest_of_one(matrix, rows, query, count) for query in queries]
    few = min(count, len(rows))
    return Nearest(
        rows=np.array([one[0] for one in each], np.int64).reshape(len(queries), few),
        cosines=np.array([one[1] for one in each], np.float32).reshape(len(queries), few),
        mean=np.array([one[2] for one in each], np.float32),
        deviation=np.array([one[3] for one in each], np.float32),
    )


def cosines_of(
    matrix: Float16[np.ndarray, "m c"], rows: Int64[np.ndarray, " n"], queries: Float32[np.ndarray, "q c"]
) -> Float32[np.ndarray, "q n"]:
    """Compute the cosines of queries with rows in float32, block by block."""
    parts = [queries @ _block_of(matrix, block).astype(np.float32).T for block in _blocks(rows)]
    return np.concatenate([np.zeros((len(queries), 0), np.float32), *parts], 1)


def _nearest_of_one(
    matrix: Float16[np.ndarray, "m c"], rows: Int64[np.ndarray, " n"], query: Float32[np.ndarray, " c"], count: int
) -> tuple[Int64[np.ndarray, " k"], Float32[np.ndarray, " k"], float, float]:
    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, np.float32), 0.0, 0.0
    about = _first_pass(matrix, rows, query)
    if not np.abs(about).max() < 1.1:
        raise BadInput("the index has vectors that are not finite, or not of length 1; make it again")
    chosen = rows
    if count < len(rows):
        chosen = rows[about >= _largest(about, count) - 2 * _ERROR]
    cosines = cosines_of(matrix, chosen, query[None])[0]
    order = np.argsort(-cosines, kind="stable")[:count]
    return chosen[order], cosines[order], float(about.mean()), float(about.std())


def _largest(values: Float32[np.ndarray, " n"], count: int) -> np.float32:
    """The `count`-th largest; most values are dropped by the `count`-th largest of the first block, a lower bound."""
    if count < _BLOCK < len(values):
        values = values[values >= _largest(values[:_BLOCK], count)]
    return np.partition(values, len(values) - count)[len(values) - count]


def _first_pass(
    matrix: Float16[np.ndarray, "m c"], rows: Int64[np.ndarray, " n"], query: Float32[np.ndarray, " c"]
) -> Float32[np.ndarray, " n"]:
    """Cosines with an error of at most `_ERROR`."""
    if len(rows) * len(query) < _MANY:
        return cosines_of(matrix, rows, query[None])[0]
    import torch

    half = torch.from_numpy(query).half()
    about = np.empty(len(rows), np.float32)
    with torch.inference_mode():
        for number, block in enumerate(_blocks(rows)):
            part = np.require(_block_of(matrix, block), requirements="W")  # torch warns of memory that it may not write to
            about[number * _BLOCK : number * _BLOCK + len(block)] = torch.mv(torch.from_numpy(part), half).float().numpy()
    return about


def _block_of(matrix: Float16[np.ndarray, "m c"], block: Int64[np.ndarray, " n"]) -> Float16[np.ndarray, "n c"]:
    """Rows of a matrix: a view if they are contiguous."""
    whole = len(block) and block[-1] - block[0] + 1 == len(block)
    return matrix[block[0] : block[-1] + 1] if whole else matrix[block]


def _blocks(rows: Int64[np.ndarray, " n"]) -> Iterator[Int64[np.ndarray, " m"]]:
    for first in range(0, len(rows), _BLOCK):
        yield rows[first : first + _BLOCK]
