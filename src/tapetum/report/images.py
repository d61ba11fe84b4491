"""Images of tracks: a row of curves for each point, and a frame with rulers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import ImageDraw

    from tapetum.tracks.doubtful import Place
    from tapetum.types import Tracks
    from tapetum.video.types import Frame

MOST = 24
"""Points that have panels; of more, the most doubtful."""
_WIDE, _HIGH, _MARGIN, _PAD = 340, 120, 110, 14
_INK, _SOFT, _LINE, _DOUBT = (29, 39, 48), (105, 118, 130), (211, 218, 224), (157, 42, 22)
_STEPS = 1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000
"""Pixels from one number of a ruler to the next."""
_NUMBERS = 10
"""Numbers along a side, about."""
_WIDTH = 34
"""Of a ruler, in pixels."""


def name_of_point(tracks: "Tracks", point: int) -> str:
    """Look up the name of a point, "point N" if it has none."""
    name = "" if tracks.names is None else tracks.names[point]
    return name or f"point {point}"


def draw_plot(tracks: "Tracks", places: "Sequence[Place]") -> "np.ndarray":
    """Draw a row per point, of at most `MOST`: path, speed in pixels per frame, confidence; uint8 (h, w, 3).

    Occluded parts are pale; doubtful places are marked.
    """
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    order = list(dict.fromkeys([place.point for place in places]))
    order = sorted([*order, *(point for point in range(tracks.points) if point not in set(order))][:MOST])
    head = 40
    image = Image.new("RGB", (_MARGIN + 3 * (_WIDE + _PAD), head + len(order) * (_HIGH + _PAD)), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    pen.font = ImageFont.load_default(13)
    left_out = f" ({len(order)} of {tracks.points} points, the most doubtful)" if len(order) < tracks.points else ""
    for k, title in enumerate((f"path{left_out}", "speed, pixels a frame", "confidence")):
        pen.text((_MARGIN + k * (_WIDE + _PAD), 12), title, fill=_INK)
    numbers = np.arange(tracks.frames) if tracks.numbers is None else tracks.numbers
    steps = np.linalg.norm(np.diff(tracks.xy, axis=1), axis=2) / np.diff(numbers)
    for row, point in enumerate(order):
        top = head + row * (_HIGH + _PAD)
        pen.text((8, top + 4), name_of_point(tracks, point)[:14], fill=_INK)
        panels = [(_MARGIN + k * (_WIDE + _PAD), top, _WIDE, _HIGH) for k in range(3)]
        marks = [place.frame for place in places if place.point == point]
        _path(pen, panels[0], tracks.xy[point], tracks.visible[point], marks)
        visible = tracks.visible[point]
        _curve(pen, panels[1], numbers[1:], steps[point], visible[1:] & visible[:-1], numbers[marks], None)
        _curve(pen, panels[2], numbers, tracks.confidence[point], visible, numbers[marks], 1.0)
    return np.asarray(image)


Panel = tuple[int, int, int, int]
"""Left, top, width and height."""


def _path(pen: "ImageDraw.ImageDraw", panel: Panel, xy: "np.ndarray", visible: "np.ndarray", marks: Sequence[int]) -> None:
    """The path in the image, with both axes to the same scale; y points down."""
    import numpy as np

    left, top, width, height = _frame(pen, panel)
    shown = xy[visible] if visible.any() else xy
    low, high = shown.min(axis=0), shown.max(axis=0)
    scale = min((width - 12) / max(high[0] - low[0], 1), (height - 12) / max(high[1] - low[1], 1))
    at = (xy - (low + high) / 2) * scale + (left + width / 2, top + height / 2)
    at = at.clip((left, top), (left + width, top + height))
    places = [(float(x), float(y)) for x, y in np.round(at, 2)]
    for k in range(len(places) - 1):
        pen.line([places[k], places[k + 1]], fill=_INK if visible[k] and visible[k + 1] else _LINE, width=2)
    _dot(pen, places[0], (31, 95, 168))
    for mark in marks:
        _dot(pen, places[mark], _DOUBT)
    pen.text((left + 4, top + height - 17), f"x {low[0]:.0f}-{high[0]:.0f}, y {low[1]:.0f}-{high[1]:.0f}", fill=_SOFT)


def _curve(
    pen: "ImageDraw.ImageDraw",
    panel: Panel,
    frames: "np.ndarray",
    values: "np.ndarray",
    visible: "np.ndarray",
    marks: "np.ndarray",
    most: float | None,
) -> None:
    """Values over frames, from 0 to `most`, or to the largest value at visible positions."""
    left, top, width, height = _frame(pen, panel)
    if not len(frames):
        return
    most = most or max(float(values[visible].max(initial=0)), 1e-3)
    first, span = int(frames[0]), max(int(frames[-1] - frames[0]), 1)

    def place(frame: float, value: float) -> tuple[float, float]:
        return left + (frame - first) / span * width, top + height - min(value / most, 1) * height

    for mark in marks.tolist():
        x, _ = place(mark, 0)
        pen.line([(x, top), (x, top + height)], fill=_DOUBT, width=1)
    points = [place(frame, value) for frame, value in zip(frames.tolist(), values.tolist(), strict=True)]
    for k in range(len(points) - 1):
        pen.line([points[k], points[k + 1]], fill=_INK if visible[k] and visible[k + 1] else _LINE, width=2)
    pen.text((left + 4, top + 2), f"{most:.3g}", fill=_SOFT)
    pen.text((left + 4, top + height - 17), f"frame {first}", fill=_SOFT)
    last = f"{int(frames[-1])}"
    pen.text((left + width - 4 - pen.textlength(last), top + height - 17), last, fill=_SOFT)


def _frame(pen: "ImageDraw.ImageDraw", panel: Panel) -> Panel:
    left, top, width, height = panel
    pen.rectangle((left, top, left + width, top + height), outline=_LINE)
    return panel


def _dot(pen: "ImageDraw.ImageDraw", at: tuple[float, float], colour: tuple[int, int, int]) -> None:
    pen.ellipse((at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3), fill=colour)


def add_ruler(frame: "Frame") -> "Frame":
    """Add rulers above and to the left of a frame: each number marks where x, or y, is that many raster pixels."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    height, width = frame.shape[:2]
    image = Image.new("RGB", (width + _WIDTH, height + _WIDTH), (255, 255, 255))
    image.paste(Image.fromarray(frame), (_WIDTH, _WIDTH))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(10)
    step = next((each for each in _STEPS if each * _NUMBERS >= max(width, height)), _STEPS[-1])
    for pixel in range(0, max(width, height) + 1, step):
        text = str(pixel)
        half = pen.textlength(text, font=font) / 2
        if pixel <= width:
            pen.line([(_WIDTH + pixel, _WIDTH - 6), (_WIDTH + pixel, _WIDTH - 1)], fill=(0, 0, 0))
            pen.text((_WIDTH + pixel - half, 12), text, fill=(0, 0, 0), font=font)
        if pixel <= height:
            pen.line([(_WIDTH - 6, _WIDTH + pixel), (_WIDTH - 1, _WIDTH + pixel)], fill=(0, 0, 0))
            pen.text((_WIDTH - 8 - 2 * half, _WIDTH + pixel - 6), text, fill=(0, 0, 0), font=font)
    return np.asarray(image)
