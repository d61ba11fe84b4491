"""Scores of a task, means over groups of videos, and the scorers of tasks 3 to 5 (Perception Test, section 4).

Tasks 3 and 4, actions and sounds in time: mean average precision (the ActivityNet measure). Predictions of equal score keep
their order by default; scores are compared in float64. Readings:

    default    as `tapetum.metrics.localisation`: a prediction of a class that the truth has not is left out
    notebook   the public code's: classes are numbered anew by those that the truth has, but predictions of others keep their
               number, and so fall into another class; of equal scores the later one comes first, of equal overlaps too

Task 5, multiple-choice questions: top-1 accuracy. Readings:

    default    a question that is not answered counts as wrong; an area is what the question says it is
    notebook   the public scorer's: every question must be answered; a question is in each area that one of its tags belongs to
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.metrics.localisation import OVERLAPS, localisation_scores
from tapetum.systems.perception_test.types import (
    AnnotatedVideo,
    ChoiceQuestion,
    GroundedQuestion,
    LabelledSegment,
    PredictedSegment,
    TaskPredictions,
)
from tapetum.types import Segments


@dataclass(frozen=True, kw_only=True)
class TaskScores:
    """The score of a task; numbers are 0..1, NaN where nothing can be counted."""

    numbers: Mapping[str, Any]
    """The headlines."""
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """by_camera, by_area and so on: the first headline in each group."""
    counts: Mapping[str, int] = field(default_factory=dict)
    table: Sequence[Mapping[str, Any]] = ()

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


def score_segments(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score actions or sounds; `table` has a row for each class."""
    listed = {name: video.of(predictions.task) for name, video in annotations.items()}
    names = {segment.label_id: segment.label for segments in listed.values() for segment in segments}
    classes = {label: place for place, label in enumerate(sorted(names))}
    flat: list[tuple[str, PredictedSegment]] = [(name, each) for name, video in predictions.videos.items() for each in video]
    targets: dict[Hashable, Segments]
    labels: list[int]
    if reading == "notebook":
        labels = [classes.get(each.label_id, each.label_id) for _, each in flat]
        targets = {name: _truth([*reversed(segments)], classes) for name, segments in listed.items()}
    else:
        labels = [classes.get(each.label_id, -1) for _, each in flat]
        targets = {name: _truth(segments, classes) for name, segments in listed.items()}
    ranks = _ranks(np.array([each.score for _, each in flat], np.float64), np.array(labels, np.int64), reading)
    rows_by_video: dict[str, list[int]] = {}
    for row, (name, _) in enumerate(flat):
        if 0 <= labels[row] < len(classes):
            rows_by_video.setdefault(name, []).append(row)
    predicted: dict[Hashable, Segments] = {
        name: Segments(
            start_s=np.array([flat[row][1].start_s for row in rows]),
            end_s=np.array([flat[row][1].end_s for row in rows]),
            labels=[str(labels[row]) for row in rows],
            scores=ranks[rows],
        )
        for name, rows in rows_by_video.items()
    }
    scores = localisation_scores(predicted, targets)
    table = [
        {"class": label, "label": names[label], **{str(t): scores.ap[str(place)][t] for t in OVERLAPS}}
        for label, place in classes.items()
    ]
    recall: dict[str, Any] = {f"recall_{k}x": {str(t): value for t, value in at.items()} for k, at in scores.recall.items()}
    return TaskScores(
        numbers={"map": scores.map, "map_at": {str(t): value for t, value in scores.map_at.items()}, **recall},
        counts={
            "videos": len(annotations),
            "segments": sum(map(len, listed.values())),
            "predictions": len(flat),
            "of_other_classes": sum(each.label_id not in classes for _, each in flat),
        },
        table=table,
    )


def _truth(segments: Sequence[LabelledSegment], classes: Mapping[int, int]) -> Segments:
    return Segments(
        start_s=np.array([each.start_s for each in segments]),
        end_s=np.array([each.end_s for each in segments]),
        labels=[str(classes[each.label_id]) for each in segments],
    )


def _ranks(scores: np.ndarray, labels: np.ndarray, reading: str) -> np.ndarray:
    """Turn scores into whole numbers that have the same order within each class, and no ties."""
    ranks = np.zeros(len(scores))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = scores[rows].argsort()[::-1] if reading == "notebook" else np.argsort(-scores[rows], kind="stable")
        ranks[rows[order]] = np.arange(len(rows), 0, -1)
    return ranks


AREAS: Mapping[str, tuple[str, ...]] = {
    "memory": ("change detection", "event recall", "sequencing", "visual discrimination"),
    "abstraction": (
        "action counting", "event counting", "feature matching", "object counting", "pattern breaking", "pattern discovery",
    ),
    "physics": (
        "collision", "conservation", "containment", "material", "motion", "occlusion", "object attributes", "object permanence",
        "quantity", "solidity", "spatial relations", "stability",
    ),
    "semantics": (
        "action recognition", "adversarial action", "colour recognition", "distractor action", "distractor object",
        "general knowledge", "language", "object recognition", "part recognition", "place recognition", "state recognition",
        "task completion",
    ),
}  # fmt: skip
"""Area to the tags that belong to it."""


def score_questions(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score answers; `table` has a row for each question."""
    table, rows = [], []
    for name, video in annotations.items():
        chosen: Mapping[int, int] = predictions.videos.get(name, {})
        for question in video.questions:
            check_question(name, question, question.answer, question.id in chosen, reading)
            right = float(chosen.get(question.id, -1) == question.answer)
            rows.append((question, right))
            table.append({"video": name, "question": question.id, "answer": chosen.get(question.id), "right": bool(right)})
    return TaskScores(
        numbers={"top1": mean(right for _, right in rows)},
        groups={
            "by_area": grouped((areas_of(question, reading), right) for question, right in rows),
            "by_reasoning": grouped(([question.reasoning], right) for question, right in rows if question.reasoning),
            "by_tag": grouped((question.tags, right) for question, right in rows),
        },
        counts={"videos": len({row["video"] for row in table}), "questions": len(table)},
        table=table,
    )


def areas_of(question: ChoiceQuestion, reading: str) -> list[str]:
    """List the areas in which a question counts."""
    if reading == "notebook":
        return [area for area, tags in AREAS.items() if any(tag in tags for tag in question.tags)]
    return [question.area] if question.area else []
