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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tapetum.errors import BadInput
from tapetum.perception_test.types import Video

KEYS = {
    "object": "object_tracking",
    "point": "point_tracking",
    "action": "action_localisation",
    "sound": "sound_localisation",
    "mcqa": "mc_question",
    "grounded": "grounded_question",
}
"""Task to its key in annotations and predictions."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with predictions."""

    name: str
    """Its kind, such as unknown-video."""
    where: str
    """Video and item."""
    text: str
    """What was found, and what was wanted."""
    error: bool = True
    """The server refuses it; else it counts as empty."""

    def __str__(self) -> str:
        return f"{self.where}: {self.text} [{self.name}]"


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """Boxes or points of a track in some frames."""

    id: int
    frames: Int[np.ndarray, " n"]
    places: Float[np.ndarray, "n k"]
    """x1, y1, x2, y2 or x, y as shares."""
    score: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Found:
    """A predicted action or sound."""

    label_id: int
    score: float
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """An answered question."""

    id: int
    answer_id: int
    answer: str | None


@dataclass
class Predictions:
    """Predictions of one task, by video, and what is wrong with them."""

    task: str
    videos: dict[str, Any] = field(default_factory=dict)
    """Lists of Tracked, Found or Chosen; of grounded a dict from question id to a list of Tracked."""
    findings: list[Finding] = field(default_factory=list)

    def refuse(self) -> None:
        """Raise BadInput for the first error, and say how many there are."""
        errors = [finding for finding in self.findings if finding.error]
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise BadInput(f"{errors[0]}{more}; tapetum submit perception-test --check lists all")


def read_predictions(task: str, content: Mapping[str, Any], annotations: Mapping[str, Video]) -> Predictions:
    """Read the predictions of a task: object, point, action, sound, mcqa or grounded."""
    found = Predictions(task)
    if not content:
        found.findings.append(Finding("empty", "the file", "it predicts nothing; everything counts as empty", error=False))
    readers = {"object": _objects, "point": _points, "mcqa": _answers, "grounded": _grounded}
    read = readers.get(task, _segments)
    for video, item in content.items():
        if video not in annotations:
            found.findings.append(Finding("unknown-video", video, "there is no such video in the annotations"))
            continue
        below = item.get(KEYS[task]) if isinstance(item, Mapping) and KEYS[task] in item else item
        wanted = Mapping if task == "grounded" else list
        if not isinstance(below, wanted):
            what = f"it holds a {type(below).__name__}; wanted {'an object by question' if task == 'grounded' else 'a list'}"
            found.findings.append(Finding("wrong-nesting", video, what))
            continue
        found.videos[video] = read(_Reader(found, video), below, annotations[video])
    if task in ("action", "sound"):
        _unknown_classes(found, annotations)
    for video, truth in annotations.items():
        if video not in content and asked(task, truth):
            found.findings.append(
                Finding("missing-video", video, "nothing is predicted for it; it counts as empty", error=False)
            )
    return found


def _unknown_classes(found: Predictions, annotations: Mapping[str, Video]) -> None:
    """Remark on classes that no annotation has."""
    listed = (video.actions if found.task == "action" else video.sounds for video in annotations.values())
    known = {segment.label_id for segments in listed for segment in segments}
    for video, segments in found.videos.items():
        other = sorted({each.label_id for each in segments} - known)
        if known and other:
            text = f"it predicts class {other[0]} ({len(other)} such), which no annotation has; it counts for nothing"
            found.findings.append(Finding("unknown-class", video, text, error=False))


def asked(task: str, video: Video) -> bool:
    """Tell whether a video has anything of a task."""
    listed = {"object": video.objects, "point": video.points, "action": video.actions, "sound": video.sounds}
    return bool((listed | {"mcqa": video.questions, "grounded": video.grounded})[task])


