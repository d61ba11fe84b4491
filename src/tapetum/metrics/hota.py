"""HOTA, a metric of multi-object tracking (Luiten et al., arXiv 2009.07736), as TrackEval computes it.

    frame by frame   true and predicted ids that are there, and the similarity S of each pair (boxes: intersection over union)
    A(i, j)          how often ids i and j go together: sum of S / (row + column - S) over frames, as a Jaccard of two tracks
    matching         in each frame the one-to-one pairing of greatest sum of A * S; a pair counts at alpha where S >= alpha
    DetA             hits / (hits + missed + false)
    AssA             mean over hits of the Jaccard of their two tracks, counted in hits
    HOTA             sqrt(DetA * AssA)
    LocA             mean S over hits

Each is computed at alpha = 0.05, 0.10 .. 0.95; the single number is the mean over these. Frames without a track are
frames in which its id is not listed: they need no box.

Unusual, kept: LocA is 1 if nothing was hit, so an empty prediction has HOTA, DetA, AssA 0 and LocA 1; the same holds without
any true box, whatever was predicted.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.optimize import linear_sum_assignment

from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import paired_box_iou

ALPHAS = np.arange(0.05, 0.99, 0.05)
_EPS = np.finfo(np.float64).eps
Frame = tuple[Sequence[Hashable], Sequence[Hashable], Num[np.ndarray, "i j"]]
"""True ids, predicted ids, and the similarity 0..1 of each pair."""
Tracks = Mapping[Any, tuple[Sequence[int] | Int[np.ndarray, " f"], Num[np.ndarray, "f 4"]]]
"""By id: numbers of frames, and the box in each."""


@dataclass(frozen=True, kw_only=True)
class HotaScores:
    """Means over alpha, 0..1, and the numbers at each."""

    hota: float
    det_a: float
    ass_a: float
    loc_a: float
    by_alpha: Mapping[str, Float[np.ndarray, " 19"]]
    """hota, det_a, ass_a, loc_a, det_recall, det_precision, ass_recall, ass_precision at each of ALPHAS."""


def hota(frames: Sequence[Frame]) -> HotaScores:
    """Score the tracks of one video from its frames, in any order.

    Raises BadInput for a duplicate id in a frame, similarities of another shape, and those outside 0..1.

    >>> hota([(["a"], ["x"], [[0.8]])]).det_a.__round__(3)
    0.842
    """
    true = _numbers(frames, 0)
    predicted = _numbers(frames, 1)
    present_true, present_predicted = np.zeros((len(frames), len(true)), bool), np.zeros((len(frames), len(predicted)), bool)
    similar = np.zeros((len(frames), len(true), len(predicted)))
    for k, (rows, columns, values) in enumerate(frames):
        i, j = [true[key] for key in rows], [predicted[key] for key in columns]
        present_true[k, i] = present_predicted[k, j] = True
        checked = _check_similarity(k, values, len(i), len(j))
        if checked.size:
            similar[k, np.array(i)[:, None], j] = checked
    return _score_similarities(similar, present_true, present_predicted)


def box_hota(targets: Tracks, predictions: Tracks) -> HotaScores:
    """Score tracks of boxes: by id, the ascending numbers of their frames and the box x1, y1, x2, y2 in each.

    Frames count if a true track has a box in them. Raises BadInput for a track with different numbers of frames and boxes, or
    frames that don't ascend, and as `paired_box_iou`.
    """
    at = np.unique(
        np.concatenate([np.asarray(numbers, np.int64) for numbers, _ in targets.values()] or [np.zeros(0, np.int64)])
    )
    (true, present_true), (predicted, present_predicted) = (
        _align_tracks(tracks, at, what) for tracks, what in ((targets, "true"), (predictions, "predicted"))
    )
    shape = len(true), len(predicted), len(at), 4
    pairs = (np.broadcast_to(boxes, shape).reshape(-1, 4) for boxes in (true[:, None], predicted[None]))
    similar = paired_box_iou(*pairs).reshape(shape[:3]) * (present_true[:, None] & present_predicted[None])
    return _score_similarities(np.ascontiguousarray(similar.transpose(2, 0, 1)), present_true.T, present_predicted.T)


def _align_tracks(
    tracks: Tracks, at: Int[np.ndarray, " f"], what: str
) -> tuple[Float[np.ndarray, "i f 4"], Bool[np.ndarray, "i f"]]:
    """Align boxes of tracks to some frames: 0 if there is none, and a mask of existing boxes."""
    aligned, present = np.zeros((len(tracks), len(at), 4)), np.zeros((len(tracks), len(at)), bool)
    for row, (key, (numbers, boxes)) in enumerate(tracks.items()):
        frames, places = np.asarray(numbers, np.int64), np.asarray(boxes, np.float64)
        if frames.shape != (len(places),) or (frames[1:] <= frames[:-1]).any():
            raise BadInput(
                f"the {what} track {key!r} has {len(places)} boxes and frames {frames[:5].tolist()}; give each once, rising"
            )
        if np.array_equal(frames, at):
            aligned[row], present[row] = places, True
        elif len(at):
            place = np.searchsorted(at, frames)
            inside = at[np.minimum(place, len(at) - 1)] == frames
            aligned[row, place[inside]], present[row, place[inside]] = places[inside], True
    return aligned, present


def _score_similarities(
    similar: Float[np.ndarray, "f i j"], present_true: Bool[np.ndarray, "f i"], present_predicted: Bool[np.ndarray, "f j"]
) -> HotaScores:
    """Score similarities, which are 0 if one of the two is missing."""
    n, m = present_true.sum(0), present_predicted.sum(0)
    if not len(n) or not len(m):
        return _scores(np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS)), int(n.sum()), int(m.sum()), np.zeros((3, len(ALPHAS))))
    together = _association(similar, n, m)
    pair, matched_similarity = _match_ids(similar, together, present_true, present_predicted)
    hit = matched_similarity >= ALPHAS[:, None] - _EPS
    alpha, which = np.nonzero(hit)
    matches = np.bincount(alpha * together.size + pair[which], minlength=len(ALPHAS) * together.size)
    matches = matches.reshape(-1, *together.shape)
    hits = matches.sum((1, 2))
    pairs = n[:, None] + m
    squared = np.square(matches)
    shares = [np.maximum(1, pairs - matches), np.maximum(1, n[:, None]), np.maximum(1, m)]
    association = np.array([(squared / share).sum((1, 2)) / np.maximum(1, hits) for share in shares])
    return _scores(hits, hit @ matched_similarity, int(n.sum()), int(m.sum()), association)


def _association(similar: Float[np.ndarray, "f i j"], n: np.ndarray, m: np.ndarray) -> Float[np.ndarray, "i j"]:
    """Compute how often each true and each predicted id match, A(i, j) in 0..1."""
    whole = similar.sum(1, keepdims=True) + similar.sum(2, keepdims=True) - similar
    common = np.divide(similar, whole, out=np.zeros_like(similar), where=whole > _EPS).sum(0)
    return common / (n[:, None] + m - common)


def _match_ids(
    similar: Float[np.ndarray, "f i j"],
    together: Float[np.ndarray, "i j"],
    present_true: Bool[np.ndarray, "f i"],
    present_predicted: Bool[np.ndarray, "f j"],
) -> tuple[Int[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Match ids in every frame by the largest sum of A * S: a number for the two ids of each pair, and their similarity."""
    gain = together * similar
    whole = np.logical_and(present_true.all(1), present_predicted.all(1)).tolist()
    frame, row, column = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for k, values in enumerate(gain):
        if whole[k]:
            at, to = linear_sum_assignment(values, maximize=True)
        else:
            i, j = np.flatnonzero(present_true[k]), np.flatnonzero(present_predicted[k])
            at, to = linear_sum_assignment(values[i[:, None], j], maximize=True)
            at, to = i[at], j[to]
        frame.append(np.full(len(at), k))
        row.append(at)
        column.append(to)
    rows, columns = np.concatenate(row), np.concatenate(column)
    return rows * together.shape[1] + columns, similar[np.concatenate(frame), rows, columns]


