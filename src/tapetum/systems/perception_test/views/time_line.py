"""The time line of a page: actions and sounds, a row for each class, what is true above what was predicted; the waveform.

The same segments follow as a table.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tapetum.core.files import escaped
from tapetum.systems.perception_test.types import PredictedSegment
from tapetum.systems.perception_test.views.contents import Contents

MOST_LANES = 3
"""Of predicted segments of a class, one above the other; what overlaps more of a higher score is left to the table."""
MOST_CLASSES = 6
"""Classes that are only predicted, of the highest scores."""
SHORTEST = 0.006
"""Share of the time line that a segment takes at least."""
_TRUE, _PREDICTED, _LOW, _GAP = 18, 12, 9, 3
"""Pixels of bars, of many bars one above the other, and between them."""
_MANY = 4
_TASKS = {"action": "Actions", "sound": "Sounds"}
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
_WAVE = (
    "<svg class='wave' viewBox='0 -1 600 2' preserveAspectRatio='none' role='img' aria-label='Waveform'><path d='{}'/></svg>"
)
_MOST_ROWS = 1000
"""Of the table."""


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


def time_line(contents: Contents, sound: np.ndarray) -> Iterator[str]:
    """Write the time line, line by line."""
    meta = contents.video.metadata
    yield "<section class='wide' aria-label='Time line'><h2>Time line</h2><div id='rows'>"
    ticks = "".join(_ticks(meta.seconds))
    yield f"<div class='row axis'><div class='name'>seconds</div><div class='lanes'>{ticks}</div></div>"
    for task, text in _TASKS.items():
        rows, left = class_rows(contents, task)
        if rows:
            yield f"<h3 class='kind'>{text}{_counts(contents, task)}</h3>"
        for row in rows:
            yield _row(row, task, meta.seconds)
        if left:
            yield f"<p class='soft'>{left} more predicted, of classes that are not in the video; the table below has them.</p>"
    if path := waveform(sound):
        yield f"<div class='row'><div class='name'>Waveform</div><div class='lanes'>{_WAVE.format(path)}</div></div>"
    else:
        yield "<div class='row'><div class='name'>Waveform</div><div class='soft'>the video has no sound</div></div>"
    cuts = sorted({question.cut for question in contents.video.questions if question.cut is not None})
    marks = "".join(f"<div class='cut' style='left:{100 * cut / meta.frames:.2f}%'></div>" for cut in cuts)
    yield f"<div id='heads'>{marks}<div id='head'></div></div></div>"
    if cuts:
        yield "<p class='soft'>Dashed: where the video ends for questions that look ahead.</p>"
    if any(contents.predicted.get(task) for task in _TASKS):
        yield "<p class='soft'>Filled: true. White and dashed: predicted, the paler the lower its score.</p>"
    yield "</section>"


def _counts(contents: Contents, task: str) -> str:
    every = segments(contents, task)
    count = sum(bar.predicted for bar in every)
    predicted = f", {count} predicted" if task in contents.predicted else ""
    return f" <span class='soft'>{len(every) - count} true{predicted}</span>"


def _row(row: ClassRow, task: str, seconds: float) -> str:
    bars, top = [], _GAP
    for lanes, height in ((row.true, _TRUE if len(row.true) <= _MANY else _LOW), (row.predicted, _PREDICTED)):
        for lane in lanes:
            bars += [_bar(bar, task, seconds, top, height) for bar in lane]
            top += height + _GAP
    more = f" <span class='more'>{row.undrawn} more predicted</span>" if row.undrawn else ""
    return (
        f"<div class='row'><div class='name'>{escaped(row.label)}{more}</div>"
        f"<div class='lanes' style='height:{top}px'>{''.join(bars)}</div></div>"
    )


def _bar(bar: SegmentBar, task: str, seconds: float, top: int, height: int) -> str:
    more = f", {bar.more}" if bar.more else ""
    title = escaped(f"{'predicted ' if bar.predicted else ''}{bar.label}, {bar.start_s:.2f} to {bar.end_s:.2f} s{more}")
    left = min(bar.start_s / seconds, 1 - SHORTEST)
    width = max((bar.end_s - bar.start_s) / seconds, SHORTEST)
    style = f"left:{100 * left:.2f}%;width:{100 * min(width, 1 - left):.2f}%;top:{top}px;height:{height}px"
    if bar.predicted:
        style += f";opacity:{0.45 + 0.55 * _share(bar):.2f}"
    return (
        f"<button class='bar {task}{' predicted' if bar.predicted else ''}' style='{style}' data-start='{bar.start_s:.4f}' "
        f"data-end='{bar.end_s:.4f}' title='{title}' aria-label='{title}'></button>"
    )


def _share(bar: SegmentBar) -> float:
    return min(max(float(bar.more.removeprefix("score ")), 0.0), 1.0)


def _ticks(seconds: float) -> Iterator[str]:
    step = next((tick for tick in _TICKS if seconds / tick <= 8), _TICKS[-1])
    for k in range(int(seconds / step + 1e-9) + 1):
        share = 100 * k * step / seconds
        if share <= 96:
            yield f"<span style='left:{share:.2f}%'>{k * step:g}</span>"


def segment_table(contents: Contents) -> Iterator[str]:
    """Write all segments as a table, by time."""
    rows: list[tuple[float, Sequence[str]]] = []
    for task, text in _TASKS.items():
        for bar in segments(contents, task):
            kind = f"{text[:-1].lower()}{', predicted' if bar.predicted else ''}"
            rows.append((bar.start_s, (kind, bar.label, f"{bar.start_s:.2f}", f"{bar.end_s:.2f}", bar.more)))
    if not rows:
        return
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("what", "class", "from (s)", "to (s)", "more"))
    ordered = sorted(rows, key=lambda row: row[0])[:_MOST_ROWS]
    body = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in cells)}</tr>" for _, cells in ordered)
    number = f"{len(ordered)} of {len(rows)}" if len(ordered) < len(rows) else str(len(rows))
    yield (
        f"<section class='wide'><details><summary>All segments as a table ({number})</summary>"
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details></section>"
    )
