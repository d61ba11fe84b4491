"""Reads predicted tracks of boxes and points, and answers that are tracks; see `systems.perception_test.predictions`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tapetum.systems.perception_test.predicted import Reader, Tracked
from tapetum.systems.perception_test.types import Video


def read_track(reader: Reader, entry: Any, kind: str, item: str, frames: int) -> Tracked | None:
    """Take a track of boxes or points."""
    key, width = ("points", 2) if kind == "point" else ("bounding_boxes", 4)
    if not isinstance(entry, Mapping) or "id" not in entry or key not in entry or "frame_ids" not in entry:
        reader.add("missing-key", item, f"a track wants id, {key} and frame_ids")
        return None
    number = reader.whole_number(entry["id"], item, "id")
    try:
        at = np.array(entry["frame_ids"])
        places = np.array(entry[key], np.float64)
    except (TypeError, ValueError, OverflowError):
        reader.add("no-number", item, f"{key} and frame_ids must be lists of numbers, of one length each")
        return None
    if at.size and at.dtype.kind in "US":
        reader.add("id-as-text", item, f"frame_ids are texts such as {str(at.flat[0])[:20]!r}; wanted whole numbers")
        return None
    if at.ndim != 1 or (at.size and at.dtype.kind not in "iuf"):
        reader.add("no-number", item, "frame_ids must be one list of whole numbers")
        return None
    if kind == "point":
        if places.shape == (2, len(at)):
            places = places[::-1].T
        elif places.shape == (len(at), 2) and len(at) != 2:
            reader.add("wrong-shape", item, f"points are {len(at)} pairs; wanted two lists: all y, then all x")
            return None
    places = places if places.size else np.zeros((0, width))
    if places.shape != (len(at), width):
        reader.add("wrong-length", item, f"{key} has shape {places.shape} for {len(at)} frames")
        return None
    if number is None:
        return None
    at = at.astype(np.int64) if np.isfinite(at).all() and (at == np.floor(at)).all() else np.zeros(0, np.int64)
    if len(at) != len(places):
        reader.add("no-number", item, "frame_ids are not whole numbers")
        return None
    if len(at) and (at.min() < 0 or at.max() >= frames):
        reader.add("frame-outside", item, f"frame_ids go from {at.min()} to {at.max()}; the video has 0 to {frames - 1}")
        return None
    if (np.diff(at) <= 0).any():
        reader.add("unsorted-frames", item, "frame_ids must rise, each once")
        return None
    if not np.isfinite(places).all():
        reader.add("not-finite", item, "a place is not a finite number")
        return None
    if kind != "point" and len(places) and (places[:, 2:] < places[:, :2]).any():
        reader.add("wrong-corners", item, "a box has its second corner left of or above the first; wanted x1, y1, x2, y2")
        return None
    if len(places) and np.abs(places).max() > 2:
        reader.add("pixels", item, f"places go up to {np.abs(places).max():.0f}; wanted shares of width and height, 0 to 1")
        return None
    return Tracked(id=number, frames=at, places=places)


def read_objects(reader: Reader, entries: Sequence[Any], video: Video, kind: str = "object") -> list[Tracked]:
    truth = video.points if kind == "point" else video.objects
    known, found = {track.id for track in truth}, {}
    for place, entry in enumerate(entries):
        item = f"track {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        track = read_track(reader, entry, kind, item, video.metadata.frames)
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


def read_points(reader: Reader, entries: Sequence[Any], video: Video) -> list[Tracked]:
    return read_objects(reader, entries, video, "point")


def read_grounded(reader: Reader, entries: Mapping[str, Any], video: Video) -> dict[int, list[Tracked]]:
    known = {question.id for question in video.grounded}
    found: dict[int, list[Tracked]] = {}
    for key, tracks in entries.items():
        item = f"question {key}"
        number = int(key) if re.fullmatch(r"-?[0-9]{1,18}", str(key)) else None
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


def _answer_tracks(reader: Reader, tracks: Sequence[Any], item: str, frames: int) -> list[Tracked]:
    found: dict[int, Tracked] = {}
    for place, entry in enumerate(tracks):
        where = f"{item}, track {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        track = read_track(reader, entry, "object", where, frames)
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
