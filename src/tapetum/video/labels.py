"""Short texts beside points, such as their numbers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from tapetum.video.types import Frame

_RIM = 1
"""Pixels of dark around each letter."""


class PointLabels:
    """Texts that are drawn beside points: to the right and above, or on another side where the image ends there."""

    def __init__(self, texts: Sequence[str], colours: UInt8[np.ndarray, "n 3"], height: int, width: int, radius: float):
        """For n points, dots of this radius, and frames of this size."""
        font = ImageFont.load_default(max(9.0, 0.028 * height + 2))
        self._gap = radius + 1.5
        self._stamps = [_stamp(text, colour, font) for text, colour in zip(texts, colours, strict=True)]

    def lay_on(self, canvas: Frame, xy: Float[np.ndarray, "n 2"], shown: Bool[np.ndarray, " n"]) -> None:
        """Draw the texts of the points that are shown and in the image onto the canvas."""
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
    """The text in its colour with a dark rim: colours (h, w, 3) and opacity (h, w, 1), 0..1."""
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
