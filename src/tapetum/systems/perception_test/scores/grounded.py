"""Task 6: questions that object tracks answer, by HOTA (Perception Test, section 4; `tapetum.metrics.hota`).

Of each question: the true tracks, from their first box on; of the predicted ones the ten of the highest score, clipped to the
image, in the frames in which a true track has a box. The mean is over questions.

Readings:

    default    a predicted track may lack frames, and have others; a question that is not answered has an empty answer
    notebook   the public notebook's: frames of truth and prediction are put side by side in the order in which they come, which
               is right only where both have the same; videos that are not predicted are left out

LocA of an empty answer is 1, in both, as in TrackEval.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import paired_box_iou
from tapetum.metrics.hota import HotaScores, box_hota, hota
from tapetum.systems.perception_test.scores.common import TaskScores, check_question, grouped, mean
from tapetum.systems.perception_test.types import AnnotatedVideo, ObjectTrack, PredictedTrack, TaskPredictions

MOST = 10
"""Tracks of an answer that count."""


def score_grounded(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score answers; `table` has a row for each question."""
    table, places = [], []
    for name, video in annotations.items():
        if reading == "notebook" and name not in predictions.videos:
            continue
        answers: Mapping[int, Sequence[PredictedTrack]] = predictions.videos.get(name, {})
        for question in video.grounded:
            check_question(name, question, question.answers, question.id in answers, reading)
            truth = [video.objects[number] for number in question.answers or ()]
            predicted = list(answers.get(question.id, ()))
            if len(predicted) > MOST:  # else in their order, by which the notebook pairs frames
                predicted = best_tracks(predicted)
            scores = _as_notebook(name, truth, predicted) if reading == "notebook" else _clean(truth, predicted)
            row = {"hota": scores.hota, "det_a": scores.det_a, "ass_a": scores.ass_a, "loc_a": scores.loc_a}
            table.append({"video": name, "question": question.id, **row})
            places.append((question, scores.hota))
    return TaskScores(
        numbers={key: mean(row[key] for row in table) for key in ("hota", "det_a", "ass_a", "loc_a")},
        groups={
            "by_area": grouped(([question.area], value) for question, value in places if question.area),
            "by_reasoning": grouped(([question.reasoning], value) for question, value in places if question.reasoning),
        },
        counts={"videos": len({row["video"] for row in table}), "questions": len(table)},
        table=table,
    )


def best_tracks(tracks: Sequence[PredictedTrack]) -> list[PredictedTrack]:
    """Choose the tracks of an answer that count, best first."""
    return sorted(tracks, key=lambda track: -track.score)[:MOST]


def _clean(truth: Sequence[ObjectTrack], predicted: Sequence[PredictedTrack]) -> HotaScores:
    starts = {track.id: (track.frames[track.start :], np.clip(track.boxes[track.start :], 0, 1)) for track in truth}
    return box_hota(starts, {track.id: (track.frames, np.clip(track.places, 0, 1)) for track in predicted})


def _as_notebook(name: str, truth: Sequence[ObjectTrack], predicted: Sequence[PredictedTrack]) -> HotaScores:
    """Put frames side by side as the notebook does."""
    true_ids = _by_frame([track.frames[track.start :] for track in truth])
    predicted_ids = _by_frame([track.frames for track in predicted])
    similar: dict[int, list[float]] = {frame: [] for frame in true_ids}
    for true in truth:
        at, boxes = true.frames[true.start :], true.boxes[true.start :]
        kept = [
            track.places if np.array_equal(track.frames, at) else track.places[np.isin(track.frames, at)] for track in predicted
        ]
        if any(len(places) != len(at) for places in kept):
            raise BadInput(f"an answer in {name} lacks frames of its truth, which the notebook refuses; score by default")
        if kept:
            values = paired_box_iou(np.tile(boxes, (len(kept), 1)), np.clip(np.concatenate(kept), 0, 1)).reshape(len(kept), -1)
            for frame, column in zip(at.tolist(), values.T.tolist(), strict=True):
                similar[frame] += column
    frames = []
    for (frame, rows), columns in zip(true_ids.items(), predicted_ids.values(), strict=False):
        values = np.array(similar[frame])
        if values.size != len(rows) * len(columns):
            raise BadInput(f"an answer in {name} has other frames than its truth, which the notebook refuses; score by default")
        frames.append((rows, columns, values.reshape(len(rows), len(columns))))
    return hota(frames if predicted else [(rows, [], np.zeros((len(rows), 0))) for rows in true_ids.values()])


def _by_frame(tracks: Sequence[np.ndarray]) -> dict[int, list[int]]:
    """List the numbers of the tracks that are in each frame, frames in the order in which they come."""
    scores: dict[int, list[int]] = {}
    for number, frames in enumerate(tracks):
        for frame in frames.tolist():
            scores.setdefault(frame, []).append(number)
    return scores