def _scores(
    hits: Float[np.ndarray, " a"], overlap: Float[np.ndarray, " a"], n: int, m: int, association: Float[np.ndarray, "3 a"]
) -> HotaScores:
    det_a = hits / np.maximum(1, n + m - hits)
    ass_a, ass_recall, ass_precision = association
    by_alpha = {
        "hota": np.sqrt(det_a * ass_a),
        "det_a": det_a,
        "ass_a": ass_a,
        "loc_a": np.maximum(1e-10, overlap) / np.maximum(1e-10, hits),
        "det_recall": hits / max(1, n),
        "det_precision": hits / max(1, m),
        "ass_recall": ass_recall,
        "ass_precision": ass_precision,
    }
    means = {name: float(by_alpha[name].mean()) for name in ("hota", "det_a", "ass_a", "loc_a")}
    return HotaScores(**means, by_alpha=by_alpha)


def _numbers(frames: Sequence[Frame], side: int) -> dict[Hashable, int]:
    numbers: dict[Hashable, int] = {}
    for k, frame in enumerate(frames):
        ids = frame[side]
        if len(set(ids)) != len(ids):
            raise BadInput(f"an id comes twice in frame {k}: {list(ids)[:5]}; give each id once a frame")
        for key in ids:
            numbers.setdefault(key, len(numbers))
    return numbers


def _check_similarity(k: int, similarity: Num[np.ndarray, "i j"], i: int, j: int) -> Float[np.ndarray, "i j"]:
    checked = np.asarray(similarity, np.float64)
    checked = checked if checked.size or checked.ndim == 2 else np.zeros((i, j))
    if checked.shape != (i, j):
        raise BadInput(f"the similarities of frame {k} have shape {checked.shape}; with its ids give ({i}, {j})")
    if not ((checked >= 0) & (checked <= 1 + 1e-9)).all():
        raise BadInput(f"the similarities of frame {k} are not all in 0..1; NaN is none")
    return checked
