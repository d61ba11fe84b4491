"""Colours of points: few points get colours far apart, also for the colour-blind; many get theirs by position or around the
wheel."""

import numpy as np
from jaxtyping import Float, UInt8

APART: UInt8[np.ndarray, "10 3"] = np.array(
    [
        [255, 255, 60],
        [105, 75, 255],
        [90, 210, 255],
        [210, 45, 75],
        [255, 255, 255],
        [240, 120, 0],
        [120, 225, 150],
        [195, 30, 165],
        [120, 150, 255],
        [240, 90, 165],
    ],
    np.uint8,
)
"""Colours for few points, each as far from those before it as can be, for eyes with all three cones and for those without
the cones for long or for middle waves. The least distance of two in OKLab is 0.136 for all ten, and 0.27 for the first four;
what can just be told apart is about 0.02. They were sought among 5832 colours, those strong and light enough to show on
images, with the model of dichromats by Machado, Oliveira and Fernandes (2009)."""


def point_colours(xy: Float[np.ndarray, "n 2"], width: int, height: int) -> UInt8[np.ndarray, "n 3"]:
    """Choose a colour for each of n points: those of `APART` if there are enough of them, else `position_colours`."""
    return APART[: len(xy)] if len(xy) <= len(APART) else position_colours(xy, width, height)


def position_colours(xy: Float[np.ndarray, "n 2"], width: int, height: int) -> UInt8[np.ndarray, "n 3"]:
    """Choose a colour for each position: the hue runs once along the frame and shifts with height, so neighbours are alike."""
    x, y = np.clip(np.nan_to_num(np.asarray(xy, np.float64)) / (width, height), 0, 1).T
    return _oklch(0.80 - 0.12 * y, 0.85 * x + 0.3 * y + 0.05)


def colour_wheel(n: int) -> UInt8[np.ndarray, "n 3"]:
    """Choose n colours of equal lightness around the circle of hues, as far apart as they can be.

    >>> colour_wheel(3).shape
    (3, 3)
    """
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
