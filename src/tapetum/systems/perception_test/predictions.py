"""Predictions in the forms that the servers of the Perception Test take (notebooks, README): read, with findings, and written.

    object     {video: [{id, bounding_boxes [[x1, y1, x2, y2] ...], frame_ids}]}
    point      {video: {point_tracking: [{id, points [[ys], [xs]], frame_ids}]}}
    action     {video: {action_localisation: [{label "class id", score, timestamps [s, e] in SECONDS}]}}; sound likewise
    mcqa       {video: [{id, answer_id, answer}]}, or below mc_question
    grounded   {video: {grounded_question: {question id: [{id, score, bounding_boxes, frame_ids}]}}}
    joint      {video: {object_tracking: [...], point_tracking: [...]}}, of 2025

The list of a video may stand under its key or directly under the video, whatever the task, for copies of the scorers differ.
Every finding has a name, and is an error (the server, or sense, refuses it) or a remark (counted as empty).

What is written is what is scored: of object tracks all predicted frames (the servers keep those they want), of answers at most
ten tracks. Places have six digits, of which the benchmark's rasters see three.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tapetum.systems.perception_test.track_scores import best_tracks
from tapetum.systems.perception_test.types import (
    JOINT,
    KEYS,
    AnnotatedVideo,
    ChoiceQuestion,
    InvalidItem,
    PredictedSegment,
    PredictedTrack,
    TaskPredictions,
    below_video,
)


def read_predictions(task: str, content: Mapping[str, Any], annotations: Mapping[str, AnnotatedVideo]) -> TaskPredictions:
    """Read the predictions of a task: object, point, action, sound, mcqa, grounded or joint."""
    predictions = TaskPredictions(task)
    if not content:
        predictions.add("empty", "the file", "it predicts nothing; everything counts as empty", error=False)
    missing = [name for name, video in annotations.items() if name not in content and video.of(task)]
    for name, item in content.items():
        if name not in annotations:
            predictions.add("unknown-video", name, "there is no such video in the annotations")
            continue
        reader = _VideoReader(predictions, name, annotations[name])
        if task == "joint":
            predictions.videos[name] = reader.joint(item)
        elif isinstance(item, Mapping) and KEYS[task] not in item and any(key in item for key in KEYS.values()):
            missing.append(name)  # other tasks alone are spoken of
        elif (value := reader.task(task, item.get(KEYS[task], item) if isinstance(item, Mapping) else item)) is not None:
            predictions.videos[name] = value
    for name in missing:
        predictions.add("missing-video", name, "nothing is predicted for it; it counts as empty", error=False)
    if task in ("action", "sound"):
        known = {segment.label_id for video in annotations.values() for segment in video.of(task)}
        for name, segments in predictions.videos.items():
            if known and (other := sorted({each.label_id for each in segments} - known)):
                text = f"it predicts class {other[0]} ({len(other)} such), which no annotation has; it counts for nothing"
                predictions.add("unknown-class", name, text, error=False)
    return predictions


class _VideoReader:
    """Reads what is predicted for a video, and records what is wrong with it."""

    def __init__(self, predictions: TaskPredictions, name: str, video: AnnotatedVideo):
        self.predictions, self.name, self.video = predictions, name, video

    def add(self, name: str, item: str, text: str, error: bool = True) -> None:
        self.predictions.add(name, f"{self.name}, {item}" if item else self.name, text, error)

    def task(self, task: str, content: Any) -> Any:
        """Read a list (for grounded a mapping); None if it is something else."""
        if task == "grounded" and isinstance(content, Mapping):
            return self.grounded(content)
        if task == "grounded" or not isinstance(content, list):
            expected = "an object by question" if task == "grounded" else "a list"
            self.add("wrong-nesting", "", f"it holds a {type(content).__name__}; wanted {expected}")
            return None
        if task == "mcqa":
            return self.answers(content)
        return self.tracks(content, task) if task in JOINT else self.segments(content)

    def joint(self, item: Any) -> dict[str, Any]:
        """Read objects and points; the server takes a key only where the video has such queries (issue 31 there)."""
        keys = {KEYS[task]: task for task in JOINT}
        if not isinstance(item, Mapping):
            self.add("wrong-nesting", "", f"it holds a {type(item).__name__}; wanted {' and '.join(keys)}")
            return {}
        for key in item.keys() - keys.keys():
            self.add("unknown-key", "", f"it has {key!r}; wanted {' and '.join(keys)} alone")
        parts: dict[str, Any] = {}
        for key, task in keys.items():
            if key not in item:
                if self.video.of(task):
                    self.add("missing-key", "", f"it has no {key}; its {task}s count as empty", error=False)
            elif not self.video.of(task):
                self.add("no-queries", "", f"nobody asks for {task}s of it; leave out {key}")
            elif (value := self.task(task, item[key])) is not None:
                parts[task] = value
        return parts

    def each(self, entries: Sequence[Any], what: str, read: Callable[[Any], tuple[int, Any]]) -> dict[int, Any]:
        """Read entries by their id; those that are wrong, or come twice, become findings."""
        items: dict[int, Any] = {}
        for place, entry in enumerate(entries):
            try:
                number, item = read(entry)
                if number in items:
                    raise InvalidItem("twice", "it is predicted twice")
                items[number] = item
            except InvalidItem as problem:
                shown = entry.get("id", place) if isinstance(entry, Mapping) else place
                self.add(problem.name, f"{what} {shown}", str(problem))
        return items

    def tracks(self, entries: Sequence[Any], task: str) -> list[PredictedTrack]:
        known = {track.id: track for track in self.video.of(task)}

        def read(entry: Any) -> tuple[int, PredictedTrack]:
            track = _track(entry, task, self.video.metadata.frames)
            if track.id not in known:
                raise InvalidItem("unknown-track", f"the video has tracks {min(known, default=0)} to {max(known, default=0)}")
            return track.id, track

        predicted = self.each(entries, "track", read)
        for number in sorted(known.keys() - predicted.keys()):
            self.add("missing-track", f"track {number}", "it is not predicted; it counts as empty", error=False)
        for track in self.video.objects if task == "object" else ():
            if track.id in predicted:
                lacking = np.setdiff1d(track.frames[track.start + 1 :], predicted[track.id].frames)
                if len(lacking):
                    text = f"annotated frame {lacking[0]} ({len(lacking)} in all) has no box; it counts as empty"
                    self.add("missing-frame", f"track {track.id}", text, error=False)
        return list(predicted.values())

    def segments(self, entries: Sequence[Any]) -> list[PredictedSegment]:
        places = iter(range(len(entries)))
        read = partial(_segment, seconds=self.video.metadata.seconds)
        return list(self.each(entries, "segment", lambda entry: (next(places), read(entry))).values())

    def answers(self, entries: Sequence[Any]) -> dict[int, int]:
        known = {question.id: question for question in self.video.questions}

        def read(entry: Any) -> tuple[int, int]:
            if not isinstance(entry, Mapping) or not {"id", "answer_id"} <= entry.keys():
                raise InvalidItem("missing-key", "an answer wants id and answer_id")
            number, answer = (_whole_number(entry[key], key) for key in ("id", "answer_id"))
            if number not in known:
                raise InvalidItem("unknown-question", f"the video has questions {sorted(known)}")
            options = known[number].options
            if not 0 <= answer < len(options):
                text = f"answer_id is {answer}; the question has options 0 to {len(options) - 1}"
                raise InvalidItem("unknown-option", text)
            if len(set(options)) < len(options):
                text = "two of its options are the same; answer_id says which is meant"
                self.add("duplicate-options", f"question {number}", text, error=False)
            if "answer" not in entry:
                text = "the server also wants the text of the option as answer"
                self.add("missing-text", f"question {number}", text, error=False)
            elif entry["answer"] != options[answer]:
                text = f"answer is {entry['answer']!r}, but option {answer} is {options[answer]!r}"
                raise InvalidItem("other-text", text)
            return number, answer

        answers = self.each(entries, "question", read)
        for number in sorted(known.keys() - answers.keys()):
            self.add("missing-question", f"question {number}", "it is not answered; it counts as wrong", error=False)
        return answers

    def grounded(self, entries: Mapping[str, Any]) -> dict[int, list[PredictedTrack]]:
        known = {question.id for question in self.video.grounded}
        answers: dict[int, list[PredictedTrack]] = {}
        for key, tracks in entries.items():
            number = int(key) if re.fullmatch(r"-?[0-9]{1,18}", str(key)) else None
            if number is None or number not in known:
                self.add("unknown-question", f"question {key}", f"the video has grounded questions {sorted(known)}")
            elif not isinstance(tracks, list):
                self.add("wrong-nesting", f"question {key}", "wanted a list of tracks")
            else:
                read = partial(_scored_track, frames=self.video.metadata.frames)
                answers[number] = list(self.each(tracks, f"question {key}, track", read).values())
        for number in sorted(known - answers.keys()):
            self.add("missing-question", f"question {number}", "it is not answered; it counts as empty", error=False)
        return answers


def _whole_number(value: Any, what: str) -> int:
    """Check a whole number; ids as strings, a common slip, have a finding of their own."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]+\s*", value):
        raise InvalidItem("id-as-text", f"{what} is the text {value!r}; wanted the number {int(value)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise InvalidItem("no-number", f"{what} is {value!r}; wanted a whole number")
    return int(value)


def _track(entry: Any, task: str, frames: int) -> PredictedTrack:
    key, width = ("points", 2) if task == "point" else ("bounding_boxes", 4)
    if not isinstance(entry, Mapping) or not {"id", key, "frame_ids"} <= entry.keys():
        raise InvalidItem("missing-key", f"a track wants id, {key} and frame_ids")
    number = _whole_number(entry["id"], "id")
    try:
        at, places = np.array(entry["frame_ids"]), np.array(entry[key], np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InvalidItem("no-number", f"{key} and frame_ids must be lists of numbers, of one length each") from None
    if at.size and at.dtype.kind in "US":
        raise InvalidItem("id-as-text", f"frame_ids are texts such as {str(at.flat[0])[:20]!r}; wanted whole numbers")
    if at.ndim != 1 or at.dtype.kind not in "iuf" or not np.isfinite(at).all() or (at != np.floor(at)).any():
        raise InvalidItem("no-number", "frame_ids must be one list of whole numbers")
    if task == "point" and places.ndim == 2:
        if places.shape == (len(at), 2) and len(at) != 2:
            raise InvalidItem("wrong-shape", f"points are {len(at)} pairs; wanted two lists: all y, then all x")
        places = places[::-1].T
    places = places if places.size else np.zeros((0, width))
    if places.shape != (len(at), width):
        raise InvalidItem("wrong-length", f"{key} has shape {places.shape} for {len(at)} frames")
    if len(at) and (at.min() < 0 or at.max() >= frames):
        raise InvalidItem("frame-outside", f"frame_ids go from {at.min()} to {at.max()}; the video has 0 to {frames - 1}")
    if (np.diff(at) <= 0).any():
        raise InvalidItem("unsorted-frames", "frame_ids must rise, each once")
    if not np.isfinite(places).all():
        raise InvalidItem("not-finite", "a place is not a finite number")
    if task != "point" and (places[:, 2:] < places[:, :2]).any():
        raise InvalidItem("wrong-corners", "a box has its second corner left of or above the first; wanted x1, y1, x2, y2")
    if (most := np.abs(places).max(initial=0)) > 2:
        raise InvalidItem("pixels", f"places go up to {most:.0f}; wanted shares of width and height, 0 to 1")
    return PredictedTrack(id=number, frames=at.astype(np.int64), places=places)


def _scored_track(entry: Any, frames: int) -> tuple[int, PredictedTrack]:
    track, score = _track(entry, "object", frames), entry.get("score", 1.0)
    if isinstance(score, bool) or not isinstance(score, int | float) or not np.isfinite(score):
        raise InvalidItem("not-finite", f"score is {score!r}; wanted a finite number")
    return track.id, PredictedTrack(id=track.id, frames=track.frames, places=track.places, score=float(score))


def _segment(entry: Any, seconds: float) -> PredictedSegment:
    try:
        label, score = int(entry["label"]), float(entry["score"])
        start, end = map(float, entry["timestamps"])
    except (KeyError, TypeError, ValueError, OverflowError):
        text = "a segment wants label (the class id), score and timestamps [start, end] in seconds"
        raise InvalidItem("missing-key", text) from None
    if not np.isfinite([score, start, end]).all():
        raise InvalidItem("not-finite", f"score {score}, timestamps {start} to {end}: wanted finite numbers")
    if end < start:
        raise InvalidItem("backwards", f"it goes from {start} to {end} s")
    if start > 10 * seconds + 100:
        raise InvalidItem("microseconds", f"it begins at {start:g} in a video of {seconds:.1f} s; wanted seconds")
    return PredictedSegment(label_id=label, score=score, start_s=start, end_s=end)


def nested(task: str, predictions: TaskPredictions, annotations: Mapping[str, AnnotatedVideo]) -> Iterator[tuple[str, Any]]:
    """Yield the entry of each video."""
    for name, items in predictions.videos.items():
        if task == "joint":
            yield name, {KEYS[part]: [_as_row(each) for each in tracks] for part, tracks in items.items()}
        elif task == "grounded":
            answers = {
                str(number): [{**_as_row(track), "score": track.score} for track in best_tracks(tracks)]
                for number, tracks in items.items()
            }
            yield name, below_video(task, answers)
        elif task == "mcqa":
            questions = {question.id: question for question in annotations[name].questions}
            yield name, [answer_row(questions[number], chosen) for number, chosen in items.items()]
        else:
            yield name, below_video(task, [_as_row(each) for each in items])


def _as_row(item: PredictedTrack | PredictedSegment) -> dict[str, Any]:
    if isinstance(item, PredictedSegment):
        return segment_row(item.label_id, str(item.score), item.start_s, item.end_s)
    return track_row(item.id, item.frames, item.places)


def track_row(number: int, frames: Int[np.ndarray, " n"], places: Float[np.ndarray, "n k"], **more: Any) -> dict[str, Any]:
    """Write a track of boxes, or of points (all y, then all x), in the benchmark's form; places are shares."""
    key, values = ("points", places[:, ::-1].T) if places.shape[1] == 2 else ("bounding_boxes", places)
    rounded = [[round(value, 6) for value in row] for row in values.astype(float).tolist()]
    return {"id": number, **more, key: rounded, "frame_ids": frames.tolist()}


def segment_row(label: int, score: str, start_s: float, end_s: float) -> dict[str, Any]:
    """Write a segment in the benchmark's form: class and score are texts, times seconds."""
    return {"label": str(label), "score": score, "timestamps": [round(start_s, 4), round(end_s, 4)]}


def answer_row(question: ChoiceQuestion, chosen: int) -> dict[str, Any]:
    """Write an answer in the benchmark's form."""
    return {"id": question.id, "answer_id": chosen, "answer": question.options[chosen]}
