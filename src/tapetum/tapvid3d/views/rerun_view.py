"""A recording for the viewer of Rerun (extra `view`): points, tails, camera and pictures over time, as an .rrd file.

Open it with `rerun FILE.rrd`.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.errors import BadInput, MissingExtra
from tapetum.files import whole_file
from tapetum.tapvid3d.tracks3d import Tracks3D
from tapetum.tapvid3d.views.common import cameras, colours, drawn, extent, jpegs
from tapetum.video.types import Frame

TRAIL = 10
"""Frames of the tail that a point draws behind it."""
WIDTH = 640
"""Largest width of the pictures in the recording, in pixels."""


def write_rerun(
    path: str | os.PathLike[str],
    tracks: Tracks3D,
    size: tuple[int, int],
    pictures: Iterable[Frame] = (),
    *,
    rate: float = 24.0,
) -> Path:
    """Write the recording to `path`; arguments and errors as of `write_html`, and MissingExtra without rerun-sdk."""
    drawn(tracks)
    try:
        import rerun as rr  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra("rerun-sdk", "view", "--view rerun") from error
    shots = jpegs(pictures, WIDTH, 80)
    if shots and len(shots) != tracks.frames:
        raise BadInput(f"{len(shots)} pictures for tracks of {tracks.frames} frames; give none, or one for each frame")
    path = Path(path)
    with whole_file(path) as temporary:
        recording = rr.RecordingStream("tapetum", recording_id=path.stem)
        recording.save(temporary)
        _log(rr, recording, tracks, size, shots, rate)
        recording.flush()
        recording.disconnect()
    return path


def _log(rr: Any, recording: Any, tracks: Tracks3D, size: tuple[int, int], shots: list[bytes], rate: float) -> None:
    world, tints, poses = tracks.world, colours(tracks, size), cameras(tracks)
    reach = extent(world, tracks.visible, poses[:, :3, 3])[1]
    fx, fy, cx, cy = tracks.intrinsics
    recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Y_DOWN, static=True)
    lens = rr.Pinhole(
        image_from_camera=[[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
        resolution=size,
        camera_xyz=rr.ViewCoordinates.RDF,
        image_plane_distance=0.22 * reach,
    )
    for t in range(tracks.frames):
        recording.set_time("frame", sequence=t)
        recording.set_time("time", duration=t / rate)
        recording.log("world/camera", rr.Transform3D(translation=poses[t, :3, 3], mat3x3=poses[t, :3, :3]))
        recording.log("world/camera/picture", lens)
        if shots:
            recording.log("world/camera/picture", rr.EncodedImage(contents=shots[t], media_type="image/jpeg"))
        seen = tracks.visible[:, t]
        recording.log("world/visible", rr.Points3D(world[seen, t], colors=tints[seen], radii=0.012 * reach))
        recording.log("world/hidden", rr.Points3D(world[~seen, t], colors=tints[~seen] // 3, radii=0.005 * reach))
        tails, owners = _tails(world, tracks.visible, t)
        recording.log("world/tails", rr.LineStrips3D(tails, colors=tints[owners], radii=0.003 * reach))


def _tails(world: np.ndarray, visible: np.ndarray, t: int) -> tuple[list[np.ndarray], list[int]]:
    """The way of each point through the frames before t in which it was visible without a break, and which point it is."""
    tails, owners = [], []
    for n in np.flatnonzero(visible[:, t]):
        begin = t
        while begin > max(0, t - TRAIL) and visible[n, begin - 1]:
            begin -= 1
        if begin < t:
            tails.append(world[n, begin : t + 1])
            owners.append(int(n))
    return tails, owners
