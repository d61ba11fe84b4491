"""Where to look next: places in tracks that are most likely wrong, by what the tracks say of themselves.

    low confidence                  the point counts as visible, and the model is hardly sure
    forward and backward disagree   tracked back from where it was last visible, it does not come back to where it was (Kalal et
                                    al. 2010); the place is where both ways part, the last frame on which they are apart
    jump                            it moves much farther from one frame to the next than it and the others do

Frames with marks are left out: somebody has looked at them.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tapetum.app.web.tracks import Tracked

UNSURE = 0.75
"""Confidence below which a place where the point is seen is doubtful; it counts as seen from 0.5 on."""
APART = 0.03
"""Share of the image's shorter side from which on two ways disagree; at a third of that side the score is 1."""
JUMP = 0.06
"""Share of the image's shorter side by which a point departs from its motion where it jumps."""
_WORST = 1 / 3
_RUNS = 3
"""Places of low confidence that are listed of a point, the most doubtful."""
MOST = 200
"""Places that are listed."""


def find_places(tracked: Tracked) -> list[dict[str, Any]]:
    """List the doubtful places of all points that are tracked: point, frame, reason, score in 0..1; most doubtful first."""
    there = [row for row, stored in enumerate(tracked.stored) if stored is not None]
    if not there:
        return []
    whole, shorter = tracked.array()[there], min(tracked.item.width, tracked.item.height)
    apart = departures(whole[..., :2]) / shorter
    beyond = apart - np.median(apart, axis=0)  # of the camera's motion all points have a part
    places = []
    for row, track, jumps in zip(there, whole, beyond, strict=True):
        point, stored = tracked.points[row], tracked.stored[row]
        visible = track[:, 2] > 0.5
        open_to_doubt = visible.copy()
        open_to_doubt[[frame for frame in point.marks if frame < len(visible)]] = False
        hits = _unsure(track[:, 3], open_to_doubt) + _jump(jumps, open_to_doubt, visible)
        if stored is not None and stored.backward is not None:
            hits += _parting(stored.backward / shorter, open_to_doubt, [frame for frame, _, _ in point.clicks])
        places += [{"point": point.id, "frame": frame, "reason": why, "score": round(score, 4)} for frame, why, score in hits]
    places.sort(key=lambda place: -place["score"])
    return places[:MOST]


def departures(xy: Float[np.ndarray, "n t 2"]) -> Float[np.ndarray, "n t"]:
    """Compute how far each place is from the line that the two before it lead to; 0 for the first two frames.

    >>> departures(np.array([[[0.0, 0], [1, 0], [2, 0], [9, 0]]])).tolist()
    [[0.0, 0.0, 0.0, 6.0]]
    """
    out = np.zeros(xy.shape[:2])
    if xy.shape[1] > 2:
        out[:, 2:] = np.linalg.norm(xy[:, 2:] - 2 * xy[:, 1:-1] + xy[:, :-2], axis=-1)
    return out


_Place = tuple[int, str, float]
"""Frame, reason, score."""


def _unsure(confidence: Float[np.ndarray, " t"], open_to_doubt: Bool[np.ndarray, " t"]) -> list[_Place]:
    """The least sure frame of each stretch of doubtful ones, and its score: 1 where it only just counts as seen."""
    doubtful = open_to_doubt & (confidence < UNSURE)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], doubtful, [False]]).astype(np.int8)))
    lowest = [int(first + confidence[first:end].argmin()) for first, end in edges.reshape(-1, 2).tolist()]
    scores = [float(np.clip((UNSURE - confidence[frame]) / (UNSURE - 0.5), 0, 1)) for frame in lowest]
    hits = [(frame, "low confidence", score) for frame, score in zip(lowest, scores, strict=True)]
    return sorted(hits, key=lambda each: -each[2])[:_RUNS]


def _jump(
    beyond: Float[np.ndarray, " t"], open_to_doubt: Bool[np.ndarray, " t"], visible: Bool[np.ndarray, " t"]
) -> list[_Place]:
    both = open_to_doubt & visible & np.concatenate([[False], visible[:-1]])
    if not both.any():
        return []
    values = np.where(both, beyond, 0.0)
    frame = int(values.argmax())
    return [(frame, "jump", min(float(values[frame]) / _WORST, 1.0))] if values[frame] > JUMP else []


def _parting(apart: Float[np.ndarray, " t"], open_to_doubt: Bool[np.ndarray, " t"], clicked: list[int]) -> list[_Place]:
    """Where the two ways part, after the last click and before the first one."""
    hits, number = [], np.arange(len(apart))
    far = open_to_doubt & (np.nan_to_num(apart) > APART)
    for side, pick in ((number > max(clicked), -1), (number < min(clicked), 0)):
        frames = np.flatnonzero(far & side)
        if len(frames):
            score = min(float(np.nanmax(apart[side])) / _WORST, 1.0)
            hits.append((int(frames[pick]), "forward and backward disagree", score))
    return hits
