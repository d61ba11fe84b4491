"""The colour of a thing, by the eleven basic colour terms of English (Berlin and Kay, Basic Color Terms, 1969).

    pixels, sRGB ─► CIELAB (D65) ─► lightness L, chroma C, hue h in degrees ─► a name each ─► the commonest, if it is clear

Little chroma is black, grey or white, by lightness; else hue decides, and lightness between pink and red, orange and brown. The
limits are this project's own, set by the colours of the first half of `evidence/photo-boxes/colours.csv`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

COLOURS = ("black", "grey", "white", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
"""The names; `name_pixels` numbers them in this order."""
CLEAR = 0.5
"""Share of the pixels from which a colour is the thing's."""
_MOST = 20_000
"""Pixels that are looked at, evenly spread."""
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""From linear sRGB (IEC 61966-2-1)."""


def to_lab(rgb: UInt8[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Convert sRGB to CIELAB with the white of D65 (CIE 15).

    >>> to_lab(np.array([[255, 255, 255], [255, 0, 0]], np.uint8)).round().tolist()
    [[100.0, 0.0, 0.0], [53.0, 80.0, 67.0]]
    """
    values = rgb / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratios = linear @ (_XYZ / _XYZ.sum(1, keepdims=True)).T
    x, y, z = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), ratios * (29 / 6) ** 2 / 3 + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def name_pixels(rgb: UInt8[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Name the colour of each pixel, as its number in `COLOURS`."""
    lightness, a, b = to_lab(rgb).T
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    pale = chroma < np.where((hue > 190) & (hue < 330), 16, 12)
    warm = hue < 90
    names = {
        "black": (lightness < 12) | pale & (lightness < 30),
        "white": (chroma < 14) & (lightness > 70),
        "grey": pale,
        "purple": (hue >= 300) & (hue < 345) & (lightness < 55),
        "pink": ((hue >= 300) | (hue < 35)) & (lightness > 58) | (hue >= 320) & (hue < 355) & (chroma > 60),
        "red": (hue >= 345) | (hue < 30) | (hue < 42) & (chroma > 50),
        "orange": (hue < 72) & (lightness > 50) & (chroma > 45),
        "yellow": (hue >= 72) & (hue < 107) & (lightness > 60) & (chroma > 30),
        "brown": warm,
        "green": hue < 195,
        "blue": hue < 345,
    }
    return np.select(list(names.values()), [COLOURS.index(name) for name in names])


def colour_shares(image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, " n"]:
    """Compute the share of each of `COLOURS` in the pixels of a mask; 0 of all where there are none."""
    rgb = image[mask]
    counts = np.bincount(name_pixels(rgb[:: max(1, -(-len(rgb) // _MOST))]), minlength=len(COLOURS))
    return counts / max(counts.sum(), 1)


def name_colour(image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> str | None:
    """Name the colour of the pixels of a mask; None where no colour has most of them, or there are none."""
    shares = colour_shares(image, mask)
    return COLOURS[int(shares.argmax())] if shares.max() >= CLEAR else None
