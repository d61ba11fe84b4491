"""The report of a run on the Perception Test: one HTML page with a table and an image for each task.

The image is a radar for each way in which the benchmark groups its questions (area, reasoning, tag), and bars where there are
fewer than three groups, such as cameras that stand or move. Tags stand in the order of their areas. A radar (SVG) has an axis
for each group, 0 in the middle and 1 at the rim.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapetum.core.files import escaped, write_filled
from tapetum.systems.perception_test.scores import AREAS, TaskScores, areas_of
from tapetum.systems.perception_test.types import JOINT, AnnotatedVideo

_PACKAGE = __name__.rpartition(".")[0]
TITLES = {
    "object": "Object tracking", "point": "Point tracking", "action": "Action localisation", "sound": "Sound localisation",
    "mcqa": "Multiple-choice questions", "grounded": "Grounded questions", "joint": "Joint tracking",
    "localisation": "Joint localisation",
}  # fmt: skip
_NUMBERS = {
    "average_iou": "average IoU", "average_jaccard": "average Jaccard", "map": "mAP", "top1": "top-1", "hota": "HOTA",
    "det_a": "DetA", "ass_a": "AssA", "loc_a": "LocA", "action_map": "mAP of actions", "sound_map": "mAP of sounds",
}  # fmt: skip
_GROUPS = {"by_area": "By area", "by_reasoning": "By reasoning", "by_tag": "By tag", "by_camera": "By camera"}
_RADARS = ("By area", "By reasoning", "By tag")
_ORDER = (*AREAS, *(tag for tags in AREAS.values() for tag in tags), "static", "moving")
FEWEST = 3
"""Axes of a radar at least."""
_CROWD = 10
"""Axes from which labels turn with theirs, so that none covers another."""
_RINGS = (0.25, 0.5, 0.75, 1.0)
_LETTER = 0.54
"""Width of a letter, as a share of the size of the font, on average."""


@dataclass(frozen=True, kw_only=True)
class ReportPart:
    """A task of a run."""

    task: str
    reading: str
    scores: TaskScores
    source: str
    """Name of the predictions, or of what made them."""


def write_report(path: Path, parts: Sequence[ReportPart], annotations: Mapping[str, AnnotatedVideo], name: str) -> Path:
    """Write the report of a run; `name` is that of the annotations. Raises BadInput for a place that cannot be written."""
    titles = ", ".join(TITLES.get(part.task, part.task).lower() for part in parts)
    body = [f"<h1>Perception Test: {escaped(titles)}</h1><p class='soft'>{escaped(name)}, {len(annotations)} videos</p>"]
    for part in parts:
        body += _part(part, annotations)
    return write_filled(
        path, _PACKAGE, "report.html", {"title": escaped(f"Perception Test: {titles}"), "body": "\n".join(body)}
    )


def _part(part: ReportPart, annotations: Mapping[str, AnnotatedVideo]) -> Iterator[str]:
    scores = part.scores
    counted = ", ".join(f"{number} {key.replace('_', ' ')}" for key, number in scores.counts.items())
    yield f"<section><h2>{escaped(TITLES.get(part.task, part.task))}</h2>"
    yield f"<p class='soft'>{escaped(part.source)}; reading {escaped(part.reading)}; {escaped(counted)}</p>"
    yield "<ul class='headlines'>"
    for key, text in _NUMBERS.items():
        value = scores.numbers.get(key)
        if isinstance(value, float):
            yield f"<li>{text}<b>{_number(value)}</b></li>"
    yield "</ul>"
    groups = {_GROUPS.get(key, key): values for key, values in scores.groups.items() if values}
    if "map_at" in scores.numbers:
        groups["mAP by overlap"] = {f"IoU {at}": value for at, value in scores.numbers["map_at"].items()}
    if groups:
        images = (draw_values(title, values, _ORDER, radar=title in _RADARS) for title, values in groups.items())
        yield f"<div class='images'>{''.join(images)}</div>"
    yield from _table(part, groups, annotations)
    yield "</section>"


def _table(
    part: ReportPart, groups: Mapping[str, Mapping[str, float]], annotations: Mapping[str, AnnotatedVideo]
) -> Iterator[str]:
    sizes = group_sizes(part.task, annotations, part.reading)
    counted = any(sizes.get(title) for title in groups)
    rows = []
    for title, values in groups.items():
        known = sizes.get(title, {})
        rows.append(f"<tr class='head'><th scope='colgroup' colspan='3'>{escaped(title)}</th></tr>")
        for name in sorted(values, key=lambda each: (_ORDER.index(each) if each in _ORDER else len(_ORDER), each)):
            number = str(known[name]) if name in known else ""
            rows.append(_row(name, number, values[name]))
    if part.task in ("action", "sound"):
        rows.append("<tr class='head'><th scope='colgroup' colspan='3'>Average precision by class, at IoU 0.5</th></tr>")
        rows += [_row(f"{row['label']} ({row['class']})", "", row["0.5"]) for row in part.scores.table]
    if rows:
        items = "<th scope='col' class='number'>items</th>" if counted else "<th></th>"
        head = f"<th scope='col'>group</th>{items}<th scope='col' class='number'>score</th>"
        yield f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(name: str, number: str, value: Any) -> str:
    cells = f"<td class='number'>{number}</td><td class='number'>{_number(float(value))}</td>"
    return f"<tr><th scope='row'>{escaped(name)}</th>{cells}</tr>"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "none"


def group_sizes(task: str, annotations: Mapping[str, AnnotatedVideo], reading: str) -> dict[str, Counter[str]]:
    """Count what is in each group of questions, or of videos by their cameras."""
    sizes: dict[str, Counter[str]] = {title: Counter() for title in _GROUPS.values()}
    for video in annotations.values():
        if task == "mcqa":
            for question in video.questions:
                sizes["By area"].update(areas_of(question, reading))
                sizes["By reasoning"].update([question.reasoning])
                sizes["By tag"].update(question.tags)
        elif task == "grounded":
            sizes["By area"].update(question.area for question in video.grounded)
            sizes["By reasoning"].update(question.reasoning for question in video.grounded)
        elif task not in JOINT and video.of(task) and video.metadata.moving is not None:
            sizes["By camera"].update(["moving" if video.metadata.moving else "static"])
    return sizes


def draw_values(title: str, values: Mapping[str, float], order: Sequence[str] = (), radar: bool = True) -> str:
    """Draw scores 0..1 of groups, those named in `order` first and so; as bars where these are no `radar`'s."""
    places = {name: place for place, name in enumerate(order)}
    rows = sorted(values.items(), key=lambda row: (places.get(row[0], len(places)), row[0]))
    radar &= len(rows) >= FEWEST
    drawn = _radar(rows) if radar else _bars(rows)
    text = ", ".join(f"{name} {value:.3f}" for name, value in rows)
    return (
        f"<figure{' class=crowd' if radar and len(rows) > _CROWD else ''}><figcaption>{escaped(title)}</figcaption>"
        f"<svg viewBox='{next(drawn)}' role='img' aria-label='{escaped(f'{title}: {text}')}'>{''.join(drawn)}</svg></figure>"
    )