class _Reader:
    """Collects the findings of a video."""

    def __init__(self, found: Predictions, video: str):
        self.found, self.video = found, video

    def add(self, name: str, item: str, text: str, error: bool = True) -> None:
        where = f"{self.video}, {item}" if item else self.video
        self.found.findings.append(Finding(name, where, text, error))

    def whole_number(self, value: Any, item: str, what: str) -> int | None:
        """Take a whole number; a text that says one is found, for ids as strings are a common slip."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            self.add("no-number", item, f"{what} is {value!r}; wanted a whole number")
            return None
        if isinstance(value, str):
            if value.strip().lstrip("-").isdigit():
                self.add("id-as-text", item, f"{what} is the text {value!r}; wanted the number {int(value)}")
            else:
                self.add("no-number", item, f"{what} is {value!r}; wanted a whole number")
            return None
        if value != int(value):
            self.add("no-number", item, f"{what} is {value}; wanted a whole number")
            return None
        return int(value)

    def track(self, entry: Any, kind: str, item: str, frames: int) -> Tracked | None:
        """Take a track of boxes or points."""
        key, width = ("points", 2) if kind == "point" else ("bounding_boxes", 4)
        if not isinstance(entry, Mapping) or "id" not in entry or key not in entry or "frame_ids" not in entry:
            self.add("missing-key", item, f"a track wants id, {key} and frame_ids")
            return None
        number = self.whole_number(entry["id"], item, "id")
        try:
            at = np.array(entry["frame_ids"])
            places = np.array(entry[key], np.float64)
        except (TypeError, ValueError):
            self.add("no-number", item, f"{key} and frame_ids must be lists of numbers, of one length each")
            return None
        if kind == "point":
            if places.shape == (2, len(at)):
                places = places[::-1].T
            elif places.shape == (len(at), 2) and len(at) != 2:
                self.add("wrong-shape", item, f"points are {len(at)} pairs; wanted two lists: all y, then all x")
                return None
        places = places if places.size else np.zeros((0, width))
        if places.shape != (len(at), width):
            self.add("wrong-length", item, f"{key} has shape {places.shape} for {len(at)} frames")
            return None
        if number is None:
            return None
        at = at.astype(np.int64) if at.size and np.equal(np.mod(at, 1), 0).all() else np.zeros(0, np.int64)
        if len(at) != len(places):
            self.add("no-number", item, "frame_ids are not whole numbers")
            return None
        if len(at) and (at.min() < 0 or at.max() >= frames):
            self.add("frame-outside", item, f"frame_ids go from {at.min()} to {at.max()}; the video has 0 to {frames - 1}")
            return None
        if (np.diff(at) <= 0).any():
            self.add("unsorted-frames", item, "frame_ids must rise, each once")
            return None
        if not np.isfinite(places).all():
            self.add("not-finite", item, "a place is not a finite number")
            return None
        if kind != "point" and len(places) and (places[:, 2:] < places[:, :2]).any():
            self.add("wrong-corners", item, "a box has its second corner left of or above the first; wanted x1, y1, x2, y2")
            return None
        if len(places) and np.abs(places).max() > 2:
            self.add("pixels", item, f"places go up to {np.abs(places).max():.0f}; wanted shares of width and height, 0 to 1")
            return None
        return Tracked(id=number, frames=at, places=places)


def _objects(reader: _Reader, entries: Sequence[Any], video: Video, kind: str = "object") -> list[Tracked]:
    truth = video.points if kind == "point" else video.objects
    known, found = {track.id for track in truth}, {}
    for place, entry in enumerate(entries):
        item = f"track {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        track = reader.track(entry, kind, item, video.metadata.frames)
        if track is None:
            continue
        if track.id not in known:
            reader.add("unknown-track", item, f"the video has tracks {min(known, default=0)} to {max(known, default=0)}")
        elif track.id in found:
            reader.add("twice", item, "it is predicted twice")
        else:
            found[track.id] = track
    for number in sorted(known - found.keys()):
        reader.add("missing-track", f"track {number}", "it is not predicted; it counts as empty", error=False)
    if kind == "object":
        for track in video.objects:
            if track.id in found:
                lacking = np.setdiff1d(track.frames[track.start + 1 :], found[track.id].frames)
                if len(lacking):
                    text = f"annotated frame {lacking[0]} ({len(lacking)} in all) has no box; it counts as empty"
                    reader.add("missing-frame", f"track {track.id}", text, error=False)
    return list(found.values())


def _points(reader: _Reader, entries: Sequence[Any], video: Video) -> list[Tracked]:
    return _objects(reader, entries, video, "point")


def _segments(reader: _Reader, entries: Sequence[Any], video: Video) -> list[Found]:
    found = []
    for place, entry in enumerate(entries):
        item = f"segment {place}"
        try:
            label, score = int(entry["label"]), float(entry["score"])
            start, end = map(float, entry["timestamps"])
        except (KeyError, TypeError, ValueError):
            reader.add(
                "missing-key", item, "a segment wants label (the class id), score and timestamps [start, end] in seconds"
            )
            continue
        if not np.isfinite([score, start, end]).all():
            reader.add("not-finite", item, f"score {score}, timestamps {start} to {end}: wanted finite numbers")
        elif end < start:
            reader.add("backwards", item, f"it goes from {start} to {end} s")
        elif start > 10 * video.metadata.seconds + 100:
            reader.add(
                "microseconds", item, f"it begins at {start:g} in a video of {video.metadata.seconds:.1f} s; wanted seconds"
            )
        else:
            found.append(Found(label_id=label, score=score, start_s=start, end_s=end))
    return found


def _answers(reader: _Reader, entries: Sequence[Any], video: Video) -> list[Chosen]:
    known = {question.id: question for question in video.questions}
    found: dict[int, Chosen] = {}
    for place, entry in enumerate(entries):
        item = f"question {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        if not isinstance(entry, Mapping) or "id" not in entry or "answer_id" not in entry:
            reader.add("missing-key", item, "an answer wants id and answer_id")
            continue
        number, answer = (reader.whole_number(entry[key], item, key) for key in ("id", "answer_id"))
        if number is None or answer is None:
            continue
        if number not in known:
            reader.add("unknown-question", item, f"the video has questions {sorted(known)}")
        elif number in found:
            reader.add("twice", item, "it is answered twice")
        elif not 0 <= answer < len(known[number].options):
            reader.add(
                "unknown-option", item, f"answer_id is {answer}; the question has options 0 to {len(known[number].options) - 1}"
            )
        else:
            if len(set(known[number].options)) < len(known[number].options):
                reader.add(
                    "duplicate-options", item, "two of its options are the same; answer_id says which is meant", error=False
                )
            _text(reader, entry, item, known[number].options, answer)
            said = entry.get("answer")
            found[number] = Chosen(id=number, answer_id=answer, answer=None if said is None else str(said))
    for number in sorted(known.keys() - found.keys()):
        reader.add("missing-question", f"question {number}", "it is not answered; it counts as wrong", error=False)
    return list(found.values())


def _text(reader: _Reader, entry: Mapping[str, Any], item: str, options: tuple[str, ...], answer: int) -> None:
    if "answer" not in entry:
        reader.add("missing-text", item, "the server also wants the text of the option as answer", error=False)
    elif entry["answer"] != options[answer]:
        reader.add("other-text", item, f"answer is {entry['answer']!r}, but option {answer} is {options[answer]!r}")


def _grounded(reader: _Reader, entries: Mapping[str, Any], video: Video) -> dict[int, list[Tracked]]:
    known = {question.id for question in video.grounded}
    found: dict[int, list[Tracked]] = {}
    for key, tracks in entries.items():
        item = f"question {key}"
        number = int(key) if str(key).lstrip("-").isdigit() else None
        if number not in known or number is None:
            reader.add("unknown-question", item, f"the video has grounded questions {sorted(known)}")
            continue
        if not isinstance(tracks, list):
            reader.add("wrong-nesting", item, "wanted a list of tracks")
            continue
        found[number] = _answer_tracks(reader, tracks, item, video.metadata.frames)
    for number in sorted(known - found.keys()):
        reader.add("missing-question", f"question {number}", "it is not answered; it counts as empty", error=False)
    return found


def _answer_tracks(reader: _Reader, tracks: Sequence[Any], item: str, frames: int) -> list[Tracked]:
    found: dict[int, Tracked] = {}
    for place, entry in enumerate(tracks):
        where = f"{item}, track {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        track = reader.track(entry, "object", where, frames)
        if track is None:
            continue
        score = entry.get("score", 1.0)
        if isinstance(score, bool) or not isinstance(score, int | float) or not np.isfinite(score):
            reader.add("not-finite", where, f"score is {score!r}; wanted a finite number")
        elif track.id in found:
            reader.add("twice", where, "it is predicted twice")
        else:
            found[track.id] = Tracked(id=track.id, frames=track.frames, places=track.places, score=float(score))
    return list(found.values())
