"""Writing annotations in the JSON of the Perception Test (Patraucean et al., "Perception Test", arXiv 2305.13786).

    {video_id: {metadata, object_tracking, point_tracking, action_localisation, sound_localisation, mc_question,
                grounded_question}}

Functions here take raster pixels, (x, y), seconds and frames, and convert them to the file's units: fractions of width and
height, [ys, xs] of points, microseconds. `write_annotations` writes the file, one video at a time. Entries may have more keys
than the public files; their readers ignore them.

What is unusual in the format, and kept: the id of an object track, an action, a sound and a multiple-choice question is its
place in the list; points have the shape [2, n], y first; a point has no entry for a frame in which it is hidden.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tapetum.data.entries import write_mapping

TASKS = ("object_tracking", "point_tracking", "action_localisation", "sound_localisation", "mc_question", "grounded_question")
Size = tuple[int, int]
"""Height and width."""


def metadata(
    *, video_id: str, split: str, frame_rate: float, frames: int, size: Size, audio_samples: int, audio_sample_rate: int,
    cup_game: bool, moving: bool,
) -> dict[str, Any]:  # fmt: skip
    """Describe a video; `moving` says whether the camera moves."""
    return {
        "split": split,
        "video_id": video_id,
        "frame_rate": float(frame_rate),
        "num_frames": int(frames),
        "resolution": [int(n) for n in size],
        "audio_samples": int(audio_samples),
        "audio_sample_rate": float(audio_sample_rate),
        "is_cup_game": bool(cup_game),
        "is_camera_moving": bool(moving),
    }


def object_track(
    number: int, label: str, boxes: Float[np.ndarray, "n 4"], frames: Int[np.ndarray, " n"], masked: Bool[np.ndarray, " n"],
    *, size: Size, frame_rate: float, occluder: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Describe where an object is: boxes x1, y1, x2, y2 in raster pixels at some frames; tracking begins at the first.

    `masked`: the object is hidden there, as under a cup; `occluder`: it hides others in a cup game.
    """
    h, w = size
    shares = np.clip(boxes / np.array([w, h, w, h]), 0, 1)
    return {
        "id": number,
        "label": label,
        "is_occluder": bool(occluder),
        "bounding_boxes": [[round(v, 6) for v in box] for box in shares.tolist()],
        "initial_tracking_box": [int(i == 0) for i in range(len(boxes))],
        "frame_ids": [int(f) for f in frames],
        "timestamps": [_micro(f / frame_rate) for f in frames.tolist()],
        "is_masked": [int(m) for m in masked],
    }


def point_track(
    number: int, label: str, parents: Sequence[int], xy: Float[np.ndarray, "n 2"], frames: Int[np.ndarray, " n"], *, size: Size
) -> dict[str, Any]:
    """Describe where a point is in the frames in which it is visible; `parents` are numbers of object tracks."""
    h, w = size
    rows = [[round(v, 6) for v in line] for line in (xy[:, ::-1] / np.array([h, w])).T.tolist()]
    ids = [int(f) for f in frames]
    return {"id": number, "label": label, "parent_objects": list(parents), "frame_ids": ids, "points": rows}


def segment(
    number: int, label: str, label_id: int, parents: Sequence[int], start_s: float, end_s: float, *, frame_rate: float,
    frames: int, visible: bool | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Describe an action, or a sound where `visible` says whether its cause is in the image, of a video of `frames` frames."""
    ids = [min(max(round(s * frame_rate), 0), frames - 1) for s in (start_s, end_s)]
    fields = {"id": number, "label": label, "label_id": label_id, "parent_objects": list(parents)}
    fields |= {"timestamps": [_micro(start_s), _micro(end_s)], "frame_ids": ids}
    return fields if visible is None else fields | {"is_visible": bool(visible)}


def mc_question(
    number: int,
    question: str,
    options: Sequence[str],
    answer: int,
    *,
    area: str,
    reasoning: str,
    tags: Sequence[str],
    **more: Any,
) -> dict[str, Any]:
    """Describe a multiple-choice question."""
    fields = {"id": number, "question": question, "options": list(options), "answer_id": answer}
    return fields | {"area": area, "reasoning": reasoning, "tag": list(tags), **more}


def grounded_question(number: int, question: str, answers: Sequence[int], *, area: str, reasoning: str) -> dict[str, Any]:
    """Describe a question answered by object tracks, given by their numbers."""
    return {"id": number, "question": question, "answers": list(answers), "area": area, "reasoning": reasoning}


def write_annotations(path: str | Path, videos: Iterable[tuple[str, Mapping[str, Any]]]) -> Path:
    """Write the items of videos by their ids, whole or not at all. Raises BadInput for a duplicate id."""
    tasks = ((name, item["metadata"], {task: list(item.get(task, ())) for task in TASKS}) for name, item in videos)
    return write_mapping(path, ((name, {"metadata": about, **entries}) for name, about, entries in tasks))


def _micro(seconds: float) -> int:
    return round(seconds * 1e6)
