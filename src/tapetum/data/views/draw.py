"""Random parameters of the views of a batch, drawn before any pixel is touched; each sample's a function of (seed, number).

SplitMix64 (Steele, Lea and Flood, 2014): number k of a stream is a hash of its start + (k + 1) * gamma, so that all are made in
a few operations on arrays. A stream's start is a hash of the seed and of the sample's number. `np.random.default_rng` for every
sample would cost more than its views.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

from tapetum.data.views.config import View

_TRIES = 10
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
NEUTRAL = np.array([1.0, 1.0, 1.0, 0.0])
"""Factors of these that change nothing."""


@dataclass(frozen=True)
class ViewParameters:
    """The draws of a view for b images."""

    boxes: Int64[np.ndarray, "b 4"]
    """Top, left, rows, columns of the crop, in pixels."""
    mirrored: Bool[np.ndarray, " b"]
    jittered: Bool[np.ndarray, " b"]
    order: Int64[np.ndarray, "b 4"]
    """Which of BRIGHTNESS, CONTRAST, SATURATION and HUE comes first, and so on."""
    factors: Float64[np.ndarray, "b 4"]
    """Of these; the last is the turn of the hue."""
    grey: Bool[np.ndarray, " b"]
    sigma: Float64[np.ndarray, " b"]
    """Of the blur; 0: there is none."""
    solarised: Bool[np.ndarray, " b"]

    def of(self, part: slice) -> "ViewParameters":
        """Select the draws of some of the images."""
        return ViewParameters(**{field.name: getattr(self, field.name)[part] for field in fields(self)})


def draw(view: View, sizes: Sequence[tuple[int, int]], seed: int, purpose: int, numbers: Sequence[int]) -> ViewParameters:
    """Draw the view of images of `sizes` (rows, columns), which are samples `numbers`; views differ by `purpose`."""
    u = uniforms(seed, purpose, numbers, 4 * _TRIES + 15)
    crops, u = u[:, : 4 * _TRIES].reshape(len(u), _TRIES, 4), u[:, 4 * _TRIES :]
    spread = np.array([view.brightness, view.contrast, view.saturation, view.hue])
    least = np.maximum(NEUTRAL - spread, [0, 0, 0, -spread[HUE]])
    low, high = view.sigma
    return ViewParameters(
        boxes=crop_boxes(view, np.array(sizes, np.int64).reshape(-1, 2), crops),
        mirrored=u[:, 0] < view.mirror,
        jittered=u[:, 1] < view.jitter,
        order=np.argsort(u[:, 2:6], axis=1, kind="stable"),
        factors=least + u[:, 6:10] * (NEUTRAL + spread - least),
        grey=u[:, 10] < view.grey,
        sigma=np.where(u[:, 11] < view.blur, low + u[:, 12] * (high - low), 0.0),
        solarised=u[:, 13] < view.solarise,
    )


def crop_boxes(view: View, sizes: Int64[np.ndarray, "b 2"], u: Float64[np.ndarray, "b tries 4"]) -> Int64[np.ndarray, "b 4"]:
    """Sample crops as Inception does: area and the logarithm of the aspect are even; up to ten tries, then the middle.

    Differs from torchvision in nothing but the generator.
    """
    rows, columns = sizes[:, :1], sizes[:, 1:]
    area = rows * columns * (view.area[0] + u[..., 0] * (view.area[1] - view.area[0]))
    least, most = np.log(view.aspect)
    aspect = np.exp(least + u[..., 1] * (most - least))
    width, height = (np.rint(np.sqrt(area * x)).astype(np.int64) for x in (aspect, 1 / aspect))
    fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
    chosen = np.arange(len(sizes)), fits.argmax(1)
    height, width = height[chosen], width[chosen]
    top, left = ((u[..., k][chosen] * (whole[:, 0] - part + 1)) for k, whole, part in ((2, rows, height), (3, columns, width)))
    boxes = np.stack([top, left, height, width], 1).astype(np.int64)
    return np.where(fits.any(1)[:, None], boxes, _middle(view, sizes))


def _middle(view: View, sizes: Int64[np.ndarray, "b 2"]) -> Int64[np.ndarray, "b 4"]:
    """The largest part in the middle whose aspect is allowed."""
    rows, columns = sizes[:, 0], sizes[:, 1]
    least, most = view.aspect
    height = np.where(columns / rows < least, np.rint(columns / least).astype(np.int64), rows)
    width = np.where(columns / rows > most, np.rint(rows * most).astype(np.int64), columns)
    return np.stack([(rows - height) // 2, (columns - width) // 2, height, width], 1)


GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mixed(x: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Hash 64 bits to 64, one to one."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def stream(start: UInt64[np.ndarray, " b"], count: int) -> UInt64[np.ndarray, "b count"]:
    """Compute the first `count` numbers of the SplitMix64 generators that begin at `start`."""
    return mixed(start[:, None] + GAMMA * np.arange(1, count + 1, dtype=np.uint64))


def uniforms(seed: int, purpose: int, numbers: Sequence[int], count: int) -> Float64[np.ndarray, "b count"]:
    """Draw `count` numbers from 0 to 1 (never 1) for each sample of `numbers`; another `purpose` gives others.

    >>> bool((uniforms(1, 0, [4, 5], 3)[1] == uniforms(1, 0, [5], 3)[0]).all())
    True
    """
    root = int(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0])
    start = mixed(mixed(np.asarray(numbers, np.uint64) + np.uint64(1)) + np.uint64(root))
    return (stream(start, count) >> np.uint64(11)) * 2.0**-53