def _radar(rows: Sequence[tuple[str, float]]) -> Iterator[str]:
    crowd, font = len(rows) > _CROWD, 15 if len(rows) > _CROWD else 14
    longest = max(14, *(len(name) for name, _ in rows)) + (5 if crowd else 0)
    radius = 170 if crowd else 95
    room = longest * _LETTER * font + 18
    across, high = radius + room, radius + (room if crowd else 44)
    yield f"{-across:.0f} {-high:.0f} {2 * across:.0f} {2 * high:.0f}"
    angles = [2 * math.pi * k / len(rows) - math.pi / 2 for k in range(len(rows))]

    def at(angle: float, share: float) -> str:
        return f"{radius * share * math.cos(angle):.1f},{radius * share * math.sin(angle):.1f}"

    for ring in _RINGS:
        yield f"<polygon class='ring' points='{' '.join(at(angle, ring) for angle in angles)}'/>"
    for angle in angles:
        yield f"<line class='ring' x1='0' y1='0' x2='{radius * math.cos(angle):.1f}' y2='{radius * math.sin(angle):.1f}'/>"
    shares = [min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0 for _, value in rows]
    yield f"<polygon class='area' points='{' '.join(at(a, s) for a, s in zip(angles, shares, strict=True))}'/>"
    for (name, value), angle, share in zip(rows, angles, shares, strict=True):
        x, y = at(angle, share).split(",")
        yield f"<circle class='dot' cx='{x}' cy='{y}' r='3.5'/>"
        yield _label(name, value, angle, radius + 10, font, crowd)
    for ring in _RINGS[1::2]:  # between two axes, where no line is
        middle = angles[0] + math.pi / len(rows)
        height = radius * ring * math.cos(math.pi / len(rows))
        yield (
            f"<text class='scale' font-size='11' text-anchor='middle' x='{height * math.cos(middle):.1f}' "
            f"y='{height * math.sin(middle) + 4:.1f}'>{ring:g}</text>"
        )


def _label(name: str, value: float, angle: float, radius: float, font: int, crowd: bool) -> str:
    x, y = radius * math.cos(angle), radius * math.sin(angle)
    value_text = f"<tspan class='value'>{value:.2f}</tspan>"
    if crowd:
        left = math.cos(angle) < -1e-9
        turn = math.degrees(angle) + (180 if left else 0)
        text = f"{value_text} {escaped(name)}" if not left else f"{escaped(name)} {value_text}"
        anchor = "end" if left else "start"
        return (
            f"<text font-size='{font}' text-anchor='{anchor}' dominant-baseline='central' "
            f"transform='translate({x:.1f} {y:.1f}) rotate({turn:.1f})'>{text}</text>"
        )
    side = math.cos(angle)
    anchor = "middle" if abs(side) < 0.2 else "start" if side > 0 else "end"
    drop = y + (12 if math.sin(angle) > 0.9 else -22 if math.sin(angle) < -0.9 else -4)
    value_text = f"<tspan class='value' x='{x:.1f}' dy='{1.2 * font:.1f}'>{value:.2f}</tspan>"
    return f"<text font-size='{font}' text-anchor='{anchor}' x='{x:.1f}' y='{drop:.1f}'>{escaped(name)}{value_text}</text>"


def _bars(rows: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield f"0 0 400 {34 * len(rows) + 8}"
    for k, (name, value) in enumerate(rows):
        share = min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
        yield f"<rect class='ground' x='150' y='{34 * k + 8}' width='190' height='20' rx='3'/>"
        yield f"<rect class='bar' x='150' y='{34 * k + 8}' width='{190 * share:.1f}' height='20' rx='3'/>"
        yield f"<text font-size='14' text-anchor='end' x='140' y='{34 * k + 23}'>{escaped(name)}</text>"
        yield f"<text font-size='14' class='value' x='350' y='{34 * k + 23}'>{value:.3f}</text>"
