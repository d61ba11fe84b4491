"""Data of every view: the chosen tracks in the world, their colours, the camera, and the images of a video beside them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from numpy.typing import NDArray

from tapetum.core.errors import BadInput
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
