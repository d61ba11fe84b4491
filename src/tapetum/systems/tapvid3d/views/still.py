"""3D tracks as one still image for reports; and the data of every view.

The data are the chosen tracks in the world, their colours, the camera, and the images of a video beside them. The still is a
box with axes seen from the side and above, in parallel projection.

The box is a cube, so that lengths compare along all axes; its axes are X, Z and Y of the first camera, Y upside down so that up
is up. It is the same for every frame of the same tracks. Drawn with Pillow at twice the size, then made smaller.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.systems.tapvid3d.geometry import transform, unproject
from tapetum.types import Tracks3D
from tapetum.video import position_colours

POINTS, FRAMES = 300, 100
"""Most tracks and frames shown where nothing else is asked for, as on the project's page of TAPVid-3D."""


@dataclass(frozen=True)
class TrackScene:
    """The part of `tracks` that is shown: n of its points, in its first t frames."""

    tracks: Tracks3D
    rows: Integer[np.ndarray, " n"]
    """Which of the tracks."""
    frames: int
    """How many frames t."""

    @cached_property
    def world(self) -> Float[np.ndarray, "n t 3"]:
        """Select the positions in the world; or in the cameras if there are no extrinsics."""
        return self.tracks.world[self.rows, : self.frames]

    @cached_property
    def visible(self) -> Bool[np.ndarray, "n t"]:
        """Select the visibility of the points."""
        return self.tracks.visible[self.rows, : self.frames]

    @cached_property
    def camera_to_world(self) -> Float[np.ndarray, "t 4 4"]:
        """Compute the poses of the camera; it stays where it is if there are no extrinsics."""
        if self.tracks.extrinsics_w2c is None:
            return np.tile(np.eye(4), (self.frames, 1, 1))
        return np.linalg.inv(self.tracks.extrinsics_w2c[: self.frames])

    @cached_property
    def world_to_first(self) -> Float[np.ndarray, "4 4"]:
        """Get the transform from the world to the camera of the first frame, in whose axes everything is shown."""
        return np.eye(4) if self.tracks.extrinsics_w2c is None else self.tracks.extrinsics_w2c[0]

    @cached_property
    def unit(self) -> str:
        """Name the unit of all lengths: "m", or "unit unknown"."""
        return "m" if self.tracks.metric else "unit unknown"

    def size(self, image: UInt8[np.ndarray, "h w 3"] | None) -> tuple[int, int]:
        """Choose height and width of the image; without one that of which the principal point is the middle."""
        if image is not None:
            return image.shape[0], image.shape[1]
        w, h = np.maximum(np.rint(2 * self.tracks.intrinsics[2:]), 1).astype(int)
        return int(h), int(w)

    def colours(self, size: tuple[int, int]) -> UInt8[np.ndarray, "n 3"]:
        """Choose those that `tapetum.video.draw` gives the same tracks over images of this size."""
        first = self.tracks.visible.argmax(axis=1)[self.rows]
        return position_colours(self.tracks.xy[self.rows, first], size[1], size[0])

    def trails(self, frame: int, length: int) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """List the pieces of path of the last `length` frames: point and frame (k,) in which each begins.

        It ends in the next frame; the point is visible in both, since the way of a hidden one is a guess.
        """
        begin = max(frame - length, 0)
        both = self.visible[:, begin:frame] & self.visible[:, begin + 1 : frame + 1]
        point, step = np.nonzero(both)
        return point, begin + step


def choose(tracks: Tracks3D, most_points: int | None, most_frames: int | None) -> TrackScene:
    """Choose at most so many tracks, drawn at random but always the same ones, in at most so many first frames; all where None.

    Raises:
        BadInput: nothing to show, or limits below 1.
    """
    if tracks.points == 0 or tracks.frames == 0:
        raise BadInput(
            f"there is nothing to show: the 3D tracks have {tracks.points} points in {tracks.frames} frames; give some"
        )
    for name, limit in (("points", most_points), ("frames", most_frames)):
        if limit is not None and limit < 1:
            raise BadInput(f"at most {limit} {name} cannot be shown; give 1 or more, or None for all")
    rows = np.arange(tracks.points)
    if most_points is not None and tracks.points > most_points:
        rows = np.sort(np.random.default_rng(0).choice(rows, most_points, replace=False))
    return TrackScene(tracks, rows, tracks.frames if most_frames is None else min(most_frames, tracks.frames))


