"""Scores of a task, and means over groups of videos."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.types import AnnotatedVideo, ChoiceQuestion, GroundedQuestion


@dataclass(frozen=True, kw_only=True)
class TaskScores:
    """The score of a task; numbers are 0..1, NaN where nothing can be counted."""

    numbers: Mapping[str, Any]
    """The headlines."""
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """by_camera, by_area and so on: the first headline in each group."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How much was scored."""
    table: Sequence[Mapping[str, Any]] = ()
    """A row for each item."""

    def as_json(self) -> dict[str, Any]:
        """Convert headlines, groups and counts to JSON values, with None in place of NaN."""
        return _plain({**self.numbers, **self.groups, "counts": dict(self.counts)})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def check_question(
    video: str, question: ChoiceQuestion | GroundedQuestion, truth: object, answered: bool, reading: str
) -> None:
    """Raise BadInput for a question whose truth is hidden, and in the notebook's reading for one that is not answered."""
    if truth is None:
        raise BadInput(f"question {question.id} of {video} has no answer in the annotations; test answers are not public")
    if reading == "notebook" and not answered:
        raise BadInput(f"question {question.id} of {video} is not answered, which the notebook refuses; score by default")


def mean(values: Iterable[float]) -> float:
    """Average; NaN of nothing."""
    known = list(values)
    return float(np.mean(known)) if known else float("nan")


def by_camera(annotations: Mapping[str, AnnotatedVideo], scores: Mapping[str, float]) -> dict[str, float]:
    """Average over videos with a camera that stands, and with one that moves; those that do not say are in neither."""
    groups: dict[str, list[float]] = {"static": [], "moving": []}
    for video, score in scores.items():
        moving = annotations[video].metadata.moving
        if moving is not None:
            groups["moving" if moving else "static"].append(score)
    return {name: mean(values) for name, values in groups.items() if values}


def grouped(rows: Iterable[tuple[Iterable[str], float]]) -> dict[str, float]:
    """Average by group; a row may be in several."""
    groups: dict[str, list[float]] = {}
    for names, value in rows:
        for name in names:
            groups.setdefault(name, []).append(value)
    return {name: mean(groups[name]) for name in sorted(groups)}
