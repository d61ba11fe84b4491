"""Doubtful places of tracks: where a person should look first, judged from the tracks alone.

    likely wrong                    an error above 8 pixels of 256 is predicted (`Tracks.chance_wrong`); half of the frames that
                                    are expected wrong lie on either side of the place, which a click there may repair
    low confidence                  where none is predicted: the point counts as visible, but the tracker is hardly sure
    jump                            it moves much farther from one frame to the next than it and the others usually do
    forward and backward disagree   tracked back from where it was last visible, it does not return to where it was; the
                                    place is the last frame on which the two paths are apart (Kalal et al. 2010)
    does not come back              from here on it counts as hidden, though it was last visible inside the image

Frames that a person has checked are left out.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tapetum.core.errors import BadInput
from tapetum.types import Tracks

UNSURE = 0.75
"""Confidence below which the place of a visible point is doubtful; a point counts as visible from 0.5 on."""
APART = 0.03
"""Share of the image's shorter side from which on the paths forward and backward disagree."""
JUMP = 0.06
"""Share of the image's shorter side by which a point departs from its motion where it jumps."""
_WORST = 1 / 3
"""Share of the image's shorter side at which jumps and disagreements have the score 1."""
EDGE = 0.05
"""Share of the image's shorter side within which of a border a point may have left the image."""
LIKELY, GAP = 0.25, 2
"""Chance of being wrong from which on a frame belongs to a span, and frames below it that do not end one."""
_HALF = 3.0
"""Frames that are expected wrong in a stretch whose score is a half."""
_RUNS = 3
"""Places of low confidence, or likely wrong, that are listed of a point, the most doubtful."""


class Place(NamedTuple):
    """A doubtful place."""

    point: int
    frame: int
    """Counted among the frames of the tracks."""
    reason: str
    score: float
    """0..1, 1 the most doubtful."""

    @property
    def expected_wrong(self) -> float:
        """Compute the number of frames that are expected wrong where a point is likely wrong; 0 for other reasons."""
        return _HALF * self.score / (1 - min(self.score, 0.9999)) if self.reason == "likely wrong" else 0.0


def find_doubtful_places(
    tracks: Tracks,
    size: tuple[int, int] | None = None,
    backward: Float[np.ndarray, "n t"] | None = None,
    looked_at: Bool[np.ndarray, "n t"] | None = None,
) -> list[Place]:
    """List the doubtful places of all points, the most doubtful first.

    `size` is width and height of the video in pixels, by default the extent of the visible positions; `backward` the distance
    of the path tracked back, in pixels, NaN where unknown; `looked_at` are frames that a person has checked, besides clicks and
    queries.
    """
    if not tracks.points or not tracks.frames:
        return []
    shown = tracks.xy[tracks.visible].astype(float) if size is None else np.array([(0, 0), size], float)
    low, high = (shown.min(0), shown.max(0)) if len(shown) else (np.zeros(2), np.ones(2))
    shorter = max(float(min(high - low)), 1.0)
    inner = low + EDGE * shorter, high - EDGE * shorter
    apart = departures(tracks.xy) / shorter
    beyond = apart - np.median(apart, axis=0)  # of the camera's motion all points have a part
    clicked = np.zeros(tracks.visible.shape, bool) if tracks.clicked is None else tracks.clicked
    first = np.rint(tracks.queries[:, 0]).astype(int).clip(0, tracks.frames - 1)
    places = []
    for point, visible in enumerate(tracks.visible):
        clicks = np.union1d(np.flatnonzero(clicked[point]), first[point])
        unknown = np.ones(tracks.frames, bool) if looked_at is None else ~looked_at[point]
        unknown[clicks] = False
        open_to_doubt = visible & unknown
        if tracks.chance_wrong is None:
            hits = _unsure(tracks.confidence[point], open_to_doubt)
        else:
            hits = _likely_wrong(tracks.chance_wrong[point], open_to_doubt)
        hits += _jump(beyond[point], open_to_doubt, visible)
        hits += _lost(tracks.xy[point], visible, unknown, *inner)
        if backward is not None:
            hits += _parting(backward[point] / shorter, open_to_doubt, clicks)
        places += [Place(point, frame, reason, round(score, 4)) for frame, reason, score in hits]
    return sorted(places, key=lambda place: -place.score)


