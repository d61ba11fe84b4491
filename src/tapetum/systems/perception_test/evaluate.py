"""Scoring of predictions for any of the six tasks, or of two in one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.annotations import read_json
from tapetum.systems.perception_test.predicted import TaskPredictions
from tapetum.systems.perception_test.predictions import has_task, read_predictions
from tapetum.systems.perception_test.scores.common import TaskScores
from tapetum.systems.perception_test.scores.grounded import score_grounded
from tapetum.systems.perception_test.scores.joint import score_joint, score_localisation
from tapetum.systems.perception_test.scores.objects import score_objects
from tapetum.systems.perception_test.scores.points import score_points
from tapetum.systems.perception_test.scores.questions import score_questions
from tapetum.systems.perception_test.scores.segments import score_segments
from tapetum.systems.perception_test.types import AnnotatedVideo

TASKS = {
    "object": score_objects,
    "point": score_points,
    "action": score_segments,
    "sound": score_segments,
    "mcqa": score_questions,
    "grounded": score_grounded,
    "joint": score_joint,
    "localisation": score_localisation,
}
"""Task to what scores it."""
READINGS = ("default", "notebook", "tapvid-first")
"""Ways to read the rules where the public notebooks part from them; the last is for points alone."""


def check_task(task: str, reading: str) -> None:
    """Raise BadInput for a task or reading that there is not."""
    if task not in TASKS:
        raise BadInput(f"there is no task {task!r} of the Perception Test; it is one of {', '.join(TASKS)}")
    if reading not in READINGS or (reading == "tapvid-first" and task != "point"):
        fits = READINGS if task == "point" else READINGS[:2]
        raise BadInput(f"the task {task} has no reading {reading!r}; it is one of {', '.join(fits)}")


def check_annotated(task: str, annotations: Mapping[str, AnnotatedVideo]) -> None:
    """Raise BadInput for annotations that have nothing of a task."""
    if not any(has_task(task, video) for video in annotations.values()):
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
