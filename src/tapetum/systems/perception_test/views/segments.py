"""Actions and sounds of a page, laid out in time: a row for each class, what is true above what was predicted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tapetum.systems.perception_test.predicted import PredictedSegment
from tapetum.systems.perception_test.views.contents import Contents

MOST_LANES = 3
"""Of predicted segments of a class, one above the other; what overlaps more of a higher score is left to the table."""
MOST_CLASSES = 6
"""Classes that are only predicted, of the highest scores."""
SHORTEST = 0.006
"""Share of the time line that a segment takes at least."""


@dataclass(frozen=True, kw_only=True)
class SegmentBar:
    """A segment on the time line."""

    start_s: float
    end_s: float
    label: str
    predicted: bool
    more: str = ""
    """What else is known: a score, or that its cause is out of the image."""


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class, and its segments in lanes in which they do not overlap."""

    label: str
    true: Sequence[Sequence[SegmentBar]]
    predicted: Sequence[Sequence[SegmentBar]]
    undrawn: int
    """Predicted segments that have no lane."""


def segments(contents: Contents, task: str) -> list[SegmentBar]:
    """List actions or sounds, true ones and then predicted ones, these by their scores."""
    names, seconds = contents.labels.get(task, {}), contents.video.metadata.seconds
    true = contents.video.segments(task)
    rows = [(e.start_s, e.end_s, e.label, False, "not in the image" if e.visible is False else "") for e in true]
    best: list[PredictedSegment] = sorted(contents.predicted.get(task, ()), key=lambda each: -each.score)
    rows += [(e.start_s, e.end_s, names.get(e.label_id) or f"class {e.label_id}", True, f"score {e.score:.2f}") for e in best]

    def inside(time: float) -> float:
        return min(max(time, 0.0), seconds)

    return [
        SegmentBar(start_s=inside(start), end_s=inside(end), label=label, predicted=predicted, more=more)
        for start, end, label, predicted, more in rows
    ]


def class_rows(contents: Contents, task: str) -> tuple[list[ClassRow], int]:
    """Arrange actions or sounds by class, and count the predicted ones of classes that are left out.

    First come classes that there are, by their first segment, then those that are only predicted, by their best score.
    """
    seconds = contents.video.metadata.seconds
    groups: dict[str, tuple[list[SegmentBar], list[SegmentBar]]] = {}
    for bar in sorted(segments(contents, task), key=lambda bar: (bar.predicted, 0 if bar.predicted else bar.start_s)):
        groups.setdefault(bar.label, ([], []))[bar.predicted].append(bar)
    kept = [*(g for g in groups.items() if g[1][0]), *[g for g in groups.items() if not g[1][0]][:MOST_CLASSES]]
    rows = []
    for label, (true, predicted) in kept:
        drawn, undrawn = _lanes(predicted, seconds, MOST_LANES)
        rows.append(ClassRow(label=label, true=_lanes(true, seconds)[0], predicted=drawn, undrawn=undrawn))
    left = sum(len(predicted) for _, (_, predicted) in groups.items()) - sum(len(predicted) for _, (_, predicted) in kept)
    return rows, left


def _lanes(bars: Iterable[SegmentBar], seconds: float, most: int | None = None) -> tuple[list[list[SegmentBar]], int]:
    """Put bars into lanes, in their order, and count those that find no room in so many."""
    lanes: list[list[SegmentBar]] = []
    undrawn = 0

    def overlap(a: SegmentBar, b: SegmentBar) -> bool:
        room = SHORTEST * seconds
        return a.start_s < max(b.end_s, b.start_s + room) and b.start_s < max(a.end_s, a.start_s + room)

    for bar in bars:
        lane = next((lane for lane in lanes if not any(overlap(bar, other) for other in lane)), None)
        if lane is not None:
            lane.append(bar)
        elif most is None or len(lanes) < most:
            lanes.append([bar])
        else:
            undrawn += 1
    return [sorted(lane, key=lambda bar: bar.start_s) for lane in lanes], undrawn


def waveform(samples: np.ndarray, columns: int = 600) -> str:
    """Draw sound as the path of an SVG that is `columns` wide and 2 high, its middle at 0; empty for none."""
    if not len(samples):
        return ""
    edges = np.linspace(0, len(samples), min(columns, len(samples)) + 1).astype(int)
    high = np.maximum.reduceat(samples, edges[:-1])
    low = np.minimum.reduceat(samples, edges[:-1])
    loudest = max(float(np.abs(samples).max()), 1e-6)
    step = columns / len(high)
    upper = [f"{k * step:.1f},{-value / loudest:.3f}" for k, value in enumerate(high.tolist())]
    lower = [f"{k * step:.1f},{-value / loudest:.3f}" for k, value in enumerate(low.tolist())]
    return f"M{' '.join([*upper, *reversed(lower)])}Z"
