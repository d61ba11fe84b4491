"""Reading of the JSON of the Perception Test (arXiv 2305.13786; the public files) and of the lists beside it, with checks.

    {video_id: {metadata, object_tracking, point_tracking, action_localisation, sound_localisation, mc_question,
                grounded_question}}

    *_id_list.csv              ids, in one line or many; a word such as video_id at the head is no id
    cut_frame_mapping_*.json   {video id: frame}: the end of a cup game or of a tower gives the answer away, so whoever answers
                               sees the frames before that one, and hears until the same moment. Videos that are not in it, or
                               with a number that is not above 0, are seen whole; those of the test split are cut already.

At this border microseconds become seconds and [[y ...], [x ...]] becomes (x, y). `tapetum.data.perception` writes such files,
with an entry `cut_frame` of a question that looks ahead. Keys that a file lacks stand for empty lists. What is wrong has a
name, such as [seconds], at the end of the message. That the frame of a cut is itself not seen is our reading of the README.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tapetum.core import reading
from tapetum.core.errors import BadInput
from tapetum.core.reading import read_text
from tapetum.systems.perception_test.public_files import CUTS
from tapetum.systems.perception_test.types import (
    KEYS,
    AnnotatedVideo,
    ChoiceQuestion,
    GroundedQuestion,
    InvalidItem,
    LabelledSegment,
    Metadata,
    ObjectTrack,
    PointTrack,
)

Kind = TypeVar("Kind")
MICROSECONDS = 1e6
BESIDE = "beside"
_SHORTEST = 1000
"""Microseconds before which nothing that was annotated ends: a frame alone is longer."""


def read_annotations(path: str | Path, cuts: str | Path | None = BESIDE) -> dict[str, AnnotatedVideo]:
    """Read annotations, by the id of the video. Raises BadInput, naming the item, for what does not fit together.

    `cuts` is the file that says at which frame a video ends for questions; by default it is looked for beside the annotations
    and in the folder lists beside theirs, and None cuts nothing but what the annotations say themselves.
    """
    annotations = annotations_of(read_json(path))
    if cuts == BESIDE:
        cuts = find_cuts(Path(path), next((video.metadata.split for video in annotations.values()), ""))
    ends = {} if cuts is None else read_cuts(cuts)
    return {name: _cut(video, ends.get(name)) for name, video in annotations.items()}


def annotations_of(content: Mapping[str, Any]) -> dict[str, AnnotatedVideo]:
    """Convert the content of a file to typed videos; raises as `read_annotations`."""
    return {name: _video(name, item) for name, item in content.items()}


def _video(name: str, item: Any) -> AnnotatedVideo:
    if not isinstance(item, Mapping) or not isinstance(item.get("metadata"), Mapping):
        raise BadInput(f"{name} has no metadata; are these predictions, and no annotations? [no-metadata]")

    def each(task: str, make: Callable[[Any], Kind]) -> Sequence[Kind]:
        key = KEYS[task]
        entries = item.get(key) or ()
        if not isinstance(entries, list | tuple):
            raise BadInput(f"{key} of {name} is a {type(entries).__name__}; wanted a list [wrong-nesting]")
        return tuple(_guarded(f"{key} {place} of {name}", make, entry) for place, entry in enumerate(entries))

    metadata = _guarded(f"metadata of {name}", partial(_metadata, name), item["metadata"])
    objects = each("object", _object)
    for what, entries in (("object_tracking", objects), ("mc_question", questions := each("mcqa", _question))):
        for place, entry in enumerate(entries):
            if entry.id != place:
                raise BadInput(f"{what} {entry.id} of {name}: its id must be its place in the list, {place} [wrong-id]")
    return AnnotatedVideo(
        metadata=metadata,
        objects=objects,
        points=each("point", partial(_point, end=metadata.frames)),
        actions=each("action", _segment),
        sounds=each("sound", _segment),
        questions=questions,
        grounded=each("grounded", partial(_grounded, objects=len(objects))),
    )


def _guarded(what: str, make: Callable[[Any], Kind], entry: Any) -> Kind:
    try:
        return make(entry)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        reason, name = str(error), error.name if isinstance(error, InvalidItem) else "malformed"
        if isinstance(error, KeyError):
            reason, name = f"it lacks {error}", "missing-key"
        raise BadInput(f"{what} is not as the Perception Test has it: {reason}; get the file again [{name}]") from error


def _optional(e: Mapping[str, Any], key: str, kind: Callable[[Any], Kind]) -> Kind | None:
    return None if e.get(key) is None else kind(e[key])


def _integers(values: Any) -> tuple[int, ...]:
    return tuple(map(int, values))


def _metadata(name: str, m: Mapping[str, Any]) -> Metadata:
    height, width = m["resolution"]
    frame_rate, frames = float(m["frame_rate"]), int(m["num_frames"])
    if not frame_rate > 0 or frames < 1 or min(height, width) < 1:
        raise ValueError(f"it has {frames} frames of {height} x {width} at {frame_rate} a second")
    return Metadata(
        video_id=str(m.get("video_id", name)),
        split=str(m.get("split", "")),
        frame_rate=frame_rate,
        frames=frames,
        size=(int(height), int(width)),
        audio_samples=int(m.get("audio_samples", 0)),
        audio_sample_rate=float(m.get("audio_sample_rate", 0.0)),
        cup_game=_optional(m, "is_cup_game", bool),
        moving=_optional(m, "is_camera_moving", bool),
    )


def _object(e: Mapping[str, Any]) -> ObjectTrack:
    boxes = np.array(e["bounding_boxes"], np.float64).reshape(-1, 4)
    start = np.flatnonzero(np.array(e.get("initial_tracking_box") or [1] + [0] * (len(boxes) - 1)))
    if not len(start):
        raise InvalidItem("no-start", "initial_tracking_box says of no box that tracking begins there")
    _seconds(e.get("timestamps") or ())
    return ObjectTrack(
        id=int(e["id"]),
        label=str(e.get("label", "")),
        frames=_frames(e, boxes),
        boxes=boxes,
        start=int(start[0]),
        masked=np.array(e.get("is_masked") or np.zeros(len(boxes)), bool),
        occluder=bool(e.get("is_occluder", False)),
    )


def _point(e: Mapping[str, Any], end: int) -> PointTrack:
    points, count = np.array(e["points"], np.float64), len(e["frame_ids"])
    if points.shape != (2, count):
        name = "wrong-shape" if points.shape == (count, 2) else "wrong-length"
        raise InvalidItem(name, f"points have shape {points.shape} for {count} frames; wanted [ys, xs]")
    xy = points[::-1].T.copy()
    frames = _frames(e, xy)
    if frames[-1] >= end:
        raise InvalidItem("frame-outside", f"it has frame {frames[-1]}, and the video {end} frames")
    parents = _integers(e.get("parent_objects") or ())
    return PointTrack(id=int(e["id"]), label=str(e.get("label", "")), parents=parents, frames=frames, xy=xy)


def _frames(e: Mapping[str, Any], places: np.ndarray) -> np.ndarray:
    frames = np.array(e["frame_ids"], np.int64)
    if len(places) != len(frames):
        raise InvalidItem("wrong-length", f"{len(places)} boxes stand for {len(frames)} frames")
    if not len(frames) or (np.diff(frames) <= 0).any() or frames[0] < 0:
        raise InvalidItem("unsorted-frames", f"its frames {frames[:4].tolist()} must rise from 0 on, without repetition")
    if not np.isfinite(places).all():
        raise InvalidItem("not-finite", "a place is not a finite number")
    return frames


def _seconds(times: Sequence[float]) -> list[float]:
    """Convert microseconds, and check that they are no seconds."""
    if len(times) and 0 < max(times) < _SHORTEST:
        raise InvalidItem("seconds", f"timestamps go up to {max(times):g}, which are seconds; wanted microseconds")
    return [float(time) / MICROSECONDS for time in times]


def _segment(e: Mapping[str, Any]) -> LabelledSegment:
    start, end = _seconds(e["timestamps"])
    if not 0 <= start <= end:
        raise InvalidItem("backwards", f"it goes from {start} to {end} s")
    return LabelledSegment(
        id=int(e["id"]),
        label=str(e.get("label", "")),
        label_id=int(e["label_id"]),
        parents=_integers(e.get("parent_objects") or ()),
        start_s=start,
        end_s=end,
        visible=_optional(e, "is_visible", bool),
    )


def _question_fields(e: Mapping[str, Any]) -> dict[str, Any]:
    groups = {key: str(e.get(key) or "").lower() for key in ("area", "reasoning")}
    return {"id": int(e["id"]), "question": str(e["question"]), **groups}


def _question(e: Mapping[str, Any]) -> ChoiceQuestion:
    options, answer = tuple(map(str, e["options"])), _optional(e, "answer_id", int)
    if answer is not None and not 0 <= answer < len(options):
        raise InvalidItem("unknown-option", f"answer_id is {answer} of {len(options)} options")
    tags = e.get("tag") or ()
    tags = (tags,) if isinstance(tags, str) else tuple(map(str, tags))
    cut = _optional(e, "cut_frame", int)
    return ChoiceQuestion(options=options, answer=answer, tags=tags, cut=cut, **_question_fields(e))


def _grounded(e: Mapping[str, Any], objects: int) -> GroundedQuestion:
    answers = _optional(e, "answers", _integers)
    if unknown := [a for a in answers or () if not 0 <= a < objects]:
        raise InvalidItem("unknown-track", f"its answer {unknown[0]} is none of {objects} object tracks")
    return GroundedQuestion(answers=answers, **_question_fields(e))


_HEADS = {"", "id", "ids", "video", "videos", "video_id", "video_ids"}


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises BadInput for one that is missing, damaged, or something else."""
    try:
        content = reading.read_json(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error}); give a file of the Perception Test") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds a {type(content).__name__}; wanted an object with a key for each video")
    return content


