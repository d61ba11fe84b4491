"""Parsing of the items of predictions: tracks of boxes and points, actions and sounds, answers; see `predictions`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tapetum.systems.perception_test.predicted import FindingCollector, PredictedAnswer, PredictedSegment, PredictedTrack
from tapetum.systems.perception_test.types import AnnotatedVideo


def read_track(findings: FindingCollector, entry: Any, kind: str, item: str, frames: int) -> PredictedTrack | None:
    """Read a track of boxes or points."""
    key, width = ("points", 2) if kind == "point" else ("bounding_boxes", 4)
    if not isinstance(entry, Mapping) or "id" not in entry or key not in entry or "frame_ids" not in entry:
        findings.add("missing-key", item, f"a track wants id, {key} and frame_ids")
        return None
    number = findings.whole_number(entry["id"], item, "id")
    try:
        at = np.array(entry["frame_ids"])
        places = np.array(entry[key], np.float64)
    except (TypeError, ValueError, OverflowError):
        findings.add("no-number", item, f"{key} and frame_ids must be lists of numbers, of one length each")
        return None
    if at.size and at.dtype.kind in "US":
        findings.add("id-as-text", item, f"frame_ids are texts such as {str(at.flat[0])[:20]!r}; wanted whole numbers")
        return None
    if at.ndim != 1 or (at.size and at.dtype.kind not in "iuf"):
        findings.add("no-number", item, "frame_ids must be one list of whole numbers")
        return None
    if kind == "point":
        if places.shape == (2, len(at)):
            places = places[::-1].T
        elif places.shape == (len(at), 2) and len(at) != 2:
            findings.add("wrong-shape", item, f"points are {len(at)} pairs; wanted two lists: all y, then all x")
            return None
    places = places if places.size else np.zeros((0, width))
    if places.shape != (len(at), width):
        findings.add("wrong-length", item, f"{key} has shape {places.shape} for {len(at)} frames")
        return None
    if number is None:
        return None
    at = at.astype(np.int64) if np.isfinite(at).all() and (at == np.floor(at)).all() else np.zeros(0, np.int64)
    if len(at) != len(places):
        findings.add("no-number", item, "frame_ids are not whole numbers")
        return None
    if len(at) and (at.min() < 0 or at.max() >= frames):
        findings.add("frame-outside", item, f"frame_ids go from {at.min()} to {at.max()}; the video has 0 to {frames - 1}")
        return None
    if (np.diff(at) <= 0).any():
        findings.add("unsorted-frames", item, "frame_ids must rise, each once")
        return None
    if not np.isfinite(places).all():
        findings.add("not-finite", item, "a place is not a finite number")
        return None
    if kind != "point" and len(places) and (places[:, 2:] < places[:, :2]).any():
        findings.add("wrong-corners", item, "a box has its second corner left of or above the first; wanted x1, y1, x2, y2")
        return None
    if len(places) and np.abs(places).max() > 2:
        findings.add("pixels", item, f"places go up to {np.abs(places).max():.0f}; wanted shares of width and height, 0 to 1")
        return None
    return PredictedTrack(id=number, frames=at, places=places)


def read_objects(
    findings: FindingCollector, entries: Sequence[Any], video: AnnotatedVideo, kind: str = "object"
) -> list[PredictedTrack]:
    truth = video.points if kind == "point" else video.objects
    known, predicted = {track.id for track in truth}, {}
    for place, entry in enumerate(entries):
        item = f"track {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        track = read_track(findings, entry, kind, item, video.metadata.frames)
        if track is None:
            continue
        if track.id not in known:
            findings.add("unknown-track", item, f"the video has tracks {min(known, default=0)} to {max(known, default=0)}")
        elif track.id in predicted:
            findings.add("twice", item, "it is predicted twice")
        else:
            predicted[track.id] = track
    for number in sorted(known - predicted.keys()):
        findings.add("missing-track", f"track {number}", "it is not predicted; it counts as empty", error=False)
    if kind == "object":
        for track in video.objects:
            if track.id in predicted:
                lacking = np.setdiff1d(track.frames[track.start + 1 :], predicted[track.id].frames)
                if len(lacking):
                    text = f"annotated frame {lacking[0]} ({len(lacking)} in all) has no box; it counts as empty"
                    findings.add("missing-frame", f"track {track.id}", text, error=False)
    return list(predicted.values())


def read_points(findings: FindingCollector, entries: Sequence[Any], video: AnnotatedVideo) -> list[PredictedTrack]:
    return read_objects(findings, entries, video, "point")


def read_grounded(
    findings: FindingCollector, entries: Mapping[str, Any], video: AnnotatedVideo
) -> dict[int, list[PredictedTrack]]:
    known = {question.id for question in video.grounded}
    answers: dict[int, list[PredictedTrack]] = {}
    for key, tracks in entries.items():
        item = f"question {key}"
        number = int(key) if re.fullmatch(r"-?[0-9]{1,18}", str(key)) else None
        if number not in known or number is None:
            findings.add("unknown-question", item, f"the video has grounded questions {sorted(known)}")
            continue
        if not isinstance(tracks, list):
            findings.add("wrong-nesting", item, "wanted a list of tracks")
            continue
        answers[number] = _answer_tracks(findings, tracks, item, video.metadata.frames)
    for number in sorted(known - answers.keys()):
        findings.add("missing-question", f"question {number}", "it is not answered; it counts as empty", error=False)
    return answers


def _answer_tracks(findings: FindingCollector, tracks: Sequence[Any], item: str, frames: int) -> list[PredictedTrack]:
    predicted: dict[int, PredictedTrack] = {}
    for place, entry in enumerate(tracks):
        where = f"{item}, track {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        track = read_track(findings, entry, "object", where, frames)
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


def read_segments(findings: FindingCollector, entries: Sequence[Any], video: AnnotatedVideo) -> list[PredictedSegment]:
    segments = []
    for place, entry in enumerate(entries):
        item = f"segment {place}"
        try:
            label, score = int(entry["label"]), float(entry["score"])
            start, end = map(float, entry["timestamps"])
        except (KeyError, TypeError, ValueError, OverflowError):
            findings.add(
                "missing-key", item, "a segment wants label (the class id), score and timestamps [start, end] in seconds"
            )
            continue
        if not np.isfinite([score, start, end]).all():
            findings.add("not-finite", item, f"score {score}, timestamps {start} to {end}: wanted finite numbers")
        elif end < start:
            findings.add("backwards", item, f"it goes from {start} to {end} s")
        elif start > 10 * video.metadata.seconds + 100:
            findings.add(
                "microseconds", item, f"it begins at {start:g} in a video of {video.metadata.seconds:.1f} s; wanted seconds"
            )
        else:
            segments.append(PredictedSegment(label_id=label, score=score, start_s=start, end_s=end))
    return segments


def read_answers(findings: FindingCollector, entries: Sequence[Any], video: AnnotatedVideo) -> list[PredictedAnswer]:
    known = {question.id: question for question in video.questions}
    answers: dict[int, PredictedAnswer] = {}
    for place, entry in enumerate(entries):
        item = f"question {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        if not isinstance(entry, Mapping) or "id" not in entry or "answer_id" not in entry:
            findings.add("missing-key", item, "an answer wants id and answer_id")
            continue
        number, answer = (findings.whole_number(entry[key], item, key) for key in ("id", "answer_id"))
        if number is None or answer is None:
            continue
        if number not in known:
            findings.add("unknown-question", item, f"the video has questions {sorted(known)}")
        elif number in answers:
            findings.add("twice", item, "it is answered twice")
        elif not 0 <= answer < len(known[number].options):
            findings.add(
                "unknown-option", item, f"answer_id is {answer}; the question has options 0 to {len(known[number].options) - 1}"
            )
        else:
            if len(set(known[number].options)) < len(known[number].options):
                findings.add(
                    "duplicate-options", item, "two of its options are the same; answer_id says which is meant", error=False
                )
            _text(findings, entry, item, known[number].options, answer)
            text = entry.get("answer")
            answers[number] = PredictedAnswer(id=number, answer_id=answer, answer=None if text is None else str(text))
    for number in sorted(known.keys() - answers.keys()):
        findings.add("missing-question", f"question {number}", "it is not answered; it counts as wrong", error=False)
    return list(answers.values())


def _text(findings: FindingCollector, entry: Mapping[str, Any], item: str, options: tuple[str, ...], answer: int) -> None:
    if "answer" not in entry:
        findings.add("missing-text", item, "the server also wants the text of the option as answer", error=False)
    elif entry["answer"] != options[answer]:
        findings.add("other-text", item, f"answer is {entry['answer']!r}, but option {answer} is {options[answer]!r}")
