"""The metrics of TAP-Vid (arXiv 2211.03726, section 3.3), for one video and averaged over videos.

Every metric is computed over the *evaluated frames* E of all queries of a video together, at 256x256 pixels:

    mode first     E = the frames strictly after the query's frame
    mode strided   E = all frames except the query's own

    occlusion_accuracy        fraction of E where the predicted occlusion is the true one
    pts_within_d              fraction of the visible part of E closer than d pixels, regardless of the predicted occlusion
    jaccard_d                 hits / (visible + false alarms) in E: a hit is visible, predicted visible and closer
                              than d; a false alarm is predicted visible and not a hit
    average_pts_within_thresh, average_jaccard       means over d = 1, 2, 4, 8, 16

Unusual: a distance of exactly d is too far; a visible point that is predicted visible in the wrong place counts twice
against the Jaccard (once as visible, once as false alarm); a fractional query frame is rounded half to even.

Differs from the public reference: there, one video with 0/0 makes the mean over all videos NaN; here each mean leaves
out such videos and `mean_metrics` returns their number. Queries are (t, x, y) as everywhere in tapetum.

AJ_RD, the re-detection score of TAPNext++ (arXiv 2604.10582): how well points are tracked after they reappear.

A reappearance is a frame t in which a point is visible after being hidden for d frames, where d is longer than all its
earlier gaps. Its score is the Jaccard of that one track over the frames t, ..., T-1, as in TAP-Vid:

    hidden   v v v . . . v v . v v . . . . . v v         gaps of 3, 1 and 5 frames: the gap of 1 is shorter than one before,
                         ^ d = 3             ^ d = 5      so there are two reappearances

AJ_RD is the mean over reappearances with d >= d_min, then over the distances 1, 2, 4, 8, 16 pixels, then over d_min = 1, 4, 16,
64, 256, skipping those without any reappearance. Each video has its own score, as in TAP-Vid; a benchmark's score is the mean
over the videos with reappearing points.

Unusual, both in the public code and both options here: a distance of exactly the threshold counts as a hit (`closed`), while it
is too far in TAP-Vid; and the first appearance of a track is a reappearance after as many frames as it was hidden at the start
(`first_appearance`), which for queries on the first visible frame gives credit for the query itself.

Equal to 3e-8, its float32, to the public code on 40 random cases (google-deepmind/tapnet, tapnet/tapnextpp/metrics/aj_rd.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Num

from tapetum.core.errors import BadInput
from tapetum.types.checks import unmasked

Mode = Literal["first", "strided"]
"""How a benchmark chooses its queries, and with it the frames that count."""

THRESHOLDS = (1, 2, 4, 8, 16)
"""Distances in pixels of the 256x256 video."""

HEADLINES = ("average_jaccard", "average_pts_within_thresh", "occlusion_accuracy")


def tapvid_metrics(
    queries: Num[np.ndarray, "n 3"],
    gt_occluded: Bool[np.ndarray, "n t"],
    gt_tracks: Num[np.ndarray, "n t 2"],
    pred_occluded: Bool[np.ndarray, "n t"],
    pred_tracks: Num[np.ndarray, "n t 2"],
    mode: Mode,
) -> dict[str, float]:
    """Compute the metrics of one video, each 0..1, or NaN if there is nothing to count (0/0).

    Args:
        queries: frame, x, y of each query; only the frame is used.
        gt_occluded: ground truth, True where the point is not visible.
        gt_tracks: ground truth, x and y in raster pixels of the 256x256 video; ignored where occluded.
        pred_occluded: prediction, True where the tracker marks the point as not visible.
        pred_tracks: prediction, x and y in the same pixels.
        mode: "first" or "strided".

    Raises:
        BadInput: incompatible shapes, a query outside the video or an unknown mode.

    >>> truth = np.array([[[10.5, 10.5], [12.5, 10.5], [14.5, 10.5]]])
    >>> seen = np.zeros((1, 3), bool)
    >>> scores = tapvid_metrics(np.array([[0, 10.5, 10.5]]), seen, truth, seen, truth + [3.0, 0.0], "first")
    >>> scores["pts_within_2"], scores["pts_within_4"], scores["average_jaccard"]
    (0.0, 1.0, 0.6)
    """
    gt_occluded, pred_occluded = (np.asarray(unmasked(x, "occluded"), bool) for x in (gt_occluded, pred_occluded))
    gt_tracks, pred_tracks = (np.asarray(unmasked(x, "tracks")) for x in (gt_tracks, pred_tracks))
    queries = np.asarray(unmasked(queries, "queries"))
    if gt_occluded.ndim != 2:
        raise BadInput(f"gt_occluded has shape {gt_occluded.shape}; it must be (n, t)")
    n, t = gt_occluded.shape
    for name, array, expected in (
        ("queries", queries, (n, 3)),
        ("gt_tracks", gt_tracks, (n, t, 2)),
        ("pred_occluded", pred_occluded, (n, t)),
        ("pred_tracks", pred_tracks, (n, t, 2)),
    ):
        if array.shape != expected:
            raise BadInput(f"{name} has shape {array.shape}; with gt_occluded of shape {(n, t)} it must be {expected}")
    counted = evaluated_frames(queries[:, 0], gt_occluded.shape[1], mode)

    visible = ~gt_occluded & counted
    pred_visible = ~pred_occluded & counted
    squared_distance = np.square(pred_tracks - gt_tracks).sum(axis=-1)
    scores = {"occlusion_accuracy": _ratio((pred_occluded == gt_occluded) & counted, counted)}
    for threshold in THRESHOLDS:
        within = squared_distance < threshold**2
        hits = visible & pred_visible & within
        false_alarms = pred_visible & ~hits
        scores[f"pts_within_{threshold}"] = _ratio(visible & within, visible)
        scores[f"jaccard_{threshold}"] = _ratio(hits, visible, false_alarms)
    scores["average_pts_within_thresh"] = float(np.mean([scores[f"pts_within_{d}"] for d in THRESHOLDS]))
    scores["average_jaccard"] = float(np.mean([scores[f"jaccard_{d}"] for d in THRESHOLDS]))
    return scores


def evaluated_frames(query_frames: Num[np.ndarray, " n"], frames: int, mode: Mode) -> Bool[np.ndarray, "n t"]:
    """Mark the frames that count for each query.

    >>> evaluated_frames(np.array([1]), 4, "first").astype(int)
    array([[0, 0, 1, 1]])
    >>> evaluated_frames(np.array([1]), 4, "strided").astype(int)
    array([[1, 0, 1, 1]])
    """
    if mode not in get_args(Mode):
        raise BadInput(f"the query mode is {mode!r}; it must be 'first' or 'strided'")
    start = np.round(query_frames)
    outside = ~((start >= 0) & (start < frames))
    if outside.any():
        raise BadInput(f"a query is at frame {query_frames[outside][0]:g} of a video of {frames} frames (0..{frames - 1})")
    time = np.arange(frames)
    return time > start[:, None] if mode == "first" else time != start[:, None]


def mean_metrics(per_video: Iterable[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, int]]:
    """Average every metric over videos with equal weights; also count the videos left out (NaN) of each headline metric.

    A mean over nothing is NaN.
    """
    rows = list(per_video)
    means, dropped = {}, {}
    for name in rows[0] if rows else ():
        values = np.array([row[name] for row in rows])
        finite = values[~np.isnan(values)]
        means[name] = float(finite.mean()) if finite.size else float("nan")
        dropped[name] = values.size - finite.size
    return means, {name: dropped[name] for name in HEADLINES if name in dropped}


def _ratio(part: Bool[np.ndarray, "n t"], *wholes: Bool[np.ndarray, "n t"]) -> float:
    whole = sum(int(np.count_nonzero(mask)) for mask in wholes)
    return int(np.count_nonzero(part)) / whole if whole else float("nan")


GAPS = (1, 4, 16, 64, 256)
"""Least numbers of hidden frames, d_min."""


@dataclass(frozen=True, kw_only=True)
class RedetectionRules:
    """The two conventions of the public code, which may be left out."""

    closed: bool = True
    """A prediction at exactly the threshold's distance counts as near enough."""
    first_appearance: bool = True
    """The first visible frame of a track that is hidden at the start counts as a reappearance."""


