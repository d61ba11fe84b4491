"""Predictions in the forms that the servers of the Perception Test take (notebooks, README): read, with findings, and written.

    object     {video: [{id, bounding_boxes [[x1, y1, x2, y2] ...], frame_ids}]}
    point      {video: {point_tracking: [{id, points [[ys], [xs]], frame_ids}]}}
    action     {video: {action_localisation: [{label "class id", score, timestamps [s, e] in SECONDS}]}}; sound likewise
    mcqa       {video: [{id, answer_id, answer}]}, or below mc_question
    grounded   {video: {grounded_question: {question id: [{id, score, bounding_boxes, frame_ids}]}}}
    joint      {video: {object_tracking: [...], point_tracking: [...]}}, of 2025
    localisation  {video: {action_localisation: [...], sound_localisation: [...]}}, of 2025 (its form is ours: none is public)

The list of a video may stand under its key or directly under the video, whatever the task, for copies of the scorers differ.
Every finding has a name, and is an error (the server, or sense, refuses it) or a remark (counted as empty).

What is written is what is scored: of object tracks all predicted frames (the servers keep those they want), of answers at most
ten tracks. Places have six digits, of which the benchmark's rasters see three.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from tapetum.systems.perception_test.track_scores import best_tracks
from tapetum.systems.perception_test.types import (
    JOINT,
    KEYS,
    AnnotatedVideo,
    ChoiceQuestion,
    Findings,
    PredictedAnswer,
    PredictedSegment,
    PredictedTrack,
    TaskPredictions,
    below_video,
)

Item = TypeVar("Item")


def read_predictions(task: str, content: Mapping[str, Any], annotations: Mapping[str, AnnotatedVideo]) -> TaskPredictions:
    """Read the predictions of a task: object, point, action, sound, mcqa, grounded, joint or localisation."""
    predictions = TaskPredictions(task)
    if not content:
        predictions.remark("empty", "the file", "it predicts nothing; everything counts as empty")
    for video, item in content.items():
        if video not in annotations:
            predictions.add("unknown-video", video, "there is no such video in the annotations")
        elif task in JOINT:
            predictions.videos[video] = _joint(predictions, video, item, annotations[video])
        elif isinstance(item, Mapping) and KEYS[task] not in item and any(key in item for key in KEYS.values()):
            _missing(predictions, video)  # other tasks alone are spoken of
        else:
            _read(predictions, video, item, annotations[video])
    for part in JOINT["localisation"]:
        if task == part:
            _unknown_classes(predictions, part, predictions.videos, annotations)
        elif task == "localisation":
            videos = {name: parts[part] for name, parts in predictions.videos.items() if part in parts}
            _unknown_classes(predictions, part, videos, annotations)
    for name, video in annotations.items():
        if name not in content and video.of(task):
            _missing(predictions, name)
    return predictions


def _read(predictions: TaskPredictions, name: str, item: Any, video: AnnotatedVideo) -> None:
    """Read what is said about a video, below the task's key or not."""
    task = predictions.task
    below = item[KEYS[task]] if isinstance(item, Mapping) and KEYS[task] in item else item
    if isinstance(below, Mapping if task == "grounded" else list):
        predictions.videos[name] = _READERS[task](Findings(predictions, name), below, video)
    else:
        expected = "an object by question" if task == "grounded" else "a list"
        predictions.add("wrong-nesting", name, f"it holds a {type(below).__name__}; wanted {expected}")


def _missing(predictions: TaskPredictions, video: str) -> None:
    predictions.remark("missing-video", video, "nothing is predicted for it; it counts as empty")


