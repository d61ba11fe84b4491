"""Temporal localisation: segments of videos that have a class (ActivityNet; the Perception Test, arXiv
2305.13786, tasks 3 and 4).

    for each class and overlap: segments of all videos by falling score; each takes, of the true segments of its video and class
    that it overlaps by that or more, the free one it overlaps most: right; else wrong
    AP     the area under the greatest precision at a recall or beyond it, at every recall (all-point, not 11-point)
    mAP    the mean over classes that the truth has; a class without a prediction has 0

Unusual: a second prediction of a segment may take its second-best one. Segments of equal score keep their original
order, video by video.

Differs from the public notebooks: predictions of a class that is not in the ground truth are left out (there they fall into
another class), and equal scores have an order.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from tapetum.core.errors import BadInput
from tapetum.metrics.pairing import finite_array
from tapetum.types import Segments

OVERLAPS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Those of the Perception Test."""


@dataclass(frozen=True, kw_only=True)
class LocalisationScores:
    """Scores of localised segments, 0..1."""

    map: float
    map_at: Mapping[float, float]
    ap: Mapping[str, Mapping[float, float]]
    recall: Mapping[int, Mapping[float, float]]
    """Recall@kx by k and overlap: the share of true segments that any of the k * (number of true ones) best segments of their
    video and class overlaps, the mean over classes."""


def temporal_iou(a: Num[np.ndarray, "n 2"], b: Num[np.ndarray, "m 2"]) -> Float[np.ndarray, "n m"]:
    """Compute intersection over union of segments (start, end), float64 (n, m); 0 for two that have no length.

    Raises BadInput for wrong shapes, NaN, and a segment that ends before it starts.

    >>> temporal_iou([[0, 2]], [[1, 3], [5, 6]]).round(3).tolist()
    [[0.333, 0.0]]
    """
    a, b = _check_spans(a), _check_spans(b)
    return _overlap(a[:, None], b[None])


def all_point_ap(hits: Bool[np.ndarray, " n"], positives: int) -> float:
    """Compute the average precision of hits in the order of their scores, of `positives` true ones. 0 if nothing was found.

    Raises BadInput for fewer true ones than hits.

    >>> all_point_ap(np.array([True, False, True]), 2)
    0.8333333333333333
    """
    hits = np.asarray(hits, bool)
    if positives < 1 or hits.sum() > positives:
        raise BadInput(
            f"there are {int(hits.sum())} hits of {positives}; give one true segment or more, and no more hits than that"
        )
    if not len(hits):
        return 0.0
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[hits].sum() / positives)


def localisation_scores(
    predictions: Mapping[Hashable, Segments],
    targets: Mapping[Hashable, Segments],
    overlaps: Sequence[float] = OVERLAPS,
    recalls: Sequence[int] = (1, 5),
) -> LocalisationScores:
    """Score segments by video. A video without a prediction has no segments.

    Raises BadInput if the ground truth has no segment, for predictions of other videos, and for overlaps outside 0..1.
    """
    at = finite_array(overlaps, "overlaps", 1)
    if not len(at) or at.min() <= 0 or at.max() > 1:
        raise BadInput(f"overlaps are {list(overlaps)}; give one or more in 0..1, without 0")
    unknown = [video for video in predictions if video not in targets]
    if unknown:
        raise BadInput(f"segments are of video {unknown[0]!r}, which is not in the truth; score against the split they are of")
    names = sorted({label for segments in targets.values() for label in segments.labels})
    if not names:
        raise BadInput("the truth has no segment; give one or more")
    videos, classes = {video: k for k, video in enumerate(targets)}, {name: k for k, name in enumerate(names)}
    true, predicted = _flat(targets, videos, classes), _flat(predictions, videos, classes)
    pairs = _pairs(predicted, true, float(at.min()))
    hits = _match(pairs, at, len(predicted.kind), len(true.kind))
    positives = np.bincount(true.kind, minlength=len(names))
    by_class = [np.flatnonzero(predicted.kind == k) for k in range(len(names))]
    ap = np.array([[all_point_ap(row[mine], int(positives[k])) for row in hits] for k, mine in enumerate(by_class)])
    place = _relative_rank(predicted, true)
    recall = {int(k): _recall(pairs, place, int(k), true, at, positives) for k in recalls}
    keys = [float(t) for t in overlaps]
    return LocalisationScores(
        map=float(ap.mean()),
        map_at=dict(zip(keys, ap.mean(0).tolist(), strict=True)),
        ap={name: dict(zip(keys, ap[k].tolist(), strict=True)) for name, k in classes.items()},
        recall={k: dict(zip(keys, values.tolist(), strict=True)) for k, values in recall.items()},
    )


