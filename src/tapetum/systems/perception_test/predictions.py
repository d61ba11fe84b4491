"""Reading of predictions in the forms that the servers of the Perception Test take, and the findings about them.

    object     {video: [{id, bounding_boxes [[x1, y1, x2, y2] ...], frame_ids}]}
    point      {video: {point_tracking: [{id, points [[ys], [xs]], frame_ids}]}}
    action     {video: {action_localisation: [{label "class id", score, timestamps [s, e] in SECONDS}]}}; sound likewise
    mcqa       {video: [{id, answer_id, answer}]}, or below mc_question
    grounded   {video: {grounded_question: {question id: [{id, score, bounding_boxes, frame_ids}]}}}
    joint      {video: {object_tracking: [...], point_tracking: [...]}}, of 2025
    localisation  {video: {action_localisation: [...], sound_localisation: [...]}}, of 2025 (its form is ours: none is public)

The list of a video may stand under its key or directly under the video, whatever the task, for copies of the scorers differ.
Every finding has a name, and is an error (the server, or sense, refuses it) or a remark (counted as empty).
"""

from collections.abc import Callable, Mapping
from typing import Any

from tapetum.systems.perception_test.predicted import (
    FindingCollector,
    PredictionFinding,
    TaskPredictions,
)
from tapetum.systems.perception_test.predicted_items import (
    read_answers,
    read_grounded,
    read_objects,
    read_points,
    read_segments,
)
from tapetum.systems.perception_test.types import AnnotatedVideo

KEYS = {
    "object": "object_tracking",
    "point": "point_tracking",
    "action": "action_localisation",
    "sound": "sound_localisation",
    "mcqa": "mc_question",
    "grounded": "grounded_question",
}
"""Task to its key in annotations and predictions."""


JOINT: Mapping[str, tuple[str, str]] = {"joint": ("object", "point"), "localisation": ("action", "sound")}
"""Unified tracks of 2025 (arXiv 2601.06287): the tasks that are in one file."""
Read = Callable[[FindingCollector, Any, AnnotatedVideo], Any]
_READERS: Mapping[str, Read] = {
    "object": read_objects,
    "point": read_points,
    "action": read_segments,
    "sound": read_segments,
    "mcqa": read_answers,
    "grounded": read_grounded,
}


def read_predictions(task: str, content: Mapping[str, Any], annotations: Mapping[str, AnnotatedVideo]) -> TaskPredictions:
    """Read the predictions of a task: object, point, action, sound, mcqa, grounded, joint or
    localisation.
    """
    predictions = TaskPredictions(task)
    if not content:
        predictions.findings.append(
            PredictionFinding("empty", "the file", "it predicts nothing; everything counts as empty", error=False)
        )
    for video, item in content.items():
        if video not in annotations:
            predictions.findings.append(PredictionFinding("unknown-video", video, "there is no such video in the annotations"))
        elif task in JOINT:
            predictions.videos[video] = _joint(predictions, video, item, annotations[video])
        elif isinstance(item, Mapping) and KEYS[task] not in item and any(key in item for key in KEYS.values()):
            predictions.findings.append(_missing(video))  # other tasks alone are spoken of
        else:
            _read(predictions, video, item, annotations[video])
    for part in JOINT["localisation"]:
        if task == part:
            _unknown_classes(predictions, part, predictions.videos, annotations)
        elif task == "localisation":
            videos = {name: parts[part] for name, parts in predictions.videos.items() if part in parts}
            _unknown_classes(predictions, part, videos, annotations)
    predictions.findings += [
        _missing(name) for name, video in annotations.items() if name not in content and has_task(task, video)
    ]
    return predictions


def has_task(task: str, video: AnnotatedVideo) -> bool:
    """Check whether a video has annotations of a task."""
    listed = {"object": video.objects, "point": video.points, "action": video.actions, "sound": video.sounds}
    listed |= {"mcqa": video.questions, "grounded": video.grounded}
    return any(listed[part] for part in JOINT.get(task, (task,)))


def _read(predictions: TaskPredictions, name: str, item: Any, video: AnnotatedVideo) -> None:
    """Read what is said about a video, below the task's key or not."""
    task = predictions.task
    below = item[KEYS[task]] if isinstance(item, Mapping) and KEYS[task] in item else item
    if isinstance(below, Mapping if task == "grounded" else list):
        predictions.videos[name] = _READERS[task](FindingCollector(predictions, name), below, video)
    else:
        expected = "an object by question" if task == "grounded" else "a list"
        predictions.findings.append(
            PredictionFinding("wrong-nesting", name, f"it holds a {type(below).__name__}; wanted {expected}")
        )


def _missing(video: str) -> PredictionFinding:
    return PredictionFinding("missing-video", video, "nothing is predicted for it; it counts as empty", error=False)


def _joint(predictions: TaskPredictions, name: str, item: Any, video: AnnotatedVideo) -> dict[str, Any]:
    """Read both tasks of a video; the server of tracks takes a key only where the video has such queries (issue 31 there)."""
    parts: dict[str, Any] = {}
    keys = {KEYS[task]: task for task in JOINT[predictions.task]}
    if not isinstance(item, Mapping):
        predictions.findings.append(
            PredictionFinding("wrong-nesting", name, f"it holds a {type(item).__name__}; wanted {' and '.join(keys)}")
        )
        return parts
    for key in item.keys() - keys.keys():
        predictions.findings.append(
            PredictionFinding("unknown-key", name, f"it has {key!r}; wanted {' and '.join(keys)} alone")
        )
    for key, task in keys.items():
        what = f"{task}s"
        if key not in item:
            if has_task(task, video):
                predictions.findings.append(
                    PredictionFinding("missing-key", name, f"it has no {key}; its {what} count as empty", error=False)
                )
        elif predictions.task == "joint" and not has_task(task, video):
            predictions.findings.append(PredictionFinding("no-queries", name, f"nobody asks for {what} of it; leave out {key}"))
        elif not isinstance(item[key], list):
            predictions.findings.append(
                PredictionFinding("wrong-nesting", name, f"{key} holds a {type(item[key]).__name__}; wanted a list")
            )
        else:
            parts[task] = _READERS[task](FindingCollector(predictions, f"{name}, {what}"), item[key], video)
    return parts


def _unknown_classes(
    predictions: TaskPredictions, task: str, videos: Mapping[str, Any], annotations: Mapping[str, AnnotatedVideo]
) -> None:
    """Remark on classes that no annotation has."""
    listed = (video.actions if task == "action" else video.sounds for video in annotations.values())
    known = {segment.label_id for segments in listed for segment in segments}
    for video, segments in videos.items():
        other = sorted({each.label_id for each in segments} - known)
        if known and other:
            text = f"it predicts class {other[0]} ({len(other)} such), which no annotation has; it counts for nothing"
            predictions.findings.append(PredictionFinding("unknown-class", video, text, error=False))