def _joint(predictions: TaskPredictions, name: str, item: Any, video: AnnotatedVideo) -> dict[str, Any]:
    """Read both tasks of a video; the server of tracks takes a key only where the video has such queries (issue 31 there)."""
    parts: dict[str, Any] = {}
    keys = {KEYS[task]: task for task in JOINT[predictions.task]}
    if not isinstance(item, Mapping):
        predictions.add("wrong-nesting", name, f"it holds a {type(item).__name__}; wanted {' and '.join(keys)}")
        return parts
    for key in item.keys() - keys.keys():
        predictions.add("unknown-key", name, f"it has {key!r}; wanted {' and '.join(keys)} alone")
    for key, task in keys.items():
        what = f"{task}s"
        if key not in item:
            if video.of(task):
                predictions.remark("missing-key", name, f"it has no {key}; its {what} count as empty")
        elif predictions.task == "joint" and not video.of(task):
            predictions.add("no-queries", name, f"nobody asks for {what} of it; leave out {key}")
        elif not isinstance(item[key], list):
            predictions.add("wrong-nesting", name, f"{key} holds a {type(item[key]).__name__}; wanted a list")
        else:
            parts[task] = _READERS[task](Findings(predictions, f"{name}, {what}"), item[key], video)
    return parts


def _unknown_classes(
    predictions: TaskPredictions, task: str, videos: Mapping[str, Any], annotations: Mapping[str, AnnotatedVideo]
) -> None:
    """Remark on classes that no annotation has."""
    known = {segment.label_id for video in annotations.values() for segment in video.segments(task)}
    for video, segments in videos.items():
        other = sorted({each.label_id for each in segments} - known)
        if known and other:
            text = f"it predicts class {other[0]} ({len(other)} such), which no annotation has; it counts for nothing"
            predictions.remark("unknown-class", video, text)


class _Refused(ValueError):
    """An item is wrong."""

    def __init__(self, name: str, text: str):
        super().__init__(text)
        self.name = name


def _parsed(findings: Findings, item: str, parse: Callable[[], Item]) -> Item | None:
    """Parse an item; None where it is refused, which becomes a finding."""
    try:
        return parse()
    except _Refused as problem:
        findings.add(problem.name, item, str(problem))
        return None


def _named(what: str, entry: Any, place: int) -> str:
    return f"{what} {entry.get('id', place) if isinstance(entry, Mapping) else place}"


