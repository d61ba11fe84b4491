"""Objects and points in one submission: the joint tracking of the challenge of 2025 (its rules; issue 31 of the public code).

Each task is scored as it is alone. How the server makes one number of both is not public, so none is made up here.
"""

from collections.abc import Mapping
from typing import Any

from tapetum.systems.perception_test.predictions import JOINT, Predictions
from tapetum.systems.perception_test.scores.common import Scores
from tapetum.systems.perception_test.scores.objects import score_objects
from tapetum.systems.perception_test.scores.points import score_points
from tapetum.systems.perception_test.types import Video


def score_joint(annotations: Mapping[str, Video], predictions: Predictions, reading: str) -> Scores:
    """Score both tasks; `table` has a row for each track of an object, and for each video with points."""
    numbers: dict[str, Any] = {}
    counts: dict[str, int] = {}
    cameras: dict[str, Any] = {}
    table: list[Mapping[str, Any]] = []
    for task, score in zip(JOINT, (score_objects, score_points), strict=True):
        videos = {name: said[task] for name, said in predictions.videos.items() if task in said}
        found = score(annotations, Predictions(task, videos), reading)
        numbers |= found.numbers
        counts |= {f"{task}_{name}": value for name, value in found.counts.items()}
        cameras |= {f"{task} {name}": value for name, value in found.groups["by_camera"].items()}
        table += found.table
    return Scores(numbers=numbers, groups={"by_camera": cameras}, counts=counts, table=table)