def read_ids(path: str | Path) -> list[str]:
    """Read a list of ids, each once, in their order. Raises BadInput for a file that is none."""
    try:
        text = read_text(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as a list of ids ({error}); fetch it again") from error
    cells = [cell.strip().strip("\"'") for line in text.splitlines() for cell in re.split("[,;\t]", line)]
    ids = [cell for cell in dict.fromkeys(cells) if cell.lower() not in _HEADS]
    if not ids or any(len(each) > 200 or "\0" in each for each in ids):
        raise BadInput(f"{path} is no list of ids: {'it is empty' if not ids else 'it has other text'}; fetch it again")
    return ids


def read_cuts(path: str | Path) -> dict[str, int]:
    """Read at which frame videos end for questions. Raises BadInput for what is not a whole number."""
    cuts = {}
    for name, value in read_json(path).items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise BadInput(f"{path} says that {name} ends at {value!r}; wanted the number of a frame [no-number]")
        if value > 0:
            cuts[name] = int(value)
    return cuts


def find_cuts(annotations: Path, split: str) -> Path | None:
    """Find the file of cuts of a split for a file of annotations."""
    return find_list(annotations.parent, CUTS.get(split.lower()))


def find_list(folder: Path, name: str | None) -> Path | None:
    """Find a list by its public name, in a folder, its lists/ or the one beside it."""
    places = (folder, folder / "lists", folder.parent / "lists", folder / "misc", folder.parent / "misc")
    return next((place / name for place in places if (place / name).is_file()), None) if name else None


def _cut(video: AnnotatedVideo, end: int | None) -> AnnotatedVideo:
    """Set where a video ends for questions, where that is before its own end and before what they say themselves."""
    if end is None or end >= video.metadata.frames or not video.questions:
        return video
    questions = tuple(replace(each, cut=end if each.cut is None else min(each.cut, end)) for each in video.questions)
    return replace(video, questions=questions)
