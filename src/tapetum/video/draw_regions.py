"""Drawing boxes, masks and text on an image.

A mask is a tint with an outline; a box is a line with a dark edge, so that it is visible on any background; its label is above
it, or below if there is no room. Text about the whole image is on a strip below. Everything is drawn with Pillow.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from tapetum.types import Boxes, Masks
from tapetum.video.draw import APART
from tapetum.video.types import Frame

_TINT = 0.42
"""How much of a mask's colour lies on the image."""
_LEAST = 384
"""Pixels of the longer side below which an image is enlarged, whole times, so that words have room."""


def enlarged(frame: Frame, least: int = _LEAST) -> tuple[Frame, int]:
    """Enlarge a frame by an integer factor until its longer side has `least` pixels; return the factor too."""
    times = max(1, math.ceil(least / max(frame.shape[:2])))
    return (frame.repeat(times, 0).repeat(times, 1) if times > 1 else frame), times


def draw_regions(
    frame: Frame, boxes: Boxes | None = None, masks: Masks | None = None, colours: UInt8[np.ndarray, "n 3"] | None = None
) -> Frame:
    """Draw masks, then boxes with their labels, on a copy of a frame; `colours` are those of the boxes, in turn by default."""
    canvas = frame.copy()
    for k, mask in enumerate(() if masks is None else masks.masks):
        colour = APART[k % len(APART)]
        canvas[mask] = np.rint(canvas[mask] * (1 - _TINT) + colour * _TINT).astype(np.uint8)
        canvas[_rim(mask)] = colour
    if boxes is None or not len(boxes):
        return canvas
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    height, width = canvas.shape[:2]
    thick = max(1, round(min(height, width) / 180))
    font = _font(max(10.0, 0.028 * height + 2))
    for k, (corners, label) in enumerate(zip(boxes.xyxy.tolist(), boxes.labels, strict=True)):
        colour = tuple((APART[k % len(APART)] if colours is None else colours[k]).tolist())
        x1, y1, x2, y2 = (round(v) for v in corners)
        edges = max(x1, 0), max(y1, 0), min(max(x2 - 1, x1), width - 1), min(max(y2 - 1, y1), height - 1)
        if edges[2] < edges[0] or edges[3] < edges[1]:
            continue  # outside the image
        pen.rectangle(edges, outline=(0, 0, 0), width=thick + 2)
        pen.rectangle(
            tuple(v + (1 if i < 2 else -1) for i, v in enumerate(edges)) if thick > 1 else edges, outline=colour, width=thick
        )
        if label:
            _label(pen, font, label, (edges[0], edges[1], edges[3]), colour, (width, height))
    return np.asarray(image)


def draw_words(frame: Frame, lines: Sequence[str]) -> Frame:
    """Draw lines of text, wrapped to the width, on a strip below a frame."""
    width = frame.shape[1]
    font = _font(max(12.0, 0.03 * width))
    wrapped = [part for line in lines for part in _wrapped(line, font, width - 16)]
    tall = round(font.size * 1.35)
    strip = Image.new("RGB", (width, tall * len(wrapped) + 12), (24, 24, 28))
    pen = ImageDraw.Draw(strip)
    for k, line in enumerate(wrapped):
        pen.text((8, 6 + k * tall), line, fill=(240, 240, 240), font=font)
    return np.concatenate([frame, np.asarray(strip)], 0)


def contact_sheet(frames: UInt8[np.ndarray, "n h w 3"], most: int = 1600) -> Frame:
    """Arrange frames side by side, row by row, on a sheet at most `most` pixels wide."""
    columns = math.ceil(math.sqrt(len(frames)))
    rows = math.ceil(len(frames) / columns)
    step = max(1, math.ceil(columns * frames.shape[2] / most))
    small = frames[:, ::step, ::step]
    blank = np.zeros((rows * columns - len(small), *small.shape[1:]), np.uint8)
    grid = np.concatenate([small, blank]).reshape(rows, columns, *small.shape[1:])
    return np.ascontiguousarray(grid.transpose(0, 2, 1, 3, 4).reshape(rows * small.shape[1], columns * small.shape[2], 3))


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # where Pillow has FreeType, as its wheels do
    return font


def _rim(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a neighbour outside it."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _label(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont,
    label: str,
    at: tuple[int, int, int],
    colour: tuple,
    size: tuple[int, int],
) -> None:
    left, top, bottom = at
    box = pen.textbbox((0, 0), label, font=font)
    wide, tall = int(box[2] - box[0]) + 6, int(box[3] - box[1]) + 6
    x = max(0, min(left, size[0] - wide))
    y = top - tall if top - tall >= 0 else bottom if bottom + tall <= size[1] else top
    pen.rectangle((x, y, x + wide - 1, y + tall - 1), fill=colour)
    ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
    pen.text((x + 3 - box[0], y + 3 - box[1]), label, fill=ink, font=font)


def _wrapped(line: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines, current = [], ""
    for word in line.split():
        longer = f"{current} {word}".strip()
        if current and font.getlength(longer) > width:
            lines.append(current)
            longer = word
        current = longer
    return [*lines, current]