class Span(NamedTuple):
    """Frames in which a point may be wrong."""

    point: int
    first: int
    last: int
    error_px: float
    """Mean predicted error, in pixels of the video."""
    chance_wrong: float
    """Mean chance of an error above 8 pixels of 256."""
    left: float
    """Share of the visible places that is still expected wrong once this span and those before it are put right."""


def expected_share(tracks: Tracks) -> float | None:
    """Compute the share of visible places that is expected wrong; None for tracks without `chance_wrong`."""
    if tracks.chance_wrong is None:
        return None
    return float(tracks.chance_wrong[tracks.visible].sum(dtype=float) / max(tracks.visible.sum(), 1))


def find_doubtful_spans(tracks: Tracks, until: float = 0.0) -> list[Span]:
    """List the frames in which visible points are likely to be wrong, those with the most frames that are expected wrong first.

    A span is a run of chances of at least `LIKELY`, with gaps of up to `GAP` frames. The list ends where the share of visible
    places still expected wrong is below `until`. Raises BadInput for tracks without `chance_wrong`.
    """
    left = expected_share(tracks)
    if left is None or tracks.chance_wrong is None or tracks.error_px is None:
        raise BadInput("these tracks have no predicted errors; track them with tapir-nano, second pass and polish")
    numbers = np.arange(tracks.frames) if tracks.numbers is None else tracks.numbers
    spans = []
    for point, likely in enumerate(tracks.visible & (tracks.chance_wrong >= LIKELY)):
        for first, last in _runs(likely):
            error, chance = (each[point, first : last + 1] for each in (tracks.error_px, tracks.chance_wrong))
            means = round(float(error.mean()), 2), round(float(chance.mean()), 3)
            share = float(chance[tracks.visible[point, first : last + 1]].sum(dtype=float) / tracks.visible.sum())
            spans.append((share, Span(point, int(numbers[first]), int(numbers[last]), *means, 0.0)))
    listed = []
    for share, span in sorted(spans, key=lambda each: -each[0]):
        if left < until:
            break
        left = max(left - share, 0.0)
        listed.append(span._replace(left=round(left, 6)))
    return listed


def departures(xy: Float[np.ndarray, "n t 2"]) -> Float[np.ndarray, "n t"]:
    """Compute the distance of each position from the line through the two before it, in pixels; 0 for the first two frames.

    >>> departures(np.array([[[0.0, 0], [1, 0], [2, 0], [9, 0]]])).tolist()
    [[0.0, 0.0, 0.0, 6.0]]
    """
    out = np.zeros(xy.shape[:2])
    if xy.shape[1] > 2:
        out[:, 2:] = np.linalg.norm(xy[:, 2:].astype(np.float64) - 2 * xy[:, 1:-1] + xy[:, :-2], axis=-1)
    return out


def last_visible(tracks: Tracks, point: int, direction: int, width: int, height: int) -> int | None:
    """Find the frame farthest from the clicks of a point, after (1) or before (-1) all, where it is visible in the image."""
    xy = tracks.xy[point]
    inside = ((xy >= 0) & (xy <= (width, height))).all(axis=1) & tracks.visible[point]
    first, last = click_range(tracks, point)
    frames = np.flatnonzero(inside)
    beyond = frames[frames > last] if direction > 0 else frames[frames < first]
    return None if not len(beyond) else int(beyond[-1] if direction > 0 else beyond[0])


def click_range(tracks: Tracks, point: int) -> tuple[float, float]:
    """Find the first and the last frame in which a person clicked the point; without clicks, that of its query."""
    if tracks.clicked is not None and len(frames := np.flatnonzero(tracks.clicked[point])):
        return float(frames[0]), float(frames[-1])
    query = float(tracks.queries[point, 0])
    return query, query