@dataclass(frozen=True)
class _Flat:
    """Segments of all videos, by falling score."""

    spans: np.ndarray
    group: np.ndarray
    """Number of video and class together."""
    kind: np.ndarray


def _flat(by_video: Mapping[Hashable, Segments], videos: Mapping[Hashable, int], classes: Mapping[str, int]) -> _Flat:
    parts = list(by_video.values())
    kind = np.array([classes.get(label, -1) for part in parts for label in part.labels], np.int64)
    video = np.repeat(np.array([videos[key] for key in by_video], np.int64), [len(part) for part in parts])
    if not len(kind):
        return _Flat(np.zeros((0, 2)), kind, kind)
    spans = np.stack([np.concatenate([p.start_s for p in parts]), np.concatenate([p.end_s for p in parts])], 1)
    order = np.argsort(-np.concatenate([np.asarray(p.scores) for p in parts]), kind="stable")
    order = order[kind[order] >= 0]
    return _Flat(spans[order], (video * len(classes) + kind)[order], kind[order])


@dataclass(frozen=True)
class _Pairs:
    """A predicted and a true segment of one group, for all that overlap enough to count."""

    predicted: np.ndarray
    true: np.ndarray
    overlap: np.ndarray


def _pairs(predicted: _Flat, true: _Flat, least: float) -> _Pairs:
    """Sort by descending score of the prediction, then by descending overlap."""
    by_group = np.argsort(true.group, kind="stable")
    sorted_groups = true.group[by_group]
    first = np.searchsorted(sorted_groups, predicted.group, "left")
    count = np.searchsorted(sorted_groups, predicted.group, "right") - first
    one = np.repeat(np.arange(len(predicted.group)), count)
    other = by_group[np.arange(len(one)) - np.repeat(np.cumsum(count) - count - first, count)]
    overlap = _overlap(predicted.spans[one], true.spans[other])
    near = np.flatnonzero(overlap >= least)
    near = near[np.lexsort((-overlap[near], one[near]))]
    return _Pairs(one[near], other[near], overlap[near])


def _match(pairs: _Pairs, at: Float[np.ndarray, " t"], n_predicted: int, n_true: int) -> Bool[np.ndarray, "t n"]:
    """Match predicted segments to true ones at each overlap: whether each is right."""
    hits = np.zeros((len(at), n_predicted), bool)
    for t, least in enumerate(at):
        some = pairs.overlap >= least
        matched, last_matched = bytearray(n_true), -1
        for a, b in zip(pairs.predicted[some].tolist(), pairs.true[some].tolist(), strict=True):
            if a != last_matched and not matched[b]:
                matched[b], last_matched = 1, a
                hits[t, a] = True
    return hits


def _relative_rank(predicted: _Flat, true: _Flat) -> Float[np.ndarray, " n"]:
    """The place of each predicted segment in its group by score, by the number of true segments there."""
    order = np.argsort(predicted.group, kind="stable")
    place = np.empty(len(order))
    place[order] = np.arange(len(order)) - np.searchsorted(predicted.group[order], predicted.group[order], "left")
    groups = np.sort(true.group)
    size = np.searchsorted(groups, predicted.group, "right") - np.searchsorted(groups, predicted.group, "left")
    return np.divide(place, size, out=np.full(len(order), np.inf), where=size > 0)


def _recall(
    pairs: _Pairs, place: np.ndarray, k: int, true: _Flat, at: Float[np.ndarray, " t"], positives: np.ndarray
) -> Float[np.ndarray, " t"]:
    recalled = np.zeros((len(at), len(true.group)), bool)
    for t, least in enumerate(at):
        recalled[t, pairs.true[(pairs.overlap >= least) & (place[pairs.predicted] < k)]] = True
    return (np.stack([np.bincount(true.kind[row], minlength=len(positives)) for row in recalled]) / positives).mean(1)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    common = np.maximum(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - common
    return np.divide(common, union, out=np.zeros(common.shape), where=union > 0)


def _check_spans(spans: Num[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    checked = finite_array(spans if np.size(spans) else np.zeros((0, 2)), "segments", 2)
    if checked.shape[1] != 2 or (checked[:, 0] > checked[:, 1]).any():
        raise BadInput(f"segments of shape {checked.shape} are not (n, 2) with start <= end; give seconds")
    return checked
