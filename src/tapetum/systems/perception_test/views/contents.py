"""Contents of a video's page: its annotations, predictions of any tasks, and their scores for this video alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.evaluate import score
from tapetum.systems.perception_test.predictions import read_predictions
from tapetum.systems.perception_test.track_scores import best_tracks
from tapetum.systems.perception_test.types import (
    KEYS,
    AnnotatedVideo,
    ObjectTrack,
    PointTrack,
    PredictedTrack,
    PredictionFinding,
    TaskPredictions,
)

_DIGITS = 4


@dataclass
class Contents:
    """A video with its predictions and scores."""

    name: str
    video: AnnotatedVideo
    predicted: dict[str, Any] = field(default_factory=dict)
    """Task to predictions of this video, as `TaskPredictions.videos` has them."""
    scores: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Task to the headlines for this video."""
    tables: dict[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Task to a row for each item."""
    findings: list[PredictionFinding] = field(default_factory=list)
    """Findings about predictions of this video."""
    labels: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Names of the classes of actions and sounds, by the task and the number."""


def gather(
    name: str, video: AnnotatedVideo, files: Mapping[str, Mapping[str, Any]], labels: Mapping[str, Mapping[int, str]]
) -> Contents:
    """Gather the predictions of a video from files of any tasks.

    `files` have names; one that predicts nothing says nothing. What a server would refuse becomes a finding. Raises BadInput
    for a file that is of no task.
    """
    contents = Contents(name=name, video=video, labels=labels)
    for file, content in files.items():
        tasks = tasks_of(content)
        if content and not tasks:
            raise BadInput(
                f"{file} is of no task of the Perception Test; tapetum submit perception-test --check {file} says more"
            )
        for task in tasks:
            if name in content:
                _add(contents, task, content[name])
            else:
                contents.findings.append(
                    PredictionFinding("missing-video", name, f"nothing is predicted for the task {task}", error=False)
                )
    return contents


def tasks_of(content: Mapping[str, Any]) -> list[str]:
    """List the tasks of a file of predictions, by its keys or by the entries of its lists."""
    tasks: dict[str, None] = {}
    for item in content.values():
        if isinstance(item, Mapping):
            tasks.update((task, None) for task, key in KEYS.items() if key in item)
        elif isinstance(item, list) and item and isinstance(item[0], Mapping):
            marks = {"bounding_boxes": "object", "points": "point", "answer_id": "mcqa"}
            tasks.update((task, None) for mark, task in marks.items() if mark in item[0])
    return list(tasks)


def _add(contents: Contents, task: str, item: Any) -> None:
    annotations = {contents.name: contents.video}
    predictions = read_predictions(task, {contents.name: item}, annotations)
    known = contents.labels.get(task, {})
    contents.findings += [
        finding for finding in predictions.findings
        if finding.name != "unknown-class" or not _all_known(predictions, known)
    ]  # fmt: skip
    contents.predicted[task] = predictions.videos.get(contents.name, {} if task == "grounded" else [])
    errors = [finding for finding in predictions.findings if finding.error]
    try:
        scored = score(task, annotations, TaskPredictions(task, predictions.videos) if errors else predictions)
    except BadInput:  # the truth is not told, or there is none
        return
    contents.scores[task], contents.tables[task] = scored.numbers, scored.table


def _all_known(predictions: TaskPredictions, known: Mapping[int, str]) -> bool:
    """Check whether all predicted classes are of the data set, though not of this video."""
    return all(each.label_id in known for segments in predictions.videos.values() for each in segments)


def drawn_tracks(contents: Contents) -> list[dict[str, Any]]:
    """List the tracks that are drawn on the video: true objects and points, predicted ones, and tracks of answers."""
    video, tracks = contents.video, []
    for track in video.objects:
        tracks.append(_true(track, "object", track.boxes) | {"hidden": [int(m) for m in track.masked]})
    tracks += [_true(track, "point", track.xy) for track in video.points]
    names = {"object": {t.id: t.label for t in video.objects}, "point": {t.id: t.label for t in video.points}}
    for task in ("object", "point"):
        tracks += [_predicted(track, task, names[task].get(track.id, "")) for track in contents.predicted.get(task, ())]
    for question, answer in contents.predicted.get("grounded", {}).items():
        shown = best_tracks(answer)
        tracks += [_predicted(track, "object", f"score {track.score:.2f}") | {"question": question} for track in shown]
    return tracks


def _true(track: ObjectTrack | PointTrack, kind: str, places: np.ndarray) -> dict[str, Any]:
    return {"kind": kind, "predicted": False, "id": track.id, "label": track.label} | _placed(track.frames, places)


def _predicted(track: PredictedTrack, kind: str, label: str) -> dict[str, Any]:
    return {"kind": kind, "predicted": True, "id": track.id, "label": label} | _placed(track.frames, track.places)


def _placed(frames: np.ndarray, places: np.ndarray) -> dict[str, Any]:
    rows = [[round(value, _DIGITS) for value in row] for row in np.clip(places, -2, 3).tolist()]
    return {"frames": frames.tolist(), "places": rows}
