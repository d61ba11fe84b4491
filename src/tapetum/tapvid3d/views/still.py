"""A picture for reports: 3D tracks in a box, with tails, beside the frame of the video that they belong to.

As in TAPVid-3D's figures: the axes of the plot are X, Z and Y with the vertical upside down, since y goes down in the
picture; the sides of the box are equal; tails of 16 frames are drawn where the point was visible. Numpy and Pillow only.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tapetum.errors import BadInput
from tapetum.files import whole_file
from tapetum.tapvid3d.geometry import F64
from tapetum.tapvid3d.tracks3d import Tracks3D
from tapetum.tapvid3d.views.common import cameras, colours, drawn, extent
from tapetum.video import TrackPainter
from tapetum.video.types import Frame

TAIL = 16
"""Frames of the tail behind a point."""
SIDE = 640
"""Height of the picture, and width of the plot, in pixels."""
FINE = 2
"""Times that the plot is drawn larger than it is shown, for smooth lines."""
_TURN, _LIFT, _EYE = np.radians(-35), np.radians(22), 6.0
"""The view: about the vertical, from above, and its distance in half sides of the box."""


def draw_still(
    tracks: Tracks3D,
    size: tuple[int, int],
    frame: int | None = None,
    picture: Frame | None = None,
) -> Frame:
    """The plot of one frame, the last by default; beside it, if given, the picture of that frame with the points on it.

    `size` is width and height of the video. Raises BadInput for a frame that is not there, or nothing to draw.
    """
    drawn(tracks)
    t = tracks.frames - 1 if frame is None else frame
    if not 0 <= t < tracks.frames:
        raise BadInput(f"frame {t} is not in the tracks, which have {tracks.frames} frames (0 to {tracks.frames - 1})")
    plot = _plot(tracks, size, t)
    if picture is None:
        return plot
    height, width = picture.shape[:2]
    painter = TrackPainter(height, width, colours(tracks, size))
    shown = picture
    for k in range(max(0, t - TAIL), t + 1):
        shown = painter.paint(picture, tracks.xy[:, k], tracks.visible[:, k])
    beside = Image.fromarray(shown).resize((max(1, round(width * SIDE / height)), SIDE), Image.Resampling.LANCZOS)
    return np.concatenate([np.asarray(beside), plot], axis=1)


def write_still(
    path: str | os.PathLike[str],
    tracks: Tracks3D,
    size: tuple[int, int],
    frame: int | None = None,
    picture: Frame | None = None,
) -> Path:
    """Write `draw_still` to `path`, a png or jpg. Raises BadInput as it, and where the place cannot be written."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise BadInput(f"{path} has the extension {path.suffix!r}; give the picture a name that ends in .png or .jpg")
    image = Image.fromarray(draw_still(tracks, size, frame, picture))
    with whole_file(path) as temporary:
        image.save(temporary)
    return path


