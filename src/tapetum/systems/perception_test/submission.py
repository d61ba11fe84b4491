"""Predictions in the form in which the servers of the Perception Test take them (arXiv 2305.13786; notebooks, README).

What is written is what is scored: of object tracks all predicted frames (the servers keep those they want), of answers at most
ten tracks. Places have six digits, of which the benchmark's rasters see three.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tapetum.systems.perception_test.scores.grounded import best_tracks
from tapetum.systems.perception_test.types import (
    JOINT,
    KEYS,
    AnnotatedVideo,
    ChoiceQuestion,
    PredictedSegment,
    PredictedTrack,
    TaskPredictions,
    below_video,
)

DIGITS = 6


def nested(task: str, predictions: TaskPredictions, annotations: Mapping[str, AnnotatedVideo]) -> Iterator[tuple[str, Any]]:
    """Yield the entry of each video."""
    for name, items in predictions.videos.items():
        if task in JOINT:
            yield name, {KEYS[part]: [_WRITERS[part](each) for each in listed] for part, listed in items.items()}
        elif task == "grounded":
            yield name, below_video(task, {str(number): _answer_tracks(tracks) for number, tracks in items.items()})
        elif task == "mcqa":
            questions = {question.id: question for question in annotations[name].questions}
            yield name, [answer_row(questions[each.id], each.answer_id) for each in items]
        else:
            yield name, below_video(task, [_WRITERS[task](each) for each in items])


def box_row(number: int, frames: Int[np.ndarray, " n"], boxes: Float[np.ndarray, "n 4"], **more: Any) -> dict[str, Any]:
    """Write a track of boxes (shares) in the benchmark's form."""
    return {"id": number, **more, "bounding_boxes": _rounded(boxes), "frame_ids": frames.tolist()}


def point_row(number: int, frames: Int[np.ndarray, " n"], xy: Float[np.ndarray, "n 2"]) -> dict[str, Any]:
    """Write a track of points (shares) in the benchmark's form: all y, then all x."""
    return {"id": number, "points": _rounded(xy[:, ::-1].T), "frame_ids": frames.tolist()}


def segment_row(label: int, score: str, start_s: float, end_s: float) -> dict[str, Any]:
    """Write a segment in the benchmark's form: class and score are texts, times seconds."""
    return {"label": str(label), "score": score, "timestamps": [round(start_s, 4), round(end_s, 4)]}


def answer_row(question: ChoiceQuestion, chosen: int) -> dict[str, Any]:
    """Write an answer in the benchmark's form."""
    return {"id": question.id, "answer_id": chosen, "answer": question.options[chosen]}


def _box_track(track: PredictedTrack) -> dict[str, Any]:
    return box_row(track.id, track.frames, track.places)


def _point_track(track: PredictedTrack) -> dict[str, Any]:
    return point_row(track.id, track.frames, track.places)


def _segment(each: PredictedSegment) -> dict[str, Any]:
    return segment_row(each.label_id, str(each.score), each.start_s, each.end_s)


def _answer_tracks(tracks: list[PredictedTrack]) -> list[dict[str, Any]]:
    return [{**_box_track(track), "score": track.score} for track in best_tracks(tracks)]


_WRITERS = {"object": _box_track, "point": _point_track, "action": _segment, "sound": _segment}


def _rounded(values: np.ndarray) -> list[list[float]]:
    return [[round(value, DIGITS) for value in row] for row in values.astype(float).tolist()]
