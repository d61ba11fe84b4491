"""3D tracks as a recording for the viewer of rerun; needs the extra `view`.

    world                    world to first camera, so that the viewer shows the axes of the first frame's camera
    world/points             all points in the world; hidden ones dim and small; the label is the track's number
    world/trails             the last 10 frames of each path where the point was visible
    world/camera             camera to world
    world/camera/image       pinhole and the frame's image
    world/way                path of the camera, if known

Two timelines: `frame`, and `time` in seconds. Without camera poses everything is in each frame's own camera.
The recording is made in memory: rerun's own writing to a file waits for ever where the disk is full (0.41).
"""

import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from jaxtyping import UInt8

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.files import whole_file
from tapetum.types import Tracks3D
from tapetum.video import position_colours
from tapetum.video.images import encode_jpeg as encode
from tapetum.video.types import check_rate

_TRAIL = 10
"""Length of a trail in frames."""


def write_rerun(
    tracks: Tracks3D, path: str | os.PathLike[str], video: Iterable[np.ndarray] | None = None, frame_rate: float = 15.0
) -> Path:
    """Write a recording of the tracks, and of the `video` that they are of, atomically; open it with `rerun FILE.rrd`.

    Raises BadInput for no tracks or frames, a video that does not fit and a path that cannot be written, and MissingExtra
    without rerun.
    """
    check_rate(frame_rate)
    if tracks.points == 0 or tracks.frames == 0:
        raise BadInput(f"there is nothing to show: the 3D tracks have {tracks.points} points in {tracks.frames} frames")
    try:
        rr = import_module("rerun")
    except ImportError as error:
        raise MissingExtra("rerun-sdk", "view", "writing a recording for rerun") from error
    with rr.RecordingStream("tapetum", recording_id=str(uuid4())) as recording:
        stream = recording.binary_stream()
        _log(rr, recording, tracks, None if video is None else _checked(video, tracks.frames), frame_rate)
        data = stream.read()
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def _checked(video: Iterable[np.ndarray], frames: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the frames of the video. Raises BadInput if they are no images, of several sizes or too few."""
    first, images = None, iter(video)
    for number in range(frames):
        image = next(images, None)
        if image is None:
            raise BadInput(f"the 3D tracks have {frames} frames but the video has {number}; show tracks with their own video")
        first = first or image.shape
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape != first or first[2] != 3:
            raise BadInput(f"frame {number} of the video is {image.dtype} {image.shape}; expected images uint8 (h, w, 3) alike")
        yield image


def _log(rr: Any, recording: Any, tracks: Tracks3D, video: Iterator[np.ndarray] | None, frame_rate: float) -> None:
    image = None if video is None else next(video)
    fx, fy, cx, cy = tracks.intrinsics
    h, w = np.maximum(np.rint([2 * cy, 2 * cx]), 1).astype(int) if image is None else image.shape[:2]
    world, visible = tracks.world, tracks.visible
    colours = position_colours(tracks.xy[np.arange(tracks.points), visible.argmax(axis=1)], int(w), int(h))
    shown = world[visible] if visible.any() else world.reshape(-1, 3)
    extent = float(np.linalg.norm(np.ptp(np.percentile(shown, (2, 98), axis=0), axis=0))) or 1.0
    poses = None if tracks.extrinsics_w2c is None else np.linalg.inv(tracks.extrinsics_w2c)

    def pose(matrix: np.ndarray) -> Any:
        return rr.Transform3D(translation=matrix[:3, 3], mat3x3=matrix[:3, :3])

    recording.log("/", rr.ViewCoordinates.RDF, static=True)
    recording.log("world", pose(np.eye(4) if tracks.extrinsics_w2c is None else tracks.extrinsics_w2c[0]), static=True)
    axes, plane = rr.ViewCoordinates.RDF, 0.1 * extent
    pinhole = rr.Pinhole(
        focal_length=[fx, fy], principal_point=[cx, cy], resolution=[w, h], camera_xyz=axes, image_plane_distance=plane
    )
    recording.log("world/camera/image", pinhole, static=True)
    if poses is not None:
        way = rr.LineStrips3D([poses[:, :3, 3]], colors=[200, 200, 200], radii=0.001 * extent)
        recording.log("world/way", way, static=True)
    for frame in range(tracks.frames):
        recording.set_time("frame", sequence=frame)
        recording.set_time("time", duration=frame / frame_rate)
        recording.log("world/camera", pose(np.eye(4) if poses is None else poses[frame]))
        now = visible[:, frame]
        points = rr.Points3D(
            world[:, frame],
            colors=np.where(now[:, None], colours, colours // 3),
            radii=np.where(now, 0.004, 0.002) * extent,
            labels=[str(row) for row in range(tracks.points)],
            show_labels=False,
        )
        recording.log("world/points", points)
        begin = max(frame - _TRAIL, 0)
        point, step = np.nonzero(visible[:, begin:frame] & visible[:, begin + 1 : frame + 1])
        pieces = np.stack([world[point, begin + step], world[point, begin + step + 1]], axis=1)
        recording.log("world/trails", rr.LineStrips3D(pieces, colors=colours[point], radii=0.001 * extent))
        if image is not None and video is not None:
            recording.log("world/camera/image", rr.EncodedImage(contents=encode(image, 85), media_type="image/jpeg"))
            image = next(video, image)
