"""3D tracks as a recording (.rrd) for the viewer of rerun, with the extra `view`.

    world                    first camera from world, so that the viewer shows the first camera's axes
    world/points             all points in the world; hidden ones dim and small; the label is the track's number
    world/trails             the last 10 frames of each path where the point was visible
    world/camera             camera to world
    world/camera/image       pinhole and the frame's image
    world/way                the way of the camera, where it is known

Two timelines: `frame`, and `time` in seconds. Nothing is rounded but to float32.

The recording is made in memory: rerun's own writing to a file waits for ever where the disk is full (0.41).
"""

import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from tapetum.core.errors import MissingExtra
from tapetum.core.files import whole_file
from tapetum.systems.tapvid3d.format.npz import encode
from tapetum.systems.tapvid3d.views.scene import TrackScene, bounds, check_rate, choose, images
from tapetum.types import Tracks3D

TRAIL = 10
"""Frames that a path is long."""


def write_rerun(
    tracks: Tracks3D,
    path: str | os.PathLike[str],
    video: Iterable[np.ndarray] | None = None,
    frame_rate: float = 15.0,
    *,
    most_points: int | None = None,
    most_frames: int | None = None,
) -> Path:
    """Write a recording of the tracks; open it with `rerun FILE.rrd`. Arguments and errors are those of `write_html`, with all
    points and frames by default, and `MissingExtra` where rerun is not installed. The file appears whole or not at all.
    """
    check_rate(frame_rate)
    scene, path = choose(tracks, most_points, most_frames), Path(path)
    rr = _rerun()
    with rr.RecordingStream("tapetum", recording_id=str(uuid4())) as recording:
        stream = recording.binary_stream()
        _log(rr, recording, scene, video, frame_rate)
        data = stream.read()
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
    return path


def _log(rr: Any, recording: Any, scene: TrackScene, video: Iterable[np.ndarray] | None, frame_rate: float) -> None:
    shown = images(scene, video if video is not None else ())
    image = next(shown) if video is not None else None
    h, w = size = scene.size(image)
    colours = scene.colours(size)
    extent = float(np.linalg.norm(np.diff(bounds(scene), axis=0))) or 1.0
    fx, fy, cx, cy = scene.tracks.intrinsics
    recording.log("/", rr.ViewCoordinates.RDF, static=True)
    recording.log("world", _pose(rr, scene.world_to_first), static=True)
    recording.log(
        "world/camera/image",
        rr.Pinhole(
            focal_length=[fx, fy],
            principal_point=[cx, cy],
            resolution=[w, h],
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=0.1 * extent,
        ),
        static=True,
    )
    labels = [str(row) for row in scene.rows]
    world, visible = scene.world, scene.visible
    if scene.tracks.extrinsics_w2c is not None:
        way = scene.camera_to_world[:, :3, 3]
        recording.log("world/way", rr.LineStrips3D([way], colors=[200, 200, 200], radii=0.001 * extent), static=True)
    for frame in range(scene.frames):
        recording.set_time("frame", sequence=frame)
        recording.set_time("time", duration=frame / frame_rate)
        recording.log("world/camera", _pose(rr, scene.camera_to_world[frame]))
        is_visible = visible[:, frame]
        points = rr.Points3D(
            world[:, frame],
            colors=np.where(is_visible[:, None], colours, colours // 3),
            radii=np.where(is_visible, 0.004, 0.002) * extent,
            labels=labels,
            show_labels=False,
        )
        recording.log("world/points", points)
        point, begin = scene.trails(frame, TRAIL)
        pieces = np.stack([world[point, begin], world[point, begin + 1]], axis=1)
        recording.log("world/trails", rr.LineStrips3D(pieces, colors=colours[point], radii=0.001 * extent))
        if image is not None:
            recording.log("world/camera/image", rr.EncodedImage(contents=encode(image, 85), media_type="image/jpeg"))
            image = next(shown, image)


def _pose(rr: Any, matrix: np.ndarray) -> Any:
    return rr.Transform3D(translation=matrix[:3, 3], mat3x3=matrix[:3, :3])


def _rerun() -> Any:
    try:
        return import_module("rerun")
    except ImportError as error:
        raise MissingExtra("rerun-sdk", "view", "writing a recording for rerun") from error
