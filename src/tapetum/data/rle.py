"""Masks in COCO's forms (Lin et al., arXiv 1405.0312): runs in its compressed text, and polygons filled as by pycocotools.

Runs go column by column, and the first one is of zeros:

    mask      runs down the columns      text
    0 1
    1 1       1 zero, 3 ones         ─►  "13"      each run, from the fourth on less the last run but one, in groups of
                                                   5 bits, lowest first; 32 is added where more follow, and 48 to all

A polygon's outline is walked in steps of a fifth of a pixel. Where the walk passes the middle of a column of pixels, the fill
of that column turns on or off from the next row on. So a pixel counts roughly where its centre is inside, and neighbours share
no pixel. Several polygons are one mask. pycocotools reads what is written here and the other way round; it is not needed.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput


def encode_mask(mask: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    """Encode a mask as COCO's `{"size": [h, w], "counts": text}`.

    >>> encode_mask(np.array([[False, True], [True, True]]))
    {'size': [2, 2], 'counts': '13'}
    """
    flat = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = [0, *edges.tolist(), flat.size]
    runs = [b - a for a, b in pairwise(starts)]
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return {"size": [int(n) for n in mask.shape], "counts": "".join(_written(runs))}


def decode_mask(encoded: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
    """Decode the mask of what `encode_mask` or pycocotools wrote, or of uncompressed runs (a list)."""
    try:
        h, w = (int(n) for n in encoded["size"])
        counts = encoded["counts"]
        runs = counts if isinstance(counts, list) else _read(counts.decode() if isinstance(counts, bytes) else counts)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadInput(f"a mask is no run-length text of COCO ({type(error).__name__}: {error}); write it again") from None
    if sum(runs) != h * w or min(runs, default=0) < 0:
        raise BadInput(f"the runs of a mask cover {sum(runs)} pixels; a mask of {h}x{w} has {h * w}: write it again")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape((h, w), order="F")


def _written(runs: list[int]) -> list[str]:
    text: list[str] = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            group, value = value & 31, value >> 5
            more = value != (-1 if group & 16 else 0)
            text.append(chr(48 + group + 32 * more))
    return text


def _read(text: str) -> list[int]:
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        group = ord(letter) - 48
        if not 0 <= group < 64:
            raise ValueError(f"{letter!r} is no letter of such a text")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ValueError("it ends in the middle of a number")
    return runs


_FINE = 5
_FARTHEST = 1e6


def segmentation_mask(
    segmentation: Sequence[Sequence[float]] | Mapping[str, Any], size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Draw the mask of a segmentation of an image of height and width `size`.

    Raises BadInput for what is no segmentation, NaN, and runs of another size.

    >>> segmentation_mask([[0, 0, 2, 0, 2, 1, 0, 1]], (2, 3)).astype(int).tolist()
    [[1, 1, 0], [0, 0, 0]]
    """
    if isinstance(segmentation, Mapping):
        mask = decode_mask(segmentation)
        if mask.shape != tuple(size):
            raise BadInput(f"a mask has the size {mask.shape} in an image of {tuple(size)}; copy the file again")
        return mask
    mask = np.zeros(size, bool)
    for polygon in segmentation:
        mask |= _filled(_points(polygon), size)
    return mask


def _points(polygon: Sequence[float]) -> np.ndarray:
    try:
        flat = np.asarray(polygon, np.float64)
    except (TypeError, ValueError):
        flat = np.zeros(0)
    if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2 or not (np.abs(flat) < _FARTHEST).all():
        raise BadInput(f"a polygon is {str(polygon)[:60]}; wanted x, y of three points or more: copy the file again")
    return flat.reshape(-1, 2)


def _filled(points: np.ndarray, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    h, w = size
    corner = np.trunc(points * _FINE + 0.5).astype(np.int64)
    walk = np.concatenate([_line(a, b) for a, b in zip(corner, np.roll(corner, -1, 0), strict=True)])
    before, after = walk[:-1], walk[1:]
    lower = np.minimum(before, after)[before[:, 0] != after[:, 0]]  # where the walk goes on to another fine column
    column, row = ((lower + 0.5) / _FINE - 0.5).T
    middle = (column == np.floor(column)) & (column >= 0) & (column <= w - 1)
    at = column[middle].astype(np.int64) * h + np.ceil(np.clip(row[middle], 0, h)).astype(np.int64)
    turns = np.bincount(at, minlength=h * w + 1)[: h * w]
    return (np.cumsum(turns) % 2 == 1).reshape(w, h).T


def _line(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Fine points from a to b, both in, one for each step along the longer side: (n, 2)."""
    long = int(np.abs(b - a).argmax()) if abs(b[0] - a[0]) != abs(b[1] - a[1]) else 0
    turned = a[long] > b[long]
    first, last = (b, a) if turned else (a, b)
    steps = np.arange(last[long] - first[long] + 1)
    slope = (last[1 - long] - first[1 - long]) / steps[-1] if steps[-1] else 0.0
    points = np.empty((len(steps), 2), np.int64)
    points[:, long] = first[long] + steps
    points[:, 1 - long] = np.trunc(first[1 - long] + slope * steps + 0.5)
    return points[::-1] if turned else points
