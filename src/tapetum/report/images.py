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
"""Maximum number of points with panels; of more, the most doubtful."""
_WIDE, _HIGH, _MARGIN, _PAD, _HEAD = 340, 120, 110, 14, 40
_INK, _SOFT, _LINE, _DOUBT = (29, 39, 48), (105, 118, 130), (211, 218, 224), (157, 42, 22)
_STEPS = 1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000
"""Ruler spacings in pixels."""
_WIDTH = 34
"""Ruler width in pixels."""


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

    order = sorted(list(dict.fromkeys([*(place.point for place in places), *range(tracks.points)]))[:MOST])
    image = Image.new("RGB", (_MARGIN + 3 * (_WIDE + _PAD), _HEAD + len(order) * (_HIGH + _PAD)), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    pen.font = ImageFont.load_default(13)
    left_out = f" ({len(order)} of {tracks.points} points, the most doubtful)" if len(order) < tracks.points else ""
    for k, title in enumerate((f"path{left_out}", "speed, pixels a frame", "confidence")):
        pen.text((_MARGIN + k * (_WIDE + _PAD), 12), title, fill=_INK)
    numbers = np.arange(tracks.frames) if tracks.numbers is None else tracks.numbers
    steps = np.linalg.norm(np.diff(tracks.xy, axis=1), axis=2) / np.diff(numbers)
    across = (numbers - numbers[0]) / max(numbers[-1] - numbers[0], 1)
    frames = f"frames {numbers[0]} to {numbers[-1]}"
    for row, point in enumerate(order):
        visible, xy = tracks.visible[point], tracks.xy[point]
        top = _HEAD + row * (_HIGH + _PAD)
        pen.text((8, top + 4), name_of_point(tracks, point)[:14], fill=_INK)
        marks = [place.frame for place in places if place.point == point]
        shown = xy[visible] if visible.any() else xy
        low, high = shown.min(axis=0), shown.max(axis=0)
        scale = min(_WIDE / max(high[0] - low[0], 1), _HIGH / max(high[1] - low[1], 1)) * 0.9
        path = (xy - (low + high) / 2) * scale / (_WIDE, _HIGH) + 0.5
        _panel(
            pen, (_MARGIN, top), path, visible, path[marks], "", f"x {low[0]:.0f}-{high[0]:.0f}, y {low[1]:.0f}-{high[1]:.0f}"
        )
        both = visible[1:] & visible[:-1]
        most = max(float(steps[point][both].max(initial=0)), 1e-3)
        for column, at, values, shown, largest in (
            (1, across[1:], steps[point] / most, both, most),
            (2, across, tracks.confidence[point], visible, 1.0),
        ):
            lines = np.stack([np.repeat(across[marks], 2), np.tile([0.0, 1.0], len(marks))], axis=1).reshape(-1, 2, 2)
            corner = _MARGIN + column * (_WIDE + _PAD), top
            _panel(pen, corner, np.stack([at, 1 - values], axis=1), shown, lines, f"{largest:.3g}", frames)
    return np.asarray(image)


def _panel(
    pen: "ImageDraw.ImageDraw",
    corner: tuple[int, int],
    line: "np.ndarray",
    visible: "np.ndarray",
    marks: "np.ndarray",
    above: str,
    below: str,
) -> None:
    """Draw a line (k, 2) in shares of the panel, and marks: points (m, 2), or lines (m, 2, 2)."""
    left, top = corner
    pen.rectangle((left, top, left + _WIDE, top + _HIGH), outline=_LINE)

    def place(at: "np.ndarray") -> tuple[float, float]:
        x, y = at.clip(0, 1)
        return float(left + x * _WIDE), float(top + y * _HIGH)

    for mark in marks:
        if mark.ndim == 2:
            pen.line([place(mark[0]), place(mark[1])], fill=_DOUBT)
    for k in range(len(line) - 1):
        pen.line([place(line[k]), place(line[k + 1])], fill=_INK if visible[k] and visible[k + 1] else _LINE, width=2)
    for mark in marks:
        if mark.ndim == 1:
            pen.circle(place(mark), 3, fill=_DOUBT)
    pen.text((left + 4, top + 2), above, fill=_SOFT)
    pen.text((left + 4, top + _HIGH - 17), below, fill=_SOFT)


def add_ruler(frame: "Frame") -> "Frame":
    """Add rulers above and to the left of a frame: each number marks where x, or y, is that many raster pixels."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    height, width = frame.shape[:2]
    image = Image.new("RGB", (width + _WIDTH, height + _WIDTH), (255, 255, 255))
    image.paste(Image.fromarray(frame), (_WIDTH, _WIDTH))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(10)
    step = next((each for each in _STEPS if each * 10 >= max(width, height)), _STEPS[-1])
    for pixel in range(0, max(width, height) + 1, step):
        at, half = _WIDTH + pixel, pen.textlength(str(pixel), font=font) / 2
        if pixel <= width:
            pen.line([(at, _WIDTH - 6), (at, _WIDTH - 1)], fill=(0, 0, 0))
            pen.text((at - half, 12), str(pixel), fill=(0, 0, 0), font=font)
        if pixel <= height:
            pen.line([(_WIDTH - 6, at), (_WIDTH - 1, at)], fill=(0, 0, 0))
            pen.text((_WIDTH - 8 - 2 * half, at - 6), str(pixel), fill=(0, 0, 0), font=font)
    return np.asarray(image)
