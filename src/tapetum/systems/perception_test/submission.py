"""Predictions in the form in which the servers of the Perception Test take them (arXiv 2305.13786; notebooks, README).

What is written is what is scored: of object tracks all predicted frames (the servers keep those they want), of answers at most
ten tracks. Places have six digits, of which the benchmark's rasters see three.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tapetum.systems.perception_test.predicted import PredictedAnswer, PredictedSegment, PredictedTrack, TaskPredictions
from tapetum.systems.perception_test.predictions import JOINT, KEYS
from tapetum.systems.perception_test.scores.grounded import MOST
from tapetum.systems.perception_test.types import AnnotatedVideo


def nested(task: str, predictions: TaskPredictions, annotations: Mapping[str, AnnotatedVideo]) -> Iterator[tuple[str, Any]]:
    """Yield the entry of each video."""
    for name, items in predictions.videos.items():
        if task == "object":
            yield name, [_boxes(track) for track in items]
        elif task == "point":
            yield name, {"point_tracking": [_points(track) for track in items]}
        elif task in JOINT:
            make = {"object": _boxes, "point": _points, "action": _segment, "sound": _segment}
            yield name, {KEYS[part]: [make[part](each) for each in listed] for part, listed in items.items()}
        elif task in ("action", "sound"):
            yield name, {f"{task}_localisation": [_segment(each) for each in items]}
        elif task == "mcqa":
            options = {question.id: question.options for question in annotations[name].questions}
            yield name, [_answer(each, options[each.id]) for each in items]
        else:
            yield name, {"grounded_question": {str(number): _best(tracks) for number, tracks in items.items()}}


def _boxes(track: PredictedTrack) -> dict[str, Any]:
    return {"id": track.id, "bounding_boxes": _short(track.places), "frame_ids": track.frames.tolist()}


def _points(track: PredictedTrack) -> dict[str, Any]:
    return {"id": track.id, "points": _short(track.places[:, ::-1].T), "frame_ids": track.frames.tolist()}


def _segment(each: PredictedSegment) -> dict[str, Any]:
    ends = [round(each.start_s, 4), round(each.end_s, 4)]
    return {"label": str(each.label_id), "score": str(each.score), "timestamps": ends}


def _answer(each: PredictedAnswer, options: tuple[str, ...]) -> dict[str, Any]:
    return {"id": each.id, "answer_id": each.answer_id, "answer": options[each.answer_id]}


def _best(tracks: list[PredictedTrack]) -> list[dict[str, Any]]:
    best = sorted(tracks, key=lambda track: -track.score)[:MOST]
    return [{**_boxes(track), "score": track.score} for track in best]


def _short(values: np.ndarray) -> list[list[float]]:
    return [[round(value, 6) for value in row] for row in values.tolist()]
