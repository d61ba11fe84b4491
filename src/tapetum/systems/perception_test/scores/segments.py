"""Tasks 3 and 4: actions and sounds in time, by mean average precision (Perception Test, section 4; the ActivityNet measure).

Readings:

    default    as `tapetum.metrics.localisation`: a prediction of a class that the truth has not is left out
    notebook   the public code's: classes are numbered anew by those that the truth has, but predictions of others keep their
               number, and so fall into another class; of equal scores the later one comes first, of equal overlaps too

Predictions of equal score keep their order by default. Scores are compared in float64.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from tapetum.metrics.localisation import OVERLAPS, localisation_scores
from tapetum.systems.perception_test.scores.common import TaskScores
from tapetum.systems.perception_test.types import AnnotatedVideo, LabelledSegment, PredictedSegment, TaskPredictions
from tapetum.types import Segments


def score_segments(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score actions or sounds; `table` has a row for each class."""
    listed = {name: video.segments(predictions.task) for name, video in annotations.items()}
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
