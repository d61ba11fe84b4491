"""Where on a body its word is printed, and how large: the film paints it there, questions ask whether it can be read."""

from dataclasses import dataclass

import numpy as np

from tapetum.scenes.bodies.shapes import RoundedBox, Shape, Sheet
from tapetum.scenes.rendering.camera import bounds
from tapetum.scenes.types import F64

LYING = 0.5
"""A box that is lower than this share of its narrower side has its word on top, like a book."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A flat side of a body, or the front of a round one, in the body's coordinates."""

    across: F64
    """(3,) unit length, the way the word is read."""
    up: F64
    """(3,) unit length, the way its letters stand."""
    middle: F64
    """(3,) middle of the side."""
    room: tuple[float, float]
    """Width and height in metres within which the word stays."""

    @property
    def facing(self) -> F64:
        """(3,) outward."""
        return np.cross(self.across, self.up)

    def fit(self, tall: float) -> tuple[float, float]:
        """Compute width and height in metres of a word that is `tall` times as high as wide."""
        wide = min(self.room[0], self.room[1] / tall)
        return wide, wide * tall


def printed_sides(shape: Shape) -> tuple[Side, ...]:
    """List the sides that bear a body's word: four of a box that stands, the upper one of what lies, the front of the rest."""
    x, y, z = np.eye(3)
    match shape:
        case Sheet(size=(wide, tall)):
            return (Side(across=x, up=y, middle=0 * z, room=(0.8 * wide, 0.6 * tall)),)
        case RoundedBox(size=(a, b, c)) if c < LYING * min(a, b):
            return (Side(across=x, up=y, middle=z * c / 2, room=(0.8 * a, 0.65 * b)),)
        case RoundedBox(size=(a, b, c)):
            ways = ((y, x * a / 2, b), (-y, -x * a / 2, b), (-x, y * b / 2, a), (x, -y * b / 2, a))
            return tuple(Side(across=way, up=z, middle=m, room=(0.86 * wide, 0.7 * c)) for way, m, wide in ways)
    low, high = bounds(shape)
    extent = high - low
    return (Side(across=y, up=z, middle=x * high[0], room=(0.65 * extent[1], 0.6 * extent[2])),)
