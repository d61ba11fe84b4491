"""Scoring of predictions for any of the six tasks, or of objects and points in one file.

The joint track of 2025 (arXiv 2601.06287) has objects and points in one submission, each scored as it is alone (issue 31 of the
public code). How the server makes one number of both is not public, so none is made up here. Unified questions are
multiple-choice questions of three to five options, which the task mcqa scores.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.annotations import read_json
from tapetum.systems.perception_test.predictions import read_predictions
from tapetum.systems.perception_test.scores import TaskScores, score_questions, score_segments
from tapetum.systems.perception_test.track_scores import score_grounded, score_objects, score_points
from tapetum.systems.perception_test.types import JOINT, AnnotatedVideo, TaskPredictions


def _score_joint(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    numbers: dict[str, Any] = {}
    counts: dict[str, int] = {}
    cameras: dict[str, Any] = {}
    table: list[Mapping[str, Any]] = []
    for task in JOINT:
        videos = {name: parts[task] for name, parts in predictions.videos.items() if task in parts}
        scores = TASKS[task](annotations, TaskPredictions(task, videos), reading)
        numbers |= scores.numbers
        counts |= {f"{task}_{name}": value for name, value in scores.counts.items()}
        cameras |= {f"{task} {name}": value for name, value in scores.groups["by_camera"].items()}
        table += scores.table
    return TaskScores(numbers=numbers, groups={"by_camera": cameras}, counts=counts, table=table)


TASKS: Mapping[str, Callable[[Mapping[str, AnnotatedVideo], TaskPredictions, str], TaskScores]] = {
    "object": score_objects,
    "point": score_points,
    "action": score_segments,
    "sound": score_segments,
    "mcqa": score_questions,
    "grounded": score_grounded,
    "joint": _score_joint,
}
READINGS = "default", "notebook"
"""Ways to read the rules where the public notebooks part from them."""


def check_task(task: str, reading: str) -> None:
    """Raise BadInput for a task or reading that there is not."""
    if task not in TASKS:
        raise BadInput(f"there is no task {task!r} of the Perception Test; it is one of {', '.join(TASKS)}")
    if reading not in READINGS:
        raise BadInput(f"there is no reading {reading!r}; it is one of {', '.join(READINGS)}")


def check_annotated(task: str, annotations: Mapping[str, AnnotatedVideo]) -> None:
    """Raise BadInput for annotations that have nothing of a task."""
    if not any(video.of(task) for video in annotations.values()):
        raise BadInput(f"the annotations have nothing of the task {task}; give those of another task or split")


def score(
    task: str,
    annotations: Mapping[str, AnnotatedVideo],
    predictions: str | Path | Mapping[str, Any] | TaskPredictions,
    reading: str = "default",
) -> TaskScores:
    """Score predictions of a task: a file, its content, or what `read_predictions` gave.

    Raises:
        BadInput: an unknown task or reading, predictions that the server would refuse, annotations without answers, or with
            nothing of the task.
    """
    check_task(task, reading)
    check_annotated(task, annotations)
    if isinstance(predictions, str | Path):
        predictions = read_json(predictions)
    if not isinstance(predictions, TaskPredictions):
        predictions = read_predictions(task, predictions, annotations)
    predictions.refuse()
    scores = TASKS[task](annotations, predictions, reading)
    remarks: dict[str, int] = {}
    for finding in predictions.findings:
        name = finding.name.replace("-", "_")
        remarks[name] = remarks.get(name, 0) + 1
    return TaskScores(numbers=scores.numbers, groups=scores.groups, counts={**scores.counts, **remarks}, table=scores.table)
