"""AJ_RD, the re-detection score of TAPNext++ (arXiv 2604.10582): how well points are tracked after they reappear.

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

Differs from the public code, which was not available: written from its description and tested against an independent loop.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Num

from tapetum.tracks.metrics import THRESHOLDS

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
    """List (frame, hidden frames before it) of each reappearance of one track, in order.

    >>> reappearances(np.array([1, 0, 1, 1, 0, 1, 0], bool))
    [(1, 1), (4, 2)]
    >>> reappearances(np.array([1, 1, 1, 0, 1, 1, 0], bool), first_appearance=False)
    [(6, 2)]
    """
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

    >>> hidden = np.array([[0, 1, 1, 0, 0]], bool)
    >>> truth = np.zeros((1, 5, 2))
    >>> scores = redetection_metrics(hidden, truth, hidden, truth + [0.0, 2.0])
    >>> scores["aj_rd"], scores["aj_rd_1"], scores["aj_rd_4"]
    (0.8, 0.8, nan)
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
