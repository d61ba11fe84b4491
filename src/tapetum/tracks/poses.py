"""Tracks as poses, for programs that use keypoints: each tracked point is a named keypoint of one instance.

    layout        what            coordinates                                 hidden points
    sleap         .h5             pixels, (0, 0) the centre of the first      NaN, with their score
    coco          .json           pixels, (0, 0) the centre of the first      0, 0, 0
    supervision   in memory       raster pixels, like ours                    marked by `visible`

SLEAP's analysis file (`sleap-convert --format analysis`) holds, in MATLAB's axis order, tracks (1, 2, n, t), point_scores (1,
n, t), track_occupancy (t, 1) and names. COCO's keypoints are pixel indices, its boxes raster pixels. Frames keep their number
in the video: in SLEAP's file, skipped frames are empty.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tapetum.core.errors import MissingExtra
from tapetum.core.files import whole_file, writable, write_text
from tapetum.types import Tracks
from tapetum.video import Video

if TYPE_CHECKING:
    import supervision

FIRST_PIXEL = 0.5
"""Raster coordinate of what SLEAP, COCO, DeepLabCut and napari call 0."""


def point_names(tracks: Tracks) -> list[str]:
    """Choose unique names for the points: their own, or else point0, point1, ...

    >>> point_names(Tracks(xy=np.zeros((3, 1, 2)), visible=np.ones((3, 1), bool), confidence=np.ones((3, 1)),
    ...                    queries=np.zeros((3, 3)), names=("nose", "", "nose")))
    ['nose', 'point1', 'nose (2)']
    """
    chosen: list[str] = []
    for number, name in enumerate(tracks.names or [""] * tracks.points):
        own = name or f"point{number}"
        chosen.append(f"{own} ({number})" if own in chosen else own)
    return chosen


def visible_positions(tracks: Tracks) -> Float[np.ndarray, "n t 2"]:
    """Compute the positions with (0, 0) at the centre of the first pixel; NaN where a point is hidden."""
    return np.where(tracks.visible[..., None], tracks.xy.astype(np.float64) - FIRST_PIXEL, np.nan)


def frame_numbers(tracks: Tracks) -> np.ndarray:
    """List int64 (t,): the number of each frame in its video."""
    return np.arange(tracks.frames) if tracks.numbers is None else tracks.numbers


def keypoints(tracks: Tracks) -> "Iterator[supervision.KeyPoints]":
    """Yield a `supervision.KeyPoints` per frame: one instance, xy (1, n, 2) in raster pixels, with confidence and visible.

    Versions without `visible` draw nothing at 0, 0, so hidden points are put there. Raises MissingExtra if supervision is
    missing.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtra("supervision", "supervision", "key points of supervision") from error
    known = inspect.signature(supervision.KeyPoints).parameters
    sure = "keypoint_confidence" if "keypoint_confidence" in known else "confidence"
    for frame in range(tracks.frames):
        xy, visible = tracks.xy[None, :, frame].copy(), tracks.visible[None, :, frame]
        fields: dict[str, Any] = {sure: tracks.confidence[None, :, frame].copy(), "class_id": np.zeros(1, np.int64)}
        if "visible" in known:
            fields["visible"] = visible.copy()
        else:
            xy[~visible] = 0
        yield supervision.KeyPoints(xy=xy, **fields)


_NO_VIDEO = "unknown.mp4"
"""Where no video was given; of an empty name sleap_io makes the images in the current folder."""


def write_sleap(tracks: Tracks, path: Path, video: Video | None = None) -> Path:
    """Write an analysis file of SLEAP; the file appears whole or not at all. Raises MissingExtra without h5py."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", "tables", "writing an analysis file of SLEAP") from error
    numbers = frame_numbers(tracks)
    frames = int(numbers[-1]) + 1 if len(numbers) else 0
    places = np.full((1, 2, tracks.points, frames), np.nan)
    scores = np.full((1, tracks.points, frames), np.nan)
    places[0][..., numbers] = visible_positions(tracks).transpose(2, 0, 1)
    scores[0][:, numbers] = tracks.confidence
    there = np.isfinite(places).any(axis=(1, 2))  # (1, t)
    counted = np.maximum(np.isfinite(scores).sum(1), 1)
    instance = np.where(there, np.nansum(scores, axis=1) / counted, np.nan)
    text = h5py.string_dtype("utf-8")
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array, axes in (
            ("tracks", places, ["track", "xy", "node", "frame"]),
            ("point_scores", scores, ["track", "node", "frame"]),
            ("instance_scores", instance, ["track", "frame"]),
            ("tracking_scores", np.where(there, 1.0, np.nan), ["track", "frame"]),
            ("track_occupancy", there.T.astype(np.uint8), ["frame", "track"]),
        ):
            file.create_dataset(name, data=array, compression="gzip").attrs["dims"] = json.dumps(axes)
        file.create_dataset("node_names", data=np.array(list(map(writable, point_names(tracks))), object), dtype=text)
        file.create_dataset("track_names", data=np.array(["tapetum"], object), dtype=text)
        file.create_dataset("edge_names", shape=(0, 2), dtype=text)
        file.create_dataset("edge_inds", shape=(0, 2), dtype=np.int64)
        file.create_dataset("labels_path", data="", dtype=text)
        file.create_dataset("video_path", data=_NO_VIDEO if video is None else writable(video.name), dtype=text)
        file.create_dataset("video_ind", data=0)
        file.create_dataset("provenance", data=json.dumps({"made_by": "tapetum"}), dtype=text)
    return path


def coco(tracks: Tracks, width: int, height: int) -> dict[str, Any]:
    """Make a data set of COCO keypoints: an image per frame, such as 000012.png, and an annotation if any point is visible (2,
    else 0), with the box of these, and their mean confidence as `score`."""
    images, annotations = [], []
    numbers = frame_numbers(tracks).tolist()
    for frame, number in enumerate(numbers):
        images.append({"id": number, "file_name": f"{number:06d}.png", "width": width, "height": height})
        if tracks.times is not None:
            images[-1]["time_s"] = float(tracks.times[frame])
        visible = tracks.visible[:, frame]
        if not visible.any():
            continue
        xy = tracks.xy[:, frame].astype(np.float64)
        rows = np.where(visible[:, None], np.column_stack([xy - FIRST_PIXEL, np.full(len(xy), 2)]), 0)
        low, high = xy[visible].min(0), xy[visible].max(0)
        across, down = (high - low).tolist()
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "num_keypoints": int(visible.sum()),
                "keypoints": [
                    int(value) if place % 3 == 2 else round(value, 4) for place, value in enumerate(rows.ravel().tolist())
                ],
                "bbox": [round(value, 4) for value in (*low.tolist(), across, down)],
                "area": round(across * down, 4),
                "score": round(float(tracks.confidence[:, frame][visible].mean()), 4),
            }
        )
    category = {"id": 1, "name": "points", "supercategory": "points", "keypoints": point_names(tracks), "skeleton": []}
    return {"images": images, "annotations": annotations, "categories": [category]}


def write_coco(tracks: Tracks, path: Path, video: Video) -> Path:
    """Write `coco` as JSON; the file appears whole or not at all."""
    write_text(path, json.dumps(coco(tracks, video.width, video.height)))
    return path