def _plot(tracks: Tracks3D, size: tuple[int, int], t: int) -> Frame:
    world, tints, way = tracks.world, colours(tracks, size), cameras(tracks)[: t + 1, :3, 3]
    until = slice(max(0, t - TAIL), t + 1)
    middle, reach = extent(world[:, until], tracks.visible[:, until], way if tracks.extrinsics_w2c is not None else way[:0])
    canvas = Image.new("RGB", (SIDE * FINE, SIDE * FINE), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    _draw_box(draw, middle, reach, tracks.metric)
    spots, depth = _seen((world[:, until] - middle) / reach)
    for n in np.argsort(-depth[:, -1]):
        tint = tuple(int(v) for v in tints[n])
        for k in range(1, spots.shape[1]):
            if tracks.visible[n, until][k - 1 : k + 1].all():
                share = (k + 1) / spots.shape[1]
                pale = tuple(round(255 + (v - 255) * (0.25 + 0.75 * share)) for v in tint)
                draw.line([tuple(spots[n, k - 1]), tuple(spots[n, k])], fill=pale, width=2 * FINE)
        x, y = spots[n, -1]
        radius = 3.2 * FINE * _EYE / max(depth[n, -1], 1)
        where = (x - radius, y - radius, x + radius, y + radius)
        if tracks.visible[n, t]:
            draw.ellipse(where, fill=tint, outline=(60, 60, 60))
        else:
            draw.ellipse(where, outline=tint, width=FINE)
    if tracks.extrinsics_w2c is not None:
        _draw_way(draw, (way - middle) / reach)
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _seen(places: F64) -> tuple[F64, F64]:
    """Pixels (..., 2) of the large canvas, and distances from the eye, of places (..., 3) in half sides from the middle."""
    x, y, z = np.moveaxis(np.clip(places, -4, 4), -1, 0)
    across, away = np.cos(_TURN) * x - np.sin(_TURN) * z, np.sin(_TURN) * x + np.cos(_TURN) * z
    up, depth = -np.cos(_LIFT) * y + np.sin(_LIFT) * away, _EYE + np.sin(_LIFT) * y + np.cos(_LIFT) * away
    scale = 0.27 * _EYE / np.maximum(depth, 0.5)
    return np.stack([0.5 + across * scale, 0.45 - up * scale], axis=-1) * SIDE * FINE, depth


def _draw_box(draw: ImageDraw.ImageDraw, middle: F64, reach: float, metric: bool) -> None:
    """The three far walls with a grid at round numbers, and the numbers along the edges."""
    font = ImageFont.load_default(13 * FINE)
    x, y, z = (_ticks(float(centre), reach) for centre in middle)
    places = [(values - centre) / reach for values, centre in zip((x, y, z), middle, strict=True)]

    def stroke(a: Sequence[float], b: Sequence[float], grey: int) -> None:
        (start, end), _ = _seen(np.array([a, b], np.float64))
        draw.line([tuple(start), tuple(end)], fill=(grey, grey, grey), width=FINE)

    def write(at: Sequence[float], text: str) -> None:
        draw.text(tuple(_seen(np.array(at, np.float64))[0]), text, fill=(90, 90, 90), font=font, anchor="mm")

    for steps, grey in ((places, 222), ([[-1.0, 1.0]] * 3, 130)):
        for s in steps[0]:
            stroke([s, 1, -1], [s, 1, 1], grey)  # the floor and the wall behind
            stroke([s, -1, 1], [s, 1, 1], grey)
        for s in steps[1]:
            stroke([-1, s, 1], [1, s, 1], grey)
            stroke([-1, s, -1], [-1, s, 1], grey)  # the wall at the side
        for s in steps[2]:
            stroke([-1, 1, s], [1, 1, s], grey)
            stroke([-1, -1, s], [-1, 1, s], grey)
    for value, s in zip(x, places[0], strict=True):
        write([s, 1.12, -1.1], f"{value:g}")
    for value, s in zip(z, places[2], strict=True):
        write([1.14, 1.1, s], f"{value:g}")
    for value, s in zip(y, places[1], strict=True):
        write([-1.08, s, -1.08], f"{value:g}")
    unit = " (m)" if metric else ""
    write([0, 1.3, -1.25], f"X{unit}")
    write([1.38, 1.22, 0], f"Z{unit}")
    write([-1, -1.14, -1], f"Y{unit}")


def _ticks(middle: float, reach: float) -> F64:
    """Round numbers within 95 % of `reach` from the middle, four or so.

    >>> _ticks(0.3, 2.0).tolist()
    [-1.0, 0.0, 1.0, 2.0]
    """
    power = 10.0 ** np.floor(np.log10(reach / 2))
    step = power * max(s for s in (1, 2, 5) if s * power <= reach / 2 * (1 + 1e-9))
    first, last = np.ceil((middle - 0.95 * reach) / step), np.floor((middle + 0.95 * reach) / step)
    return np.round(np.arange(first, last + 1) * step, 12) + 0.0


def _draw_way(draw: ImageDraw.ImageDraw, places: F64) -> None:
    """The way of the camera, as far as it lies about the box."""
    spots, _ = _seen(places)
    draw.line([tuple(spot) for spot in spots], fill=(40, 40, 40), width=2 * FINE)
    x, y = spots[-1]
    draw.rectangle((x - 4 * FINE, y - 4 * FINE, x + 4 * FINE, y + 4 * FINE), fill=(40, 40, 40))
