"""Drawing of point tracks over a video, and their colours.

A filled dot marks a point as visible, a hollow ring as hidden; behind it its path fades. The paths are in a separate layer, in
which each frame draws the newest segment of every path and darkens everything else, so the cost does not grow with the length
of the trail. Shapes are drawn from their distance functions, all points at once, and are antialiased; so are whole paths
(`draw_paths`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from tapetum.core.errors import BadInput, check_several
from tapetum.video.types import Frame

APART: UInt8[np.ndarray, "10 3"] = np.array(
    [
        [255, 255, 60],
        [105, 75, 255],
        [90, 210, 255],
        [210, 45, 75],
        [120, 0, 0],
        [240, 120, 0],
        [120, 225, 150],
        [195, 30, 165],
        [120, 150, 255],
        [240, 90, 165],
    ],
    np.uint8,
)
"""Colours for few points, each as far from those before it as can be, for eyes with all three cones and without those for long
or for middle waves (Machado, Oliveira and Fernandes 2009). The least distance of two in OKLab is 0.136, and 0.27 for the first
four; what can just be told apart is about 0.02."""


def point_colours(xy: Float[np.ndarray, "n 2"], width: int, height: int) -> UInt8[np.ndarray, "n 3"]:
    """Choose a colour for each of n points: those of `APART` if there are enough of them, else `position_colours`."""
    return APART[: len(xy)] if len(xy) <= len(APART) else position_colours(xy, width, height)


def position_colours(xy: Float[np.ndarray, "n 2"], width: int, height: int) -> UInt8[np.ndarray, "n 3"]:
    """Choose a colour for each position: the hue runs once along the frame and shifts with height, so neighbours are alike."""
    x, y = np.clip(np.nan_to_num(np.asarray(xy, np.float64)) / (width, height), 0, 1).T
    return _oklch(0.80 - 0.12 * y, 0.85 * x + 0.3 * y + 0.05)


def colour_wheel(n: int) -> UInt8[np.ndarray, "n 3"]:
    """Choose n colours of equal lightness around the circle of hues, as far apart as they can be."""
    return _oklch(np.full(n, 0.76), np.arange(n) / max(n, 1) + 0.08)


def _oklch(lightness: np.ndarray, hue: np.ndarray, chroma: float = 0.15) -> UInt8[np.ndarray, "n 3"]:
    """sRGB of the OKLCH colours with these lightnesses (0..1) and hues (in turns).

    Björn Ottosson, A perceptual color space for image processing (2020). Colours outside the gamut are clipped.
    """
    a, b = chroma * np.cos(2 * np.pi * hue), chroma * np.sin(2 * np.pi * hue)
    lms = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    matrix = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    linear = np.clip(np.array(matrix) @ lms**3, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * curved.T).astype(np.uint8)


_HALO = 0.55
"""Darkness of the rim that keeps a dot apart from an image of its own colour."""

_FINEST = 1.5
"""Pixels that a path must have gone for another corner of its line."""

_FAR = 1e6
"""Coordinates are cut to this, so that infinities and the like do no harm."""


def draw_tracks(
    frames: Iterable[Frame],
    xy: Float[np.ndarray, "n t 2"],
    visible: Bool[np.ndarray, "n t"],
    *,
    trail: int = 12,
    radius: float | None = None,
    rings: bool = True,
    labels: Sequence[str] | None = None,
    colours: UInt8[np.ndarray, "n 3"] | None = None,
) -> Iterator[Frame]:
    """Draw frames with n tracks drawn on them, one by one.

    `frames` is a `Video` or any iterable of t frames, uint8 (h, w, 3), which are not changed. Positions `xy` are raster pixels;
    those outside the frame or not finite are not drawn. A path has faded away after `trail` frames, 0 draws none; `radius` is
    that of the dots in pixels, by default by the frame size; `rings` says whether hidden points are drawn; `labels` are short
    texts beside the points; `colours` are by default `point_colours`. Raises BadInput for incompatible arrays, or more or fewer
    frames than the tracks have.
    """
    xy = np.clip(np.asarray(xy, np.float32), -_FAR, _FAR)
    visible = np.asarray(visible, np.bool_)
    if xy.ndim != 3 or xy.shape[2] != 2 or visible.shape != xy.shape[:2]:
        raise BadInput(f"tracks to draw have xy {xy.shape} and visible {visible.shape}; give (n, t, 2) and (n, t)")
    if colours is not None and np.shape(colours) != (len(xy), 3):
        raise BadInput(f"colours of {len(xy)} tracks have shape {np.shape(colours)}; give uint8 (n, 3)")
    if trail < 0 or (radius is not None and not radius > 0):
        raise BadInput(f"trail {trail} and radius {radius} are not possible; give trail >= 0 and radius > 0")
    check_several(labels, "labels")
    if labels is not None and len(labels) != len(xy):
        raise BadInput(f"{len(labels)} labels were given for {len(xy)} tracks; give one for each")
    return _drawn(frames, xy, visible, colours, {"trail": trail, "radius": radius, "rings": rings, "labels": labels})


def _drawn(
    frames: Iterable[Frame], xy: np.ndarray, visible: np.ndarray, colours: np.ndarray | None, style: dict[str, Any]
) -> Iterator[Frame]:
    painter: TrackPainter | None = None
    number = -1
    for number, frame in enumerate(frames):
        if number >= xy.shape[1]:
            raise BadInput(f"the tracks have {xy.shape[1]} frames but the video has more; draw tracks on their own video")
        if painter is None:
            height, width = frame.shape[:2]
            first = xy[np.arange(len(xy)), np.argmax(visible, axis=1)]  # where each is first visible, or else in frame 0
            own = point_colours(first, width, height) if colours is None else colours
            painter = TrackPainter(height, width, own, **style)
        yield painter.paint(frame, xy[:, number], visible[:, number])
    if number + 1 != xy.shape[1]:
        raise BadInput(f"the tracks have {xy.shape[1]} frames but the video has {number + 1}; draw tracks on their own video")


class TrackPainter:
    """Draws points on frames as they arrive, with their trails so far."""

    def __init__(
        self,
        height: int,
        width: int,
        colours: UInt8[np.ndarray, "n 3"],
        *,
        trail: int = 12,
        radius: float | None = None,
        rings: bool = True,
        labels: Sequence[str] | None = None,
    ):
        """Set up for frames of this size; the rest is as in `draw_tracks`."""
        self._tints = np.asarray(colours, np.float32)
        self._radius = radius or 0.8 + 0.004 * float(np.hypot(height, width))
        self._layer = _Trails(height, width, trail, 0.5 * self._radius)
        self._trail, self._rings = trail, rings
        self._labels = None if labels is None else PointLabels(labels, colours, height, width, self._radius)
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def paint(self, frame: Frame, xy: Float[np.ndarray, "n 2"], visible: Bool[np.ndarray, " n"]) -> Frame:
        """Draw the points on the next frame; the frame itself is not changed."""
        if self._before is not None and self._trail:
            strength = (visible & self._before[1]).astype(np.float32)  # a hidden point's way is a guess
            self._layer.light(self._before[0], xy, strength, self._tints)
        self._before = xy, visible
        canvas = np.array(frame, np.uint8, order="C")
        self._layer.lay_on(canvas)
        drawn = slice(None) if self._rings else visible
        _draw_dots(canvas, xy[drawn], visible[drawn], self._radius, self._tints[drawn])
        if self._labels is not None:
            self._labels.lay_on(canvas, xy, np.ones_like(visible) if self._rings else visible)
        return canvas


def draw_paths(
    frame: Frame, paths: Float[np.ndarray, "n k 2"], colours: UInt8[np.ndarray, "n 3"], *, width: float | None = None
) -> Frame:
    """Draw n paths of k positions on a copy of the frame, in raster pixels; a NaN, or a jump across the image, interrupts a
    path.

    Each pixel blends in the colour of the last path that covers it. The `width` in pixels is derived from the frame size if
    None.
    """
    shape = frame.shape[:2]
    diagonal = float(np.hypot(*shape))
    half = (width or 0.8 + 0.004 * diagonal) / 2
    canvas = np.array(frame, np.uint8, order="C")
    nearest = np.full(shape[0] * shape[1], np.inf, np.float32)
    for path, colour in zip(paths, colours, strict=True):
        lines = _unbroken(path, diagonal)
        if not lines:
            continue
        first, last = (np.concatenate([line[part] for line in lines]) for part in (np.s_[:-1], np.s_[1:]))
        start, end, _ = _pieces(first, last, 24.0)
        pixel, line, dx, dy = _patches(start, end, half + 1, shape)
        away = _from_lines(dx, dy, line, end - start).astype(np.float32)
        np.minimum.at(nearest, pixel, away)
        touched = pixel[away <= nearest[pixel]]  # once or more for each pixel
        cover = np.clip(half + 0.5 - nearest[touched], 0, 1)
        nearest[pixel] = np.inf
        touched, once = np.unique(touched, return_index=True)
        _blend(canvas, touched, colour.astype(np.float32), cover[once])
    return canvas


def _unbroken(path: Float[np.ndarray, "k 2"], longest: float) -> list[Float[np.ndarray, "_ 2"]]:
    """The stretches of a path between NaNs, and between jumps, which are not motion; nearly equal positions are merged."""
    known = np.flatnonzero(np.isfinite(path).all(1))
    steps = np.linalg.norm(np.diff(path[known], axis=0), axis=1)
    lines = []
    for part in np.split(np.arange(len(known)), np.flatnonzero((np.diff(known) > 1) | (steps >= longest)) + 1):
        if len(part) > 1:
            come = np.concatenate([[0], np.cumsum(steps[part[:-1]])]) // _FINEST
            kept = np.union1d(np.flatnonzero(np.diff(come, prepend=-1)), [0, len(part) - 1])
            lines.append(path[known[part[kept]]])
    return lines


class _Trails:
    """The fading layer: a colour and a strength for each pixel."""

    def __init__(self, height: int, width: int, trail: int, half_width: float):
        self.shape = height, width
        self.fade = 1 / max(trail, 1)
        self.half_width = max(half_width, 0.6)
        self.colour = np.zeros((height * width, 3), np.float32)
        self.strength = np.zeros(height * width, np.float32)

    def light(self, start: np.ndarray, end: np.ndarray, strength: np.ndarray, tints: np.ndarray) -> None:
        """Darken the layer by one frame, then draw a line from each start to its end."""
        self.strength -= self.fade
        np.maximum(self.strength, 0, out=self.strength)
        reach = np.linalg.norm(end - start, axis=1)
        drawn = np.flatnonzero(reach < np.hypot(*self.shape))  # a longer line is a jump, not a motion; NaN fails too
        start, end, owner = _pieces(start[drawn], end[drawn], 6 * self.half_width + 4)
        owner = drawn[owner]
        pixel, line, dx, dy = _patches(start, end, self.half_width + 1, self.shape)
        away = _from_lines(dx, dy, line, end - start)
        cover = np.clip(self.half_width + 0.5 - away, 0, 1) * strength[owner[line]]
        pixel, cover, line = _strongest(pixel, cover, line)
        weight = (self.strength[pixel] * (1 - cover))[:, None]
        mixed = self.colour[pixel] * weight + tints[owner[line]] * cover[:, None]
        self.colour[pixel] = mixed / (weight + cover[:, None])
        self.strength[pixel] = np.maximum(self.strength[pixel], cover)

    def lay_on(self, canvas: Frame) -> None:
        lit = np.flatnonzero(self.strength > 0)
        alpha = 0.85 * self.strength[lit]
        _blend(canvas, lit, self.colour[lit], alpha)


def _from_lines(dx: np.ndarray, dy: np.ndarray, line: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Distance of pixels, relative to the starts of their lines, from these lines, which have direction `along`."""
    square = np.maximum((along**2).sum(1), 1e-6)[line]
    across, down = along[line, 0], along[line, 1]
    t = np.clip((dx * across + dy * down) / square, 0, 1)
    return np.hypot(dx - t * across, dy - t * down)


