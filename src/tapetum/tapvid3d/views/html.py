"""A page for the browser: an orbiting view of 3D tracks in one file, without any network.

Drag to turn, shift-drag to move, wheel to come nearer; a slider and a button for time. The numbers are in the page as base64 of
little-endian arrays, the pictures of the video as small JPEGs. What draws them is `page.html` beside this file, plain
JavaScript.
"""

import base64
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tapetum.errors import BadInput
from tapetum.files import whole_file
from tapetum.tapvid3d.tracks3d import Tracks3D
from tapetum.tapvid3d.views.common import cameras, colours, drawn, extent, jpegs
from tapetum.video.types import Frame

TRAIL = 10
"""Frames of the tail that a point draws behind it."""
PICTURE = 240
"""Width of the pictures in the corner, in pixels."""
_DATA = "__DATA__"


def write_html(
    path: str | os.PathLike[str],
    tracks: Tracks3D,
    size: tuple[int, int],
    pictures: Iterable[Frame] = (),
    *,
    rate: float = 24.0,
    title: str = "3D tracks",
) -> Path:
    """Write the page to `path`.

    Args:
        tracks: with extrinsics they are shown in the world and the camera moves through it, else in the camera.
        size: width and height of the video in pixels.
        pictures: of the video, to be shown in the corner; none, or one for each frame.
        rate: frames per second.
        title: of the page.

    Raises BadInput for tracks without a point or frame, pictures of another number, or a place that cannot be written.
    """
    drawn(tracks)
    shots = [base64.b64encode(jpeg).decode() for jpeg in jpegs(pictures, PICTURE)]
    if shots and len(shots) != tracks.frames:
        raise BadInput(f"{len(shots)} pictures for tracks of {tracks.frames} frames; give none, or one for each frame")
    world, poses = tracks.world, cameras(tracks)
    middle, reach = extent(world, tracks.visible, poses[:, :3, 3])
    data = {
        "title": title,
        "points": tracks.points,
        "frames": tracks.frames,
        "rate": rate,
        "trail": TRAIL,
        "unit": "m" if tracks.metric else "",
        "size": list(size),
        "intrinsics": tracks.intrinsics.tolist(),
        "middle": middle.tolist(),
        "reach": reach,
        "xyz": _base64(world, "<f4"),
        "visible": _base64(tracks.visible, "u1"),
        "colours": _base64(colours(tracks, size), "u1"),
        "cameras": _base64(poses[:, :3], "<f4"),
        "pictures": shots,
    }
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    # A title may hold anything; "<" would end the script that holds the data.
    text = page.replace(_DATA, json.dumps(data, allow_nan=False).replace("<", "\\u003c"))
    path = Path(path)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()
