"""Overlaps of boxes.

Boxes are x1, y1, x2, y2 in any unit, raster pixels as a rule: a box from 0 to 2 is 2 wide. Two boxes that are empty both have
overlap 0.
"""

import numpy as np
from jaxtyping import Float, Num

from tapetum.core.errors import BadInput
from tapetum.metrics.pairing import finite_array


def box_iou(a: Num[np.ndarray, "n 4"], b: Num[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Compute intersection over union of each box of one list with each of another, float64 (n, m).

    Raises BadInput for wrong shapes, NaN, and corners in the wrong order.

    >>> box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [4, 4, 5, 5]]).round(3).tolist()
    [[0.333, 0.0]]
    """
    a, b = checked_boxes(a, "boxes"), checked_boxes(b, "the other boxes")
    common = intersections(a, b)
    union = areas(a)[:, None] + areas(b) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def paired_box_iou(a: Num[np.ndarray, "n 4"], b: Num[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Compute intersection over union of the k-th box with the k-th other, float64 (n,). Raises BadInput as `box_iou`."""
    a, b = checked_boxes(a, "boxes"), checked_boxes(b, "the other boxes")
    if len(a) != len(b):
        raise BadInput(f"there are {len(a)} boxes and {len(b)} others; give one for each")
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    union = areas(a) + areas(b) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def areas(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Compute areas (n,)."""
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def intersections(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Compute the areas that each box shares with each other one."""
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def checked_boxes(boxes: Num[np.ndarray, "n 4"], name: str) -> Float[np.ndarray, "n 4"]:
    """Check boxes and convert them to float64 (n, 4). Raises BadInput for other shapes, NaN, and corners in the wrong order."""
    checked = finite_array(boxes if np.size(boxes) else np.zeros((0, 4)), name, 2)
    if checked.shape[1] != 4:
        raise BadInput(f"{name} have shape {checked.shape}; give (n, 4)")
    if (checked[:, :2] > checked[:, 2:]).any():
        raise BadInput(f"{name} have a corner left of or above the first one; give x1, y1, x2, y2")
    return checked
