"""What the views share: colours, the world, and small pictures of the video."""

import io
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from tapetum.errors import BadInput
from tapetum.tapvid3d.tracks3d import Tracks3D
from tapetum.video import position_colours
from tapetum.video.types import Frame


def colours(tracks: Tracks3D, size: tuple[int, int]) -> UInt8[np.ndarray, "n 3"]:
    """One for each point, those of the overlay on a video of (width, height): by the place where the point was first seen."""
    first = tracks.xy[np.arange(tracks.points), tracks.visible.argmax(axis=1)]
    return position_colours(first, *size)


def drawn(tracks: Tracks3D) -> None:
    """Raise BadInput where there is nothing to draw."""
    if not tracks.points or not tracks.frames:
        raise BadInput(
            f"{tracks.points} points in {tracks.frames} frames: there is nothing to look at; track one point or more"
        )


def cameras(tracks: Tracks3D) -> Float[np.ndarray, "t 4 4"]:
    """From each frame's camera to the world; all the same where nobody knows how the camera moved."""
    if tracks.extrinsics_w2c is None:
        return np.tile(np.eye(4), (tracks.frames, 1, 1))
    return np.linalg.inv(tracks.extrinsics_w2c)


def extent(world: Float[np.ndarray, "n t 3"], seen: np.ndarray, way: Float[np.ndarray, "t 3"]) -> tuple[np.ndarray, float]:
    """Middle (3,) and half the side of a cube about nearly all visible places (a few far ones do not count) and the `way`."""
    places = world[seen] if seen.any() else world.reshape(-1, 3)
    low, high = np.percentile(places, [2, 98], axis=0)
    low, high = np.min([low, *way], axis=0), np.max([high, *way], axis=0)
    return (low + high) / 2, max(float((high - low).max()) / 2, 1e-6) * 1.05


def jpegs(pictures: Iterable[Frame], width: int, quality: int = 60) -> list[bytes]:
    """Pictures of at most this width, as JPEG."""
    found = []
    for picture in pictures:
        image = Image.fromarray(picture)
        image.thumbnail((width, 4 * width))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality)
        found.append(data.getvalue())
    return found
