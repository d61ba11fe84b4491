"""Reads predictions in the forms in which the servers of the Perception Test take them, and finds what is wrong with them.

    object     {video: [{id, bounding_boxes [[x1, y1, x2, y2] ...], frame_ids}]}
    point      {video: {point_tracking: [{id, points [[ys], [xs]], frame_ids}]}}
    action     {video: {action_localisation: [{label "class id", score, timestamps [s, e] in SECONDS}]}}; sound likewise
    mcqa       {video: [{id, answer_id, answer}]}, or below mc_question
    grounded   {video: {grounded_question: {question id: [{id, score, bounding_boxes, frame_ids}]}}}
    joint      {video: {object_tracking: [...], point_tracking: [...]}}, of 2025

The list of a video may stand under its key or directly under the video, whatever the task, for copies of the scorers differ.
Every finding has a name, and is an error (the server, or sense, refuses it) or a remark (counted as empty).
"""

from collections.abc import Callable, Mapping
from typing import Any

from tapetum.systems.perception_test.predicted import Chosen, Finding, Found, Predictions, Reader, Tracked
from tapetum.systems.perception_test.predicted_items import read_answers, read_segments
from tapetum.systems.perception_test.predicted_tracks import read_grounded, read_objects, read_points
from tapetum.systems.perception_test.types import Video

__all__ = ["KEYS", "Chosen", "Finding", "Found", "Predictions", "Tracked", "asked", "read_predictions"]

KEYS = {
    "object": "object_tracking",
    "point": "point_tracking",
    "action": "action_localisation",
    "sound": "sound_localisation",
    "mcqa": "mc_question",
    "grounded": "grounded_question",
}
"""Task to its key in annotations and predictions."""


JOINT = ("object", "point")
"""Tasks of the joint tracking of 2025."""
Read = Callable[[Reader, Any, Video], Any]
_READERS: Mapping[str, Read] = {
    "object": read_objects,
    "point": read_points,
    "action": read_segments,
    "sound": read_segments,
    "mcqa": read_answers,
    "grounded": read_grounded,
}


def read_predictions(task: str, content: Mapping[str, Any], annotations: Mapping[str, Video]) -> Predictions:
    """Read the predictions of a task: object, point, action, sound, mcqa, grounded, or joint."""
    found = Predictions(task)
    if not content:
        found.findings.append(Finding("empty", "the file", "it predicts nothing; everything counts as empty", error=False))
    for video, item in content.items():
        if video not in annotations:
            found.findings.append(Finding("unknown-video", video, "there is no such video in the annotations"))
        elif task == "joint":
            found.videos[video] = _joint(found, video, item, annotations[video])
        elif isinstance(item, Mapping) and KEYS[task] not in item and any(key in item for key in KEYS.values()):
            found.findings.append(_missing(video))  # other tasks alone are spoken of
        else:
            _read(found, video, item, annotations[video])
    if task in ("action", "sound"):
        _unknown_classes(found, annotations)
    found.findings += [_missing(name) for name, video in annotations.items() if name not in content and asked(task, video)]
    return found


def asked(task: str, video: Video) -> bool:
    """Tell whether a video has anything of a task."""
    listed = {"object": video.objects, "point": video.points, "action": video.actions, "sound": video.sounds}
    listed |= {"mcqa": video.questions, "grounded": video.grounded, "joint": [*video.objects, *video.points]}
    return bool(listed[task])


def _read(found: Predictions, name: str, item: Any, video: Video) -> None:
    """Read what is said about a video, below the task's key or not."""
    task = found.task
    below = item[KEYS[task]] if isinstance(item, Mapping) and KEYS[task] in item else item
    if isinstance(below, Mapping if task == "grounded" else list):
        found.videos[name] = _READERS[task](Reader(found, name), below, video)
    else:
        wanted = "an object by question" if task == "grounded" else "a list"
        found.findings.append(Finding("wrong-nesting", name, f"it holds a {type(below).__name__}; wanted {wanted}"))


def _missing(video: str) -> Finding:
    return Finding("missing-video", video, "nothing is predicted for it; it counts as empty", error=False)


def _joint(found: Predictions, name: str, item: Any, video: Video) -> dict[str, Any]:
    """Read objects and points of a video; its server takes a key only where the video has such queries (issue 31 there)."""
    said: dict[str, Any] = {}
    keys = {KEYS[task]: task for task in JOINT}
    if not isinstance(item, Mapping):
        found.findings.append(Finding("wrong-nesting", name, f"it holds a {type(item).__name__}; wanted {' and '.join(keys)}"))
        return said
    for key in item.keys() - keys.keys():
        found.findings.append(Finding("unknown-key", name, f"it has {key!r}; wanted {' and '.join(keys)} alone"))
    for key, task in keys.items():
        what = key.replace("_tracking", "s")
        if key not in item:
            if asked(task, video):
                found.findings.append(Finding("missing-key", name, f"it has no {key}; its {what} count as empty", error=False))
        elif not asked(task, video):
            found.findings.append(Finding("no-queries", name, f"nobody asks for {what} of it; leave out {key}"))
        elif not isinstance(item[key], list):
            found.findings.append(Finding("wrong-nesting", name, f"{key} holds a {type(item[key]).__name__}; wanted a list"))
        else:
            said[task] = _READERS[task](Reader(found, f"{name}, {what}"), item[key], video)
    return said


def _unknown_classes(found: Predictions, annotations: Mapping[str, Video]) -> None:
    """Remark on classes that no annotation has."""
    listed = (video.actions if found.task == "action" else video.sounds for video in annotations.values())
    known = {segment.label_id for segments in listed for segment in segments}
    for video, segments in found.videos.items():
        other = sorted({each.label_id for each in segments} - known)
        if known and other:
            text = f"it predicts class {other[0]} ({len(other)} such), which no annotation has; it counts for nothing"
            found.findings.append(Finding("unknown-class", video, text, error=False))
