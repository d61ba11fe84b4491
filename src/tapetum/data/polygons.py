"""Masks of COCO's segmentations (Lin et al., arXiv 1405.0312): polygons filled as pycocotools fills them, or runs.

A polygon's outline is walked in steps of a fifth of a pixel. Where the walk passes the middle of a column of pixels, the fill
of that column turns on or off from the next row on. So a pixel counts roughly where its centre is inside, and neighbours share
no pixel. Several polygons are one mask.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput
from tapetum.data.rle import decode_mask

_FINE = 5
_FARTHEST = 1e6


def segmentation_mask(
    segmentation: Sequence[Sequence[float]] | Mapping[str, Any], size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Return the mask of a segmentation of an image of height and width `size`.

    Raises BadInput for what is no segmentation, NaN, and runs of another size.

    >>> segmentation_mask([[0, 0, 2, 0, 2, 1, 0, 1]], (2, 3)).astype(int).tolist()
    [[1, 1, 0], [0, 0, 0]]
    """
    if isinstance(segmentation, Mapping):
        mask = decode_mask(segmentation)
        if mask.shape != tuple(size):
            raise BadInput(f"a mask has the size {mask.shape} in an image of {tuple(size)}; copy the file anew")
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
        raise BadInput(f"a polygon is {str(polygon)[:60]}; wanted x, y of three points or more: copy the file anew")
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
