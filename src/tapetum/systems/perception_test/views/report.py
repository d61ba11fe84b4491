"""The report of a run on the Perception Test: one HTML page with a table and an image for each task.

The image is a radar for each way in which the benchmark groups its questions (area, reasoning, tag), and bars where there are
fewer than three groups, such as cameras that stand or move. Tags stand in the order of their areas.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapetum.core.pages import escaped, write_filled
from tapetum.systems.perception_test.scores.common import TaskScores
from tapetum.systems.perception_test.scores.questions import AREAS, areas_of
from tapetum.systems.perception_test.types import JOINT, AnnotatedVideo
from tapetum.systems.perception_test.views.radar import draw_values

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