def check_rate(frame_rate: float) -> None:
    """Raise `BadInput` for an invalid frame rate."""
    if not (np.isfinite(frame_rate) and frame_rate > 0):
        raise BadInput(f"{frame_rate} frames per second cannot be played; give a rate above 0")


def images(scene: TrackScene, video: Iterable[np.ndarray]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the frames of `video` that are shown, one by one; `BadInput` where they are no images, of several sizes or too
    few."""
    first: tuple[int, ...] | None = None
    number = -1
    for number, image in enumerate(islice(video, scene.frames)):
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise BadInput(f"frame {number} of the video is {image.dtype} {image.shape}; give images uint8 (h, w, 3)")
        first = first or image.shape
        if image.shape != first:
            raise BadInput(f"frame {number} of the video has shape {image.shape}, but the first {first}; all must be alike")
        yield image
    if number + 1 < scene.frames:
        raise BadInput(
            f"the 3D tracks have {scene.tracks.frames} frames but the video has {number + 1}; show tracks with their own video"
        )


def frustum(intrinsics: Float[np.ndarray, "4"], size: tuple[int, int], depth: float) -> Float[np.ndarray, "5 3"]:
    """Compute the camera's centre and the corners of its image, clockwise from the top left, at `depth`, in the camera.

    >>> frustum(np.array([100.0, 100, 50, 25]), (50, 100), 1.0)[:2].tolist()
    [[0.0, 0.0, 0.0], [-0.5, -0.25, 1.0]]
    """
    h, w = size
    corners = unproject([[0, 0], [w, 0], [w, h], [0, h]], np.full(4, depth), intrinsics)
    return np.concatenate([np.zeros((1, 3)), corners])


def in_first(scene: TrackScene, world: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Transform points of the world to the camera of the first frame."""
    return transform(scene.world_to_first, world.reshape(-1, 3)).reshape(world.shape)


def bounds(scene: TrackScene) -> Float[np.ndarray, "2 3"]:
    """Compute lowest and highest X, Y, Z in the first camera of what a view is centred on.

    That is where most visible points are (of a few that fly off nothing would be left to see), and the camera's way.
    """
    shown = scene.world[scene.visible] if scene.visible.any() else scene.world.reshape(-1, 3)
    low, high = np.percentile(in_first(scene, shown), (2, 98), axis=0)
    way = in_first(scene, scene.camera_to_world[:, :3, 3])
    return np.stack([np.minimum(low, way.min(axis=0)), np.maximum(high, way.max(axis=0))])


TRAIL = 16
"""Frames that a path is long, as in the benchmark's notebook."""

SIZE = 720, 960
"""Height and width of an image."""

_FINE = 2
"""How much larger it is drawn."""

_YAW, _PITCH = np.radians(28), np.radians(22)
_NAMES = ("X, right", "Y, down", "Z, forward")
_PAPER, _WALL, _GRID, _INK, _FAINT = (255, 255, 255), (246, 247, 249), (221, 225, 230), (45, 52, 60), (110, 120, 131)


class Box:
    """The cube that an image shows, and how its inside is placed on the image."""

    def __init__(self, lowest_highest: Float[np.ndarray, "2 3"], size: tuple[int, int]):
        """A cube around what lies between lowest and highest X, Y, Z, seen in an image of (height, width)."""
        low, high = lowest_highest
        self.side = float((high - low).max()) * 1.04 or 1.0
        self.low = (low + high - self.side) / 2
        c, s, d, e = np.cos(_YAW), np.sin(_YAW), np.cos(_PITCH), np.sin(_PITCH)
        right, down, away = [c, 0, s], [s * e, d, -c * e], [-s * d, e, c * d]
        self._turn = np.array([right, down, away])
        corners = (np.indices((2, 2, 2)).reshape(3, 8).T - 0.5) @ self._turn[:2].T
        h, w = size
        self.scale = min(0.78 * w / np.ptp(corners[:, 0]), 0.80 * h / np.ptp(corners[:, 1])) / self.side
        self._centre = np.array([0.48 * w, 0.5 * h])

    def place(self, xyz: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 2"]:
        """Project to x, y in the image the points in the first camera."""
        return (xyz - self.low - self.side / 2) @ self._turn[:2].T * self.scale + self._centre

    def away(self, xyz: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "..."]:
        """Measure how far behind the box's middle points lie, as the image shows it."""
        return (xyz - self.low - self.side / 2) @ self._turn[2]

    def holds(self, xyz: Float[np.ndarray, "... 3"]) -> np.ndarray:
        """Check which points lie in it."""
        return ((xyz >= self.low) & (xyz <= self.low + self.side)).all(axis=-1)

    def ticks(self, axis: int) -> tuple[float, np.ndarray]:
        """Choose the step and the round numbers along an axis."""
        power = 10.0 ** np.floor(np.log10(self.side / 4))
        step = float(power * max(k for k in (1, 2, 5) if k * power <= self.side / 4))
        low = self.low[axis]
        return step, np.arange(np.ceil(low / step), np.floor((low + self.side) / step) + 1) * step


def still(
    tracks: Tracks3D, frame: int | None = None, size: tuple[int, int] = SIZE, *, most_points: int | None = POINTS
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw an image of the tracks in one frame, the last one where None.

    Args:
        tracks: n tracks of t frames.
        frame: 0 to t - 1.
        size: height and width in pixels, each 240 or more.
        most_points: tracks shown, chosen at random but always the same; all where None.

    Raises:
        BadInput: no tracks, no frames, a frame that is not there, or an image too small to read.
    """
    scene = choose(tracks, most_points, None)
    frame = scene.frames - 1 if frame is None else frame
    if not 0 <= frame < scene.frames:
        raise BadInput(f"there is no frame {frame}: the 3D tracks have {scene.frames}; give 0 to {scene.frames - 1}")
    if min(size) < 240:
        raise BadInput(f"an image of {size[1]}x{size[0]} is too small for its labels; give 240 pixels or more each way")
    h, w = (_FINE * side for side in size)
    image = Image.new("RGB", (w, h), _PAPER)
    box = Box(bounds(scene), (h, w))
    canvas = ImageDraw.Draw(image, "RGBA")
    pixel = min(h, w) / 720
    font = ImageFont.load_default(17 * pixel)
    _draw_box(canvas, box, font, pixel, " (m)" if tracks.metric else "")
    hidden = _draw_tracks(canvas, box, scene, frame, pixel)
    _draw_camera(canvas, box, scene, frame, pixel)
    count = f"{len(scene.rows)} of {tracks.points} tracks" if len(scene.rows) < tracks.points else f"{tracks.points} tracks"
    camera = "frame 0's camera" if tracks.extrinsics_w2c is not None else "the frame's own camera, whose way is unknown"
    lines = (
        f"frame {frame} of {scene.frames}, {count}" + (f", {hidden} now outside the box" if hidden else ""),
        f"axes of {camera}; {'metres' if tracks.metric else scene.unit}",
    )
    canvas.multiline_text((14 * pixel, 12 * pixel), "\n".join(lines), _INK, font, spacing=6 * pixel)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BOX))


def write_still(
    tracks: Tracks3D,
    path: str | os.PathLike[str],
    frame: int | None = None,
    size: tuple[int, int] = SIZE,
    *,
    most_points: int | None = POINTS,
) -> Path:
    """Write the image of `still` as PNG; it is written atomically.

    Raises:
        BadInput: as `still`, and if the path cannot be written.
    """
    path = Path(path)
    image = Image.fromarray(still(tracks, frame, size, most_points=most_points))
    with whole_file(path) as temporary:
        image.save(temporary, "PNG")
    return path


def _draw_box(canvas: ImageDraw.ImageDraw, box: Box, font: Any, pixel: float, unit: str) -> None:
    """Floor and the two walls behind, their grids, numbers along three edges and the names of the axes."""
    low, high = box.low, box.low + box.side
    floor, back, left = (1, high[1]), (2, high[2]), (0, low[0])  # an axis and where the wall crosses it
    for axis, at in (floor, back, left):
        one, other = (k for k in range(3) if k != axis)
        corners = np.empty((4, 3))
        corners[:, axis] = at
        corners[:, one] = low[one], high[one], high[one], low[one]
        corners[:, other] = low[other], low[other], high[other], high[other]
        canvas.polygon(_flat(box.place(corners)), _WALL)
        for along, across in ((one, other), (other, one)):
            for value in box.ticks(along)[1]:
                ends = np.empty((2, 3))
                ends[:, axis], ends[:, along], ends[:, across] = at, value, (low[across], high[across])
                canvas.line(_flat(box.place(ends)), _GRID, round(2 * pixel))
    # X along the floor's near edge, Z along its right edge, Y up the left wall's near edge; each with the way to its numbers
    # and the place of its name, which is the middle of the edge but for Y, where it is the upper end.
    edges = (
        (0, {1: high[1], 2: low[2]}, (0, 1), "ma", (0.5, -10, 56), "ma"),
        (2, {0: high[0], 1: high[1]}, (1, 0.4), "la", (0.5, 50, 34), "la"),
        (1, {0: low[0], 2: low[2]}, (-1, 0), "rm", (0.0, -44, -18), "ld"),
    )
    for axis, fixed, direction, anchor, (fraction, right, down), name_anchor in edges:
        start, end = (np.array([fixed.get(k, side[k]) for k in range(3)]) for side in (low, high))
        first, last = box.place(start), box.place(end)
        canvas.line(_flat(np.stack([first, last])), _INK, round(2 * pixel))
        step, values = box.ticks(axis)
        digits = max(0, -int(np.floor(np.log10(step))))
        for value in values:
            at = box.place(np.where(np.arange(3) == axis, value, start))
            canvas.line(_flat(np.stack([at, at + 8 * pixel * np.array(direction)])), _INK, round(2 * pixel))
            canvas.text(tuple(at + 14 * pixel * np.array(direction)), f"{value + 0.0:.{digits}f}", _FAINT, font, anchor)
        at = first + fraction * (last - first) + pixel * np.array([right, down])
        canvas.text(tuple(at), _NAMES[axis] + unit, _INK, font, name_anchor)


def _draw_tracks(canvas: ImageDraw.ImageDraw, box: Box, scene: TrackScene, frame: int, pixel: float) -> int:
    """Paths and points, the farthest first; the number of points that lie outside the box and are not drawn."""
    xyz = in_first(scene, scene.world)
    inside, placed = box.holds(xyz), box.place(xyz)
    colours = scene.colours(scene.size(None))
    point, begin = scene.trails(frame, TRAIL)
    for i, f in zip(point, begin, strict=True):
        if inside[i, f] and inside[i, f + 1]:
            alpha = round(220 * (1 - (frame - f - 1) / TRAIL))
            canvas.line(_flat(placed[i, f : f + 2]), (*_darker(colours[i]), alpha), round(2.6 * pixel))
    depth = box.away(xyz[:, frame])
    shown = np.flatnonzero(inside[:, frame])
    for i in shown[np.argsort(-depth[shown], kind="stable")]:
        radius = pixel * (5.5 - 2.5 * np.clip(depth[i] / box.side, -0.6, 0.6))
        at, colour = placed[i, frame], _darker(colours[i])
        disc = [*(at - radius), *(at + radius)]
        if scene.visible[i, frame]:
            canvas.ellipse(disc, colour, (30, 35, 40, 150), round(pixel))
        else:
            canvas.ellipse(disc, None, (*colour, 130), round(1.6 * pixel))
    return len(inside) - len(shown)


def _draw_camera(canvas: ImageDraw.ImageDraw, box: Box, scene: TrackScene, frame: int, pixel: float) -> None:
    """The way of the camera up to the frame, and its frustum there, with a mark at the upper side of the image."""
    poses = scene.camera_to_world
    way = box.place(in_first(scene, poses[: frame + 1, :3, 3]))
    for pair in pairwise(way):
        canvas.line(_flat(np.stack(pair)), (*_INK, 160), round(2 * pixel))
    shape = frustum(scene.tracks.intrinsics, scene.size(None), 1.0)
    shape *= 0.12 * box.side / np.linalg.norm(shape, axis=1).max()
    centre, *corners = box.place(in_first(scene, transform(poses[frame], shape)))
    canvas.line(_flat(np.stack([*corners, corners[0]])), _INK, round(2 * pixel))
    canvas.line(_flat(np.stack(corners[:2])), _INK, round(5 * pixel))
    for corner in corners:
        canvas.line(_flat(np.stack([centre, corner])), _INK, round(1.6 * pixel))


def _flat(places: np.ndarray) -> list[float]:
    return places.ravel().tolist()


def _darker(colour: np.ndarray) -> tuple[int, int, int]:
    """The overlay's colours are for dark images; on white they need some weight."""
    r, g, b = (int(0.86 * value) for value in colour)
    return r, g, b
