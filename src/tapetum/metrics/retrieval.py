"""Retrieval metrics, of the ranks of the right items in each query's order.

    recall at k           share of queries with a right item among the first k (R@1, R@5, R@10)
    median rank           of a query's best right item, from 1

Unusual: of equal scores, wrong items come before right ones, so a constant score earns what it deserves. Many public scripts
let the right item win.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Num

from tapetum.core.errors import BadInput
from tapetum.metrics.pairing import finite_array


@dataclass(frozen=True, kw_only=True)
class RankingScores:
    """Scores of retrieval."""

    recall: Mapping[int, float]
    """Share of queries, by the number k of first items."""
    median_rank: float
    """From 1; half a rank between two."""


def retrieval_scores(
    scores: Num[np.ndarray, "q n"], right: Bool[np.ndarray, "q n"] | None = None, at: Sequence[int] = (1, 5, 10)
) -> RankingScores:
    """Score similarities of q queries with n items, greater being closer.

    `right` marks the right items of each query; where None, item k is that of query k. A `k` beyond n looks at all.
    Raises BadInput for NaN, other shapes, a query without a right item, and a `k` below 1.

    >>> retrieval_scores([[0.9, 0.1], [0.8, 0.3]], at=(1, 2))
    RankingScores(recall={1: 0.5, 2: 1.0}, median_rank=1.5)
    """
    ranks, true = ranks_of_right(scores, right)
    best = np.where(true, ranks, ranks.shape[1] + 1).min(1)
    if any(k < 1 for k in at):
        raise BadInput(f"recall is asked at {min(at)}; give numbers of items from 1 on")
    return RankingScores(recall={int(k): float((best <= k).mean()) for k in at}, median_rank=float(np.median(best)))


def ranks_of_right(
    scores: Num[np.ndarray, "q n"], right: Bool[np.ndarray, "q n"] | None = None
) -> tuple[Int[np.ndarray, "q n"], Bool[np.ndarray, "q n"]]:
    """Compute the rank of each item for each query, from 1, and which are right. Raises BadInput as `retrieval_scores`."""
    scores = finite_array(scores, "the similarities", 2)
    q, n = scores.shape
    if right is None and q != n:
        raise BadInput(f"{q} queries and {n} items do not match one to one; say which are right by bool ({q}, {n})")
    true = np.eye(q, dtype=bool) if right is None else np.asarray(right)
    if true.shape != scores.shape or true.dtype != np.bool_:
        raise BadInput(f"right is {true.dtype} {true.shape}; with similarities of shape {scores.shape} give bool of that shape")
    if not q or not true.any(1).all():
        where = int(np.argmin(true.any(1))) if q else 0
        raise BadInput(f"query {where} has no right item; leave such queries out, and give one or more")
    order = np.lexsort((true, -scores), axis=1)
    ranks = np.empty((q, n), np.int64)
    np.put_along_axis(ranks, order, np.arange(1, n + 1)[None], axis=1)
    return ranks, true