PUBLISHED = RedetectionRules()
"""As the authors report it."""
STRICT = RedetectionRules(closed=False, first_appearance=False)
"""Distances as in TAP-Vid, and only points that were visible before."""


def reappearances(occluded: Bool[np.ndarray, " t"], first_appearance: bool = True) -> list[tuple[int, int]]:
    """List (frame, hidden frames before it) of each reappearance of one track, in order."""
    events, longest, gap, visible_before = [], 0, 0, False
    for frame, hidden in enumerate(np.asarray(occluded, bool).tolist()):
        if hidden:
            gap += 1
            continue
        counts = visible_before or first_appearance
        if counts and gap > longest:
            events.append((frame, gap))
            longest = gap
        gap, visible_before = 0, True
    return events


def redetection_metrics(
    gt_occluded: Bool[np.ndarray, "n t"],
    gt_tracks: Num[np.ndarray, "n t 2"],
    pred_occluded: Bool[np.ndarray, "n t"],
    pred_tracks: Num[np.ndarray, "n t 2"],
    rules: RedetectionRules = PUBLISHED,
) -> dict[str, float]:
    """Compute AJ_RD of one video, and `aj_rd_D` for each d_min D: 0..1, or NaN if no point reappears.

    Arguments are those of `tapvid_metrics`, in raster pixels of the 256x256 video.
    """
    gaps, scores = [], []
    distances = np.linalg.norm(np.asarray(pred_tracks, float) - np.asarray(gt_tracks, float), axis=-1)
    for row, occluded in enumerate(np.asarray(gt_occluded, bool)):
        for frame, gap in reappearances(occluded, rules.first_appearance):
            visible, shown = ~occluded[frame:], ~np.asarray(pred_occluded, bool)[row, frame:]
            away = distances[row, frame:]
            jaccards = []
            for threshold in THRESHOLDS:
                near = away <= threshold if rules.closed else away < threshold
                hits = visible & shown & near
                jaccards.append(hits.sum() / (visible.sum() + (shown & ~hits).sum()))
            gaps.append(gap)
            scores.append(float(np.mean(jaccards)))
    lengths, values = np.array(gaps), np.array(scores)
    by_gap = {
        f"aj_rd_{least}": float(values[lengths >= least].mean()) if (lengths >= least).any() else float("nan") for least in GAPS
    }
    known = [score for score in by_gap.values() if not np.isnan(score)]
    return {"aj_rd": float(np.mean(known)) if known else float("nan"), **by_gap}
