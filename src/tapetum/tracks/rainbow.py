"""The rainbow view: independently moving points draw coloured paths, as if the camera had not moved.

In each frame, the paths so far of all foreground points are mapped to that frame through the camera's motion
(`tracks.camera`), so an object that is still in the world draws no path however the camera moves. Background points are small
and grey.

Each frame is aligned separately, so small errors of its homography shake all paths together, and tracks jitter a
little themselves: paths are smoothed in time when drawn (`smoothed`), except for their ends, which lie on the points.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from tapetum.core.errors import BadInput
from tapetum.tracks.camera import CameraMotion, camera_motion
from tapetum.types import Tracks
from tapetum.video import TrackPainter, colour_wheel
from tapetum.video.draw import draw_paths
from tapetum.video.types import Frame

GREY = 170
"""Colour of background points."""


def draw_rainbow(
    frames: Iterable[Frame],
    tracks: Tracks,
    *,
    motion: CameraMotion | None = None,
    dim: float = 0.75,
    radius: float | None = None,
    labels: Sequence[str] | None = None,
) -> Iterator[Frame]:
    """Draw frames with the rainbow view on them, one by one.

    Args:
        frames: of the video that the tracks belong to; they are not changed.
        motion: the camera's; estimated from the tracks if None.
        dim: brightness of the image under the paths.
        radius: of the dots of moving points, in pixels; derived from the frame size if None.
        labels: a short text per point, written beside it.

    Raises:
        BadInput: more or fewer frames than the tracks have.
    """
    xy, visible = tracks.xy.astype(np.float64), tracks.visible
    colours = rainbow_colours(tracks)
    if labels is not None and len(labels) != tracks.points:
        raise BadInput(f"{len(labels)} labels were given for {tracks.points} tracks; give one for each")
    dimmed = np.rint(np.arange(256) * dim).astype(np.uint8)
    number = -1
    for number, frame in enumerate(frames):
        if number >= tracks.frames:
            raise BadInput(f"the tracks have {tracks.frames} frames but the video has more; draw them on their own video")
        diagonal = float(np.hypot(*frame.shape[:2]))
        if motion is None:
            motion = camera_motion(tracks, within=max(2.0, 0.004 * diagonal))
        paths = np.where(visible[:, : number + 1, None], motion.stabilised(xy[:, : number + 1], number), np.nan)
        moving = ~motion.background
        canvas = dimmed[frame]
        grey = np.full_like(colours, GREY)
        large = radius or 0.8 + 0.004 * diagonal
        canvas = _dots(canvas, tracks, number, motion.background, grey, large / 2, labels)
        canvas = draw_paths(canvas, smoothed(paths[moving]), colours[moving])
        yield _dots(canvas, tracks, number, moving, colours, large, labels)
    if number + 1 != tracks.frames:
        raise BadInput(f"the tracks have {tracks.frames} frames but the video has {number + 1}; draw them on their own video")


def smoothed(paths: Float[np.ndarray, "n k 2"], reach: int = 3) -> Float[np.ndarray, "n k 2"]:
    """Smooth paths: each position becomes a weighted mean (binomial) of those up to `reach` frames before and after it.

    As many are used before as after, none across a NaN, so the ends of a path, and straight uniform motion, do not change.

    >>> smoothed(np.array([[[0.0, 0], [1, 3], [2, 0]]]), 1).tolist()
    [[[0.0, 0.0], [1.0, 1.5], [2.0, 0.0]]]
    """
    known = np.asarray(np.isfinite(paths).all(-1))
    result, whole = paths.copy(), known.copy()
    for width in range(1, min(reach, (paths.shape[1] - 1) // 2) + 1):
        weights = np.array([math.comb(2 * width, k) for k in range(2 * width + 1)]) / 4.0**width
        count = paths.shape[1] - 2 * width
        inner = slice(width, width + count)
        whole[:, :width] = whole[:, width + count :] = False
        whole[:, inner] &= known[:, :count] & known[:, 2 * width :]
        mean = np.sum([weight * paths[:, k : k + count] for k, weight in enumerate(weights)], 0)
        result[:, inner] = np.where(whole[:, inner, None], mean, result[:, inner])
    return result


def _dots(
    frame: Frame,
    tracks: Tracks,
    number: int,
    chosen: np.ndarray,
    colours: np.ndarray,
    radius: float,
    labels: Sequence[str] | None,
) -> Frame:
    """The chosen points that are visible in frame `number`."""
    shown = np.flatnonzero(chosen & tracks.visible[:, number])
    height, width = frame.shape[:2]
    texts = None if labels is None else [labels[point] for point in shown.tolist()]
    painter = TrackPainter(height, width, colours[shown], trail=0, radius=radius, labels=texts)
    return painter.paint(frame, tracks.xy[shown, number], np.ones(len(shown), bool))


def rainbow_colours(tracks: Tracks) -> UInt8[np.ndarray, "n 3"]:
    """Choose hues from the full colour circle, by height where a point was first visible."""
    first = tracks.xy[np.arange(tracks.points), tracks.visible.argmax(1), 1]
    colours = np.empty((tracks.points, 3), np.uint8)
    colours[np.argsort(first, kind="stable")] = colour_wheel(tracks.points)
    return colours
