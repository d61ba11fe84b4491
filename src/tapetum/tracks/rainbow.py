"""The rainbow view: what moves by itself draws coloured paths, as if the camera had stood still.

In each frame the paths so far of all foreground points are laid on that frame through the camera's motion
(`tracks.camera`), so a thing that stands in the world draws no path however the camera moves. Background points are small
and grey.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import UInt8

from tapetum.errors import BadInput
from tapetum.tracks.camera import CameraMotion, camera_motion
from tapetum.types import Tracks
from tapetum.video import TrackPainter, colour_wheel
from tapetum.video.draw import draw_paths
from tapetum.video.types import Frame

GREY = 170
"""Colour of background points."""


def draw_rainbow(
    frames: Iterable[Frame], tracks: Tracks, *, motion: CameraMotion | None = None, dim: float = 0.75
) -> Iterator[Frame]:
    """Draw frames with the rainbow view on them, one by one.

    Args:
        frames: of the video that the tracks are from; they are not changed.
        motion: the camera's; found from the tracks where None.
        dim: brightness of the picture under the paths.

    Raises:
        BadInput: more or fewer frames than the tracks have.
    """
    xy, visible = tracks.xy.astype(np.float64), tracks.visible
    colours = rainbow_colours(tracks)
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
        canvas = _dots(canvas, tracks, number, motion.background, grey, 0.4 + 0.002 * diagonal)
        canvas = draw_paths(canvas, paths[moving], colours[moving])
        yield _dots(canvas, tracks, number, moving, colours, 0.8 + 0.004 * diagonal)
    if number + 1 != tracks.frames:
        raise BadInput(f"the tracks have {tracks.frames} frames but the video has {number + 1}; draw them on their own video")


def _dots(frame: Frame, tracks: Tracks, number: int, chosen: np.ndarray, colours: np.ndarray, radius: float) -> Frame:
    """The chosen points that are seen in frame `number`."""
    shown = np.flatnonzero(chosen & tracks.visible[:, number])
    height, width = frame.shape[:2]
    painter = TrackPainter(height, width, colours[shown], trail=0, radius=radius)
    return painter.paint(frame, tracks.xy[shown, number], np.ones(len(shown), bool))


def rainbow_colours(tracks: Tracks) -> UInt8[np.ndarray, "n 3"]:
    """Return hues once around, by height where a point was first seen."""
    first = tracks.xy[np.arange(tracks.points), tracks.visible.argmax(1), 1]
    colours = np.empty((tracks.points, 3), np.uint8)
    colours[np.argsort(first, kind="stable")] = colour_wheel(tracks.points)
    return colours
