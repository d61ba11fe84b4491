"""Bilinear resizing with the sums that TensorFlow makes (`tf.image.resize`), in its order and in float32.

    antialias     rows, then columns: each new row is    w0 * row + w1 * next row + ...    over all that a triangle covers
    four nearest  columns, then rows: each is            one + (other - one) * share

The reference cuts such sums to whole numbers. In even areas, as of white paper, they are whole numbers but for rounding, so
that another order of adding up, as torch's `interpolate` has it, gives other numbers there in many pixels.
"""

import numpy as np
from jaxtyping import Float32, Int64, UInt8

_F = np.float32


def squashed(image: UInt8[np.ndarray, "h w 3"], size: int, antialias: bool = True) -> Float32[np.ndarray, "size size 3"]:
    """Resize an image to a square of `size` pixels, numbers 0 to 255 as they come out."""
    if antialias:
        return _along(_along(image, size).swapaxes(0, 1), size).swapaxes(0, 1)
    return _between(_between(image.swapaxes(0, 1), size).swapaxes(0, 1), size)


def _between(x: np.ndarray, size: int) -> np.ndarray:
    """Resize the first axis, each new place from the two that are nearest."""
    count = len(x)
    at = (np.arange(size, dtype=_F) + _F(0.5)) * (_F(count) / _F(size)) - _F(0.5)
    before = np.floor(at)
    share = (at - before).reshape(-1, *[1] * (x.ndim - 1))
    one, other = x[np.maximum(before, 0).astype(np.int64)], x[np.minimum(np.ceil(at), count - 1).astype(np.int64)]
    one, other = one.astype(_F, copy=False), other.astype(_F, copy=False)
    return one + (other - one) * share


def _along(x: np.ndarray, size: int) -> np.ndarray:
    """Resize the first axis."""
    sources, weights = _spans(x.shape[0], size)
    out = np.zeros((size, *x.shape[1:]), _F)
    for k in range(sources.shape[1]):
        out += weights[:, k].reshape(-1, *[1] * (x.ndim - 1)) * x[sources[:, k]].astype(_F, copy=False)
    return out


def _spans(count: int, size: int) -> tuple[Int64[np.ndarray, "size n"], Float32[np.ndarray, "size n"]]:
    """For each new place the old ones that it is made of, and what each counts: a triangle as wide as two steps."""
    step = _F(1) / (_F(size) / _F(count))
    half = max(step, _F(1))
    middle = (np.arange(size, dtype=_F) + _F(0.5)) * step
    first = np.clip(np.ceil(middle - half - _F(0.5)), 0, count - 1).astype(np.int64)
    last = np.clip(np.floor(middle + half - _F(0.5)), 0, count - 1).astype(np.int64)
    sources = first[:, None] + np.arange(int((last - first).max()) + 1)
    away = np.abs((sources.astype(_F) + _F(0.5) - middle[:, None]) * (_F(1) / half))
    weights = np.where(sources <= last[:, None], np.maximum(_F(1) - away, _F(0)), _F(0))
    total = np.zeros(size, _F)
    for column in weights.T:  # one after the other, as there; a sum in pairs would be another one
        total += column
    return np.minimum(sources, count - 1), weights * (_F(1) / total)[:, None]
