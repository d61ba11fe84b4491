"""3D tracks to play: an HTML page that orbits around them, or a recording for the viewer of rerun.

The page needs no network access and no third-party code.

It is `page.html` with the script `orbit.js` (canvas 2D) and a JSON element "data" in it. Positions are quantised for each
track by itself, so that one that flies off does not coarsen the others: in units of the world a position is
`offset + step * places`, places being uint16, and it is off by half a `step` at most, which is the track's extent / 131,070.

    points, frames, rate            n, t, frames per second
    unit, world                     "m" or "unit unknown"; whether the poses of the camera are known
    ids                             n numbers of tracks
    offset, step                    n x 3 and n numbers
    places, visible, colours        base64 of uint16 (t, n, 3) little endian, of bits (t, n) lowest first, of uint8 (n, 3)
    size, intrinsics                h, w and fx, fy, cx, cy of the image, in pixels
    poses, first                    camera to world (t x 16) and world to the first camera (16), row by row
    box                             lowest and highest X, Y, Z of what the page is centred on, in the first camera
    every, images                 every how many frames there is an image; JPEG files as data URIs

The recording (.rrd) needs the extra `view`:

    world                    first camera from world, so that the viewer shows the first camera's axes
    world/points             all points in the world; hidden ones dim and small; the label is the track's number
    world/trails             the last 10 frames of each path where the point was visible
    world/camera             camera to world
    world/camera/image       pinhole and the frame's image
    world/way                the way of the camera, where it is known

Two timelines: `frame`, and `time` in seconds. Nothing is rounded but to float32.

The recording is made in memory: rerun's own writing to a file waits for ever where the disk is full (0.41).
"""

import base64
import io
import json
import math
import os
from collections.abc import Iterable
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from tapetum.core.errors import MissingExtra
from tapetum.core.files import whole_file, write_text
from tapetum.systems.tapvid3d.views.still import FRAMES, POINTS, TrackScene, bounds, check_rate, choose, images
from tapetum.types import Tracks3D
from tapetum.video.images import encode_jpeg

IMAGE_HEIGHT, IMAGES = 128, 100
"""Height of the page's small images in pixels, and most of them in a page."""

LEVELS = 65535
"""Steps over the extent of a track."""


def write_html(
    tracks: Tracks3D,
    path: str | os.PathLike[str],
    video: Iterable[np.ndarray] | None = None,
    frame_rate: float = 15.0,
    *,
    most_points: int | None = POINTS,
    most_frames: int | None = FRAMES,
) -> Path:
    """Write a page that plays the tracks in space, `frame_rate` frames per second.

    Args:
        tracks: n tracks of t frames.
        path: of the page, which is written atomically.
        video: the t frames, uint8 (h, w, 3), for small images in the page.
        frame_rate: frames per second.
        most_points: tracks shown, chosen at random but always the same; all where None.
        most_frames: frames shown, the first ones; all where None.

    Raises:
        BadInput: no tracks or no frames, a video of fewer frames or of no images, a place that cannot be written.
    """
    check_rate(frame_rate)
    path = Path(path)
    data = json.dumps(_data(choose(tracks, most_points, most_frames), video, frame_rate), separators=(",", ":"))
    here = files("tapetum.systems.tapvid3d.views")
    page = here.joinpath("page.html").read_text("utf-8")
    for mark, text in (("/*script*/", here.joinpath("orbit.js").read_text("utf-8")), ("/*data*/", data)):
        page = page.replace(mark, text)
    with whole_file(path) as temporary:
        write_text(temporary, page)
    return path


def _data(scene: TrackScene, video: Iterable[np.ndarray] | None, frame_rate: float) -> dict[str, Any]:
    size, every, small = _images(scene, video)
    offset, step, places = _quantised(scene.world)
    return {
        "points": len(scene.rows),
        "frames": scene.frames,
        "rate": frame_rate,
        "unit": scene.unit,
        "world": scene.tracks.extrinsics_w2c is not None,
        "ids": scene.rows.tolist(),
        "offset": offset.tolist(),
        "step": step.tolist(),
        "places": _base64(places.transpose(1, 0, 2).astype("<u2")),
        "visible": _base64(np.packbits(scene.visible.T, axis=None, bitorder="little")),
        "colours": _base64(scene.colours(size)),
        "size": size,
        "intrinsics": scene.tracks.intrinsics.tolist(),
        "poses": scene.camera_to_world.reshape(-1, 16).tolist(),
        "first": scene.world_to_first.ravel().tolist(),
        "box": bounds(scene).tolist(),
        "every": every,
        "images": small,
    }


def _quantised(world: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    offset = world.min(axis=1)
    step = (world.max(axis=1) - offset).max(axis=1) / LEVELS
    places = np.rint((world - offset[:, None]) / np.where(step > 0, step, 1)[:, None, None])
    return offset, step, places


def _images(scene: TrackScene, video: Iterable[np.ndarray] | None) -> tuple[tuple[int, int], int, list[str]]:
    """Height and width of the video, every how many frames there is a small image, and these as data URIs."""
    every = math.ceil(scene.frames / IMAGES)
    small: list[str] = []
    size = scene.size(None)
    for number, image in enumerate(images(scene, video) if video is not None else ()):
        size = scene.size(image)
        if number % every == 0:
            shape = max(round(size[1] * IMAGE_HEIGHT / size[0]), 1), IMAGE_HEIGHT
            file = io.BytesIO()
            Image.fromarray(image).resize(shape, Image.Resampling.BOX).save(file, "JPEG", quality=75)
            small.append("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode())
    return size, every, small


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


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
            recording.log("world/camera/image", rr.EncodedImage(contents=encode_jpeg(image, 85), media_type="image/jpeg"))
            image = next(shown, image)


def _pose(rr: Any, matrix: np.ndarray) -> Any:
    return rr.Transform3D(translation=matrix[:3, 3], mat3x3=matrix[:3, :3])


def _rerun() -> Any:
    try:
        return import_module("rerun")
    except ImportError as error:
        raise MissingExtra("rerun-sdk", "view", "writing a recording for rerun") from error