def _draw_dots(canvas: Frame, xy: np.ndarray, visible: np.ndarray, radius: float, tints: np.ndarray) -> None:
    """Discs for visible points, rings for hidden ones; both have a dark outline."""
    height, width = canvas.shape[:2]
    margin = radius + 2
    inside = (xy > -margin).all(1) & (xy[:, 0] < width + margin) & (xy[:, 1] < height + margin)
    shown = np.flatnonzero(inside)
    at = xy[shown]
    pixel, dot, dx, dy = _patches(at, at, margin, (height, width))
    away = np.hypot(dx, dy)
    is_visible = visible[shown[dot]]
    stroke = max(0.35 * radius, 0.7)
    edge = np.where(is_visible, away - radius, np.abs(away - radius) - stroke / 2)
    fill = np.clip(0.5 - edge, 0, 1)
    rim = np.clip(0.5 + max(0.25 * radius, 0.8) - edge, 0, 1) * np.where(is_visible, _HALO, 0.6 * _HALO)
    alpha = fill + (1 - fill) * rim
    pixel, alpha, fill, dot = _strongest(pixel, alpha, fill, dot)
    _blend(canvas, pixel, tints[shown[dot]] * (fill / alpha)[:, None], alpha)


def _patches(
    start: np.ndarray, end: np.ndarray, margin: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels in a box around each line: flat pixel number, line, and x, y of the pixel's centre from the start."""
    size = np.ceil(2 * margin + np.abs(end - start)).astype(np.int64) + 1
    corner = np.floor(np.minimum(start, end) - margin).astype(np.int64)
    step = np.arange(size.max(initial=1))
    x, y = corner[:, 0, None] + step, corner[:, 1, None] + step
    across = (x >= 0) & (x < shape[1]) & (step < size[:, 0, None])
    down = (y >= 0) & (y < shape[0]) & (step < size[:, 1, None])
    inside = down[:, :, None] & across[:, None, :]
    line, row, column = np.unravel_index(np.flatnonzero(inside), inside.shape)
    x, y = x[line, column], y[line, row]
    return y * shape[1] + x, line, x + np.float32(0.5) - start[line, 0], y + np.float32(0.5) - start[line, 1]


def _pieces(start: np.ndarray, end: np.ndarray, longest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lines cut into pieces no longer than `longest`, and the line of each piece."""
    count = np.maximum(np.ceil(np.linalg.norm(end - start, axis=1) / longest), 1).astype(np.int64)
    owner = np.repeat(np.arange(len(start)), count)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    step = ((end - start) / count[:, None])[owner].astype(np.float32)
    begin = start[owner] + step * place[:, None]
    return begin.astype(np.float32), (begin + step).astype(np.float32), owner


def _strongest(pixel: np.ndarray, cover: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Choose, of several shapes on one pixel, the one that covers most; shapes without coverage are dropped."""
    claims = np.flatnonzero(cover > 1 / 255)
    order = claims[np.lexsort((cover[claims], pixel[claims]))]
    last = np.ones(len(order), np.bool_)
    last[:-1] = pixel[order][1:] != pixel[order][:-1]
    chosen = order[last]
    return pixel[chosen], cover[chosen], *(other[chosen] for other in others)


def _blend(canvas: Frame, pixel: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> None:
    flat = canvas.reshape(-1, 3)
    under = flat[pixel]
    flat[pixel] = np.rint(under + (colour - under) * alpha[:, None]).astype(np.uint8)


_RIM = 1
"""Pixels of dark around each letter."""


class PointLabels:
    """Texts drawn beside points: to the right and above, or on another side if the image ends there."""

    def __init__(self, texts: Sequence[str], colours: UInt8[np.ndarray, "n 3"], height: int, width: int, radius: float):
        """For n points, dots of this radius, and frames of this size."""
        font = ImageFont.load_default(max(9.0, 0.028 * height + 2))
        self._gap = radius + 1.5
        self._stamps = [_stamp(text, colour, font) for text, colour in zip(texts, colours, strict=True)]

    def lay_on(self, canvas: Frame, xy: Float[np.ndarray, "n 2"], shown: Bool[np.ndarray, " n"]) -> None:
        """Draw the texts of the points that are shown and inside the image onto the canvas."""
        height, width = canvas.shape[:2]
        with np.errstate(invalid="ignore"):
            inside = (xy >= 0).all(1) & (xy[:, 0] <= width) & (xy[:, 1] <= height) & shown
        for point in np.flatnonzero(inside):
            ink, alpha = self._stamps[point]
            tall, wide = alpha.shape[:2]
            x, y = xy[point]
            left = round(x + self._gap if x + self._gap + wide <= width else x - self._gap - wide)
            top = round(y - self._gap - tall / 2 if y - self._gap - tall / 2 >= 0 else y + self._gap - tall / 2)
            left, top = min(max(left, 0), max(width - wide, 0)), min(max(top, 0), max(height - tall, 0))
            under = canvas[top : top + tall, left : left + wide]
            ink, alpha = ink[: under.shape[0], : under.shape[1]], alpha[: under.shape[0], : under.shape[1]]
            under[...] = np.rint(under + (ink - under) * alpha)


def _stamp(text: str, colour: np.ndarray, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> tuple[np.ndarray, np.ndarray]:
    """The text in its colour with a dark outline: colours (h, w, 3) and opacity (h, w, 1), 0..1."""
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = (int(side) for side in pen.textbbox((0, 0), text or " ", font=font, stroke_width=_RIM))
    size, place = (right - left + 1, bottom - top + 1), (-left, -top)

    def mask(rim: int) -> np.ndarray:
        image = Image.new("L", size)
        ImageDraw.Draw(image).text(place, text, fill=255, font=font, stroke_width=rim)
        return np.asarray(image, np.float32)[..., None] / 255

    letters, whole = mask(0), mask(_RIM)
    ink = colour.astype(np.float32) * letters / np.maximum(whole, 1e-6)
    return np.clip(ink, 0, 255), np.maximum(0.8 * whole, letters)
