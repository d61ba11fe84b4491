"""Unified tracks of 2025 (arXiv 2601.06287): two tasks in one submission, each scored as it is alone.

    joint          objects and points (its rules; issue 31 of the public code)
    localisation   actions and sounds

How the servers make one number of both is not public, so none is made up here. Unified questions, the third of these tracks,
are multiple-choice questions of three to five options, which the task mcqa scores.
"""

from collections.abc import Mapping
from typing import Any

from tapetum.systems.perception_test.predicted import TaskPredictions
from tapetum.systems.perception_test.predictions import JOINT
from tapetum.systems.perception_test.scores.common import TaskScores
from tapetum.systems.perception_test.scores.objects import score_objects
from tapetum.systems.perception_test.scores.points import score_points
from tapetum.systems.perception_test.scores.segments import score_segments
from tapetum.systems.perception_test.types import AnnotatedVideo


def score_joint(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score both tasks; `table` has a row for each track of an object, and for each video with points."""
    numbers: dict[str, Any] = {}
    counts: dict[str, int] = {}
    cameras: dict[str, Any] = {}
    table: list[Mapping[str, Any]] = []
    for task, score in zip(JOINT["joint"], (score_objects, score_points), strict=True):
        videos = {name: predicted[task] for name, predicted in predictions.videos.items() if task in predicted}
        scores = score(annotations, TaskPredictions(task, videos), reading)
        numbers |= scores.numbers
        counts |= {f"{task}_{name}": value for name, value in scores.counts.items()}
        cameras |= {f"{task} {name}": value for name, value in scores.groups["by_camera"].items()}
        table += scores.table
    return TaskScores(numbers=numbers, groups={"by_camera": cameras}, counts=counts, table=table)


def score_localisation(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score actions and sounds; names of numbers begin with the task, and `table` has a row for each class of either."""
    numbers: dict[str, Any] = {}
    counts: dict[str, int] = {}
    table: list[Mapping[str, Any]] = []
    for task in JOINT["localisation"]:
        videos = {name: predicted[task] for name, predicted in predictions.videos.items() if task in predicted}
        scores = score_segments(annotations, TaskPredictions(task, videos), reading)
        numbers |= {f"{task}_{name}": value for name, value in scores.numbers.items()}
        counts |= {f"{task}_{name}": value for name, value in scores.counts.items()}
        table += [{"task": task, **row} for row in scores.table]
    return TaskScores(numbers=numbers, counts=counts, table=table)