def _track(findings: Findings, entry: Any, kind: str, item: str, frames: int) -> PredictedTrack | None:
    """Read a track of boxes or points."""
    key, width = ("points", 2) if kind == "point" else ("bounding_boxes", 4)
    if not isinstance(entry, Mapping) or "id" not in entry or key not in entry or "frame_ids" not in entry:
        raise _Refused("missing-key", f"a track wants id, {key} and frame_ids")
    number = findings.whole_number(entry["id"], item, "id")
    try:
        at = np.array(entry["frame_ids"])
        places = np.array(entry[key], np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _Refused("no-number", f"{key} and frame_ids must be lists of numbers, of one length each") from None
    if at.size and at.dtype.kind in "US":
        raise _Refused("id-as-text", f"frame_ids are texts such as {str(at.flat[0])[:20]!r}; wanted whole numbers")
    if at.ndim != 1 or (at.size and at.dtype.kind not in "iuf"):
        raise _Refused("no-number", "frame_ids must be one list of whole numbers")
    if kind == "point":
        if places.shape == (2, len(at)):
            places = places[::-1].T
        elif places.shape == (len(at), 2) and len(at) != 2:
            raise _Refused("wrong-shape", f"points are {len(at)} pairs; wanted two lists: all y, then all x")
    places = places if places.size else np.zeros((0, width))
    if places.shape != (len(at), width):
        raise _Refused("wrong-length", f"{key} has shape {places.shape} for {len(at)} frames")
    if number is None:
        return None
    at = at.astype(np.int64) if np.isfinite(at).all() and (at == np.floor(at)).all() else np.zeros(0, np.int64)
    if len(at) != len(places):
        raise _Refused("no-number", "frame_ids are not whole numbers")
    if len(at) and (at.min() < 0 or at.max() >= frames):
        raise _Refused("frame-outside", f"frame_ids go from {at.min()} to {at.max()}; the video has 0 to {frames - 1}")
    if (np.diff(at) <= 0).any():
        raise _Refused("unsorted-frames", "frame_ids must rise, each once")
    if not np.isfinite(places).all():
        raise _Refused("not-finite", "a place is not a finite number")
    if kind != "point" and len(places) and (places[:, 2:] < places[:, :2]).any():
        raise _Refused("wrong-corners", "a box has its second corner left of or above the first; wanted x1, y1, x2, y2")
    if len(places) and np.abs(places).max() > 2:
        raise _Refused("pixels", f"places go up to {np.abs(places).max():.0f}; wanted shares of width and height, 0 to 1")
    return PredictedTrack(id=number, frames=at, places=places)


def _tracks(findings: Findings, entries: Sequence[Any], video: AnnotatedVideo, kind: str) -> list[PredictedTrack]:
    known, predicted = {track.id for track in video.of(kind)}, {}
    for place, entry in enumerate(entries):
        item = _named("track", entry, place)
        track = _parsed(findings, item, partial(_track, findings, entry, kind, item, video.metadata.frames))
        if track is None:
            continue
        if track.id not in known:
            findings.add("unknown-track", item, f"the video has tracks {min(known, default=0)} to {max(known, default=0)}")
        elif track.id in predicted:
            findings.add("twice", item, "it is predicted twice")
        else:
            predicted[track.id] = track
    for number in sorted(known - predicted.keys()):
        findings.remark("missing-track", f"track {number}", "it is not predicted; it counts as empty")
    for track in video.objects if kind == "object" else ():
        if track.id in predicted:
            lacking = np.setdiff1d(track.frames[track.start + 1 :], predicted[track.id].frames)
            if len(lacking):
                text = f"annotated frame {lacking[0]} ({len(lacking)} in all) has no box; it counts as empty"
                findings.remark("missing-frame", f"track {track.id}", text)
    return list(predicted.values())


def _grounded(findings: Findings, entries: Mapping[str, Any], video: AnnotatedVideo) -> dict[int, list[PredictedTrack]]:
    known = {question.id for question in video.grounded}
    answers: dict[int, list[PredictedTrack]] = {}
    for key, tracks in entries.items():
        item = f"question {key}"
        number = int(key) if re.fullmatch(r"-?[0-9]{1,18}", str(key)) else None
        if number not in known or number is None:
            findings.add("unknown-question", item, f"the video has grounded questions {sorted(known)}")
        elif not isinstance(tracks, list):
            findings.add("wrong-nesting", item, "wanted a list of tracks")
        else:
            answers[number] = _answer_tracks(findings, tracks, item, video.metadata.frames)
    for number in sorted(known - answers.keys()):
        findings.remark("missing-question", f"question {number}", "it is not answered; it counts as empty")
    return answers


def _answer_tracks(findings: Findings, tracks: Sequence[Any], item: str, frames: int) -> list[PredictedTrack]:
    predicted: dict[int, PredictedTrack] = {}
    for place, entry in enumerate(tracks):
        where = f"{item}, {_named('track', entry, place)}"
        track = _parsed(findings, where, partial(_track, findings, entry, "object", where, frames))
        if track is None:
            continue
        score = entry.get("score", 1.0)
        if isinstance(score, bool) or not isinstance(score, int | float) or not np.isfinite(score):
            findings.add("not-finite", where, f"score is {score!r}; wanted a finite number")
        elif track.id in predicted:
            findings.add("twice", where, "it is predicted twice")
        else:
            predicted[track.id] = PredictedTrack(id=track.id, frames=track.frames, places=track.places, score=float(score))
    return list(predicted.values())


def _segment(entry: Any, seconds: float) -> PredictedSegment:
    try:
        label, score = int(entry["label"]), float(entry["score"])
        start, end = map(float, entry["timestamps"])
    except (KeyError, TypeError, ValueError, OverflowError):
        text = "a segment wants label (the class id), score and timestamps [start, end] in seconds"
        raise _Refused("missing-key", text) from None
    if not np.isfinite([score, start, end]).all():
        raise _Refused("not-finite", f"score {score}, timestamps {start} to {end}: wanted finite numbers")
    if end < start:
        raise _Refused("backwards", f"it goes from {start} to {end} s")
    if start > 10 * seconds + 100:
        raise _Refused("microseconds", f"it begins at {start:g} in a video of {seconds:.1f} s; wanted seconds")
    return PredictedSegment(label_id=label, score=score, start_s=start, end_s=end)


def _segments(findings: Findings, entries: Sequence[Any], video: AnnotatedVideo) -> list[PredictedSegment]:
    seconds = video.metadata.seconds
    parsed = (_parsed(findings, f"segment {place}", partial(_segment, entry, seconds)) for place, entry in enumerate(entries))
    return [segment for segment in parsed if segment is not None]


def _answers(findings: Findings, entries: Sequence[Any], video: AnnotatedVideo) -> list[PredictedAnswer]:
    known = {question.id: question for question in video.questions}
    answers: dict[int, PredictedAnswer] = {}
    for place, entry in enumerate(entries):
        item = _named("question", entry, place)
        if not isinstance(entry, Mapping) or "id" not in entry or "answer_id" not in entry:
            findings.add("missing-key", item, "an answer wants id and answer_id")
            continue
        number, answer = (findings.whole_number(entry[key], item, key) for key in ("id", "answer_id"))
        if number is None or answer is None:
            continue
        options = known[number].options if number in known else ()
        if number not in known:
            findings.add("unknown-question", item, f"the video has questions {sorted(known)}")
        elif number in answers:
            findings.add("twice", item, "it is answered twice")
        elif not 0 <= answer < len(options):
            findings.add("unknown-option", item, f"answer_id is {answer}; the question has options 0 to {len(options) - 1}")
        else:
            if len(set(options)) < len(options):
                findings.remark("duplicate-options", item, "two of its options are the same; answer_id says which is meant")
            if "answer" not in entry:
                findings.remark("missing-text", item, "the server also wants the text of the option as answer")
            elif entry["answer"] != options[answer]:
                findings.add("other-text", item, f"answer is {entry['answer']!r}, but option {answer} is {options[answer]!r}")
            text = entry.get("answer")
            answers[number] = PredictedAnswer(id=number, answer_id=answer, answer=None if text is None else str(text))
    for number in sorted(known.keys() - answers.keys()):
        findings.remark("missing-question", f"question {number}", "it is not answered; it counts as wrong")
    return list(answers.values())


_READERS: Mapping[str, Callable[[Findings, Any, AnnotatedVideo], Any]] = {
    "object": partial(_tracks, kind="object"),
    "point": partial(_tracks, kind="point"),
    "action": _segments,
    "sound": _segments,
    "mcqa": _answers,
    "grounded": _grounded,
}


DIGITS = 6


def nested(task: str, predictions: TaskPredictions, annotations: Mapping[str, AnnotatedVideo]) -> Iterator[tuple[str, Any]]:
    """Yield the entry of each video."""
    for name, items in predictions.videos.items():
        if task in JOINT:
            yield name, {KEYS[part]: [_WRITERS[part](each) for each in listed] for part, listed in items.items()}
        elif task == "grounded":
            yield name, below_video(task, {str(number): _answer_entries(tracks) for number, tracks in items.items()})
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


def _segment_entry(each: PredictedSegment) -> dict[str, Any]:
    return segment_row(each.label_id, str(each.score), each.start_s, each.end_s)


def _answer_entries(tracks: list[PredictedTrack]) -> list[dict[str, Any]]:
    return [{**_box_track(track), "score": track.score} for track in best_tracks(tracks)]


_WRITERS = {"object": _box_track, "point": _point_track, "action": _segment_entry, "sound": _segment_entry}


def _rounded(values: np.ndarray) -> list[list[float]]:
    return [[round(value, DIGITS) for value in row] for row in values.astype(float).tolist()]