_Hit = tuple[int, str, float]


def _unsure(confidence: Float[np.ndarray, " t"], open_to_doubt: Bool[np.ndarray, " t"]) -> list[_Hit]:
    """The least confident frame of each doubtful stretch; the score is 1 where the point only just counts as visible."""
    doubtful = open_to_doubt & (confidence < UNSURE)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], doubtful, [False]]).astype(np.int8)))
    lowest = [int(first + confidence[first:end].argmin()) for first, end in edges.reshape(-1, 2).tolist()]
    scores = [float(np.clip((UNSURE - confidence[frame]) / (UNSURE - 0.5), 0, 1)) for frame in lowest]
    hits = [(frame, "low confidence", score) for frame, score in zip(lowest, scores, strict=True)]
    return sorted(hits, key=lambda hit: -hit[2])[:_RUNS]


def _likely_wrong(chance: Float[np.ndarray, " t"], open_to_doubt: Bool[np.ndarray, " t"]) -> list[_Hit]:
    """The middle of each stretch that is likely wrong; the score grows with the number of frames that are expected wrong."""
    hits = []
    for first, last in _runs(open_to_doubt & (chance >= LIKELY)):
        expected = np.where(open_to_doubt, chance, 0.0)[first : last + 1].cumsum()
        middle = first + int(expected.searchsorted(expected[-1] / 2))
        hits.append((middle, "likely wrong", float(expected[-1] / (expected[-1] + _HALF))))
    return sorted(hits, key=lambda hit: -hit[2])[:_RUNS]


def _runs(likely: Bool[np.ndarray, " t"]) -> list[tuple[int, int]]:
    """The first and last frame of each run, with gaps of up to `GAP` frames."""
    frames = np.flatnonzero(likely)
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > GAP + 1) + 1) if len(frames) else []
    return [(int(run[0]), int(run[-1])) for run in runs]


def _jump(
    beyond: Float[np.ndarray, " t"], open_to_doubt: Bool[np.ndarray, " t"], visible: Bool[np.ndarray, " t"]
) -> list[_Hit]:
    both = open_to_doubt & visible & np.concatenate([[False], visible[:-1]])
    if not both.any():
        return []
    values = np.where(both, beyond, 0.0)
    frame = int(values.argmax())
    return [(frame, "jump", min(float(values[frame]) / _WORST, 1.0))] if values[frame] > JUMP else []


def _parting(apart: Float[np.ndarray, " t"], open_to_doubt: Bool[np.ndarray, " t"], clicks: np.ndarray) -> list[_Hit]:
    """Where the two paths diverge, after the last click and before the first one."""
    hits, number = [], np.arange(len(apart))
    far = open_to_doubt & (np.nan_to_num(apart) > APART)
    for side, pick in ((number > clicks.max(), -1), (number < clicks.min(), 0)):
        frames = np.flatnonzero(far & side)
        if len(frames):
            score = min(float(np.nanmax(apart[side])) / _WORST, 1.0)
            hits.append((int(frames[pick]), "forward and backward disagree", score))
    return hits


def _lost(
    xy: Float[np.ndarray, "t 2"],
    visible: Bool[np.ndarray, " t"],
    unknown: Bool[np.ndarray, " t"],
    low: Float[np.ndarray, "2"],
    high: Float[np.ndarray, "2"],
) -> list[_Hit]:
    """The frame after the last visible one, unless it was checked or near a border; the score grows with the length of the
    rest."""
    frames = np.flatnonzero(visible)
    last = len(visible) - 1 if not len(frames) else int(frames[-1])
    rest = unknown[last + 1 :]
    if not len(rest) or not rest.all() or (xy[last] < low).any() or (xy[last] > high).any():
        return []
    return [(last + 1, "does not come back", 0.5 * len(rest) / len(visible))]
