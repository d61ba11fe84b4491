"""Counts for the metrics of TAPVid-3D: points by ground truth, prediction and distance, for each track or neighbourhood.

All thirteen numbers follow from how many points are (visible or not, predicted visible or not, within 0, 1, ... 5 of the five
thresholds). A neighbourhood belongs to an anchor, a track with a scale of its own: it is every point, of any track, whose true
position in some frame is nearer to the anchor's than a radius, scored with the anchor's scale. To find pairs, the points of
each frame are sorted along the axis on which they are spread most, and each is compared with the one k places on, for k = 1, 2,
... until no pair is near on that axis alone; frames lie side by side, so that k places are one shift of a flat array.

The work grows with the number of pairs that are near on one axis (at worst n n t / 2), the memory only with n t.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from numpy.typing import NDArray

BLOCK = 1 << 15
"""How many points are compared, and about how many pairs scored, at a time."""

CELLS = 2 * 2 * 6
"""A point is visible or not, predicted visible or not, and within 0 to 5 thresholds."""

Planes = Sequence[NDArray[np.floating]]
"""X, Y and Z in arrays of their own."""


def count_tracks(
    gt: Float[np.ndarray, "n t 3"],
    visible: Bool[np.ndarray, "n t"],
    pred: Float[np.ndarray, "n t 3"],
    pred_visible: Bool[np.ndarray, "n t"],
    scale: float | Float[np.ndarray, "#n #t"],
    unit: Float[np.ndarray, "#n #t"],
    squares: Sequence[float],
) -> Integer[np.ndarray, "n 2 2 6"]:
    """Count the points of each track, predictions multiplied by `scale`; squared thresholds are `squares` x
    `unit`."""
    level = _levels(_planes(gt), _planes(pred), scale, unit, squares)
    numbers = np.arange(len(gt))[:, None] * CELLS + (_kind(visible, pred_visible) + level)
    return _histogram(numbers.ravel("K"), len(gt))


def count_neighbourhoods(
    gt: Float[np.ndarray, "n t 3"],
    visible: Bool[np.ndarray, "n t"],
    pred: Float[np.ndarray, "n t 3"],
    pred_visible: Bool[np.ndarray, "n t"],
    scale: Float[np.ndarray, "n 1"],
    unit: Float[np.ndarray, "#n #t"],
    squares: Sequence[float],
    radius: float,
) -> Integer[np.ndarray, "n 2 2 6"]:
    """Count the points in each track's neighbourhood, its own among them. A true position with NaN is near
    nothing."""
    n, t = visible.shape
    row, unit, scales = (np.broadcast_to(array, (n, t)) for array in (CELLS * np.arange(n)[:, None], unit, scale))
    kind = _kind(visible, pred_visible)
    known = np.isfinite(gt.sum(-1))
    own = row + kind + _levels(_planes(gt), _planes(pred), scale, unit, squares)
    counts = _histogram(own[known], n)

    axis = int(np.where(known[..., None], gt, 0).var(0).mean(0).argmax()) if gt.size else 0
    columns = [np.ascontiguousarray(column) for column in (*_planes(gt), *_planes(pred), unit, kind, scales, row)]
    frames = max(1, BLOCK // max(n, 1))
    for first in range(0, t, frames):
        place = gt[:, first : first + frames, axis].argsort(axis=0)
        x, y, z, px, py, pz, u, k, s, r = (
            np.take_along_axis(column[:, first : first + frames], place, 0).ravel() for column in columns
        )
        for pair in _near_pairs((x, y, z), axis, place.shape[1], radius):
            for anchor, other in (pair, pair[::-1]):
                there = [column.take(other) for column in (x, y, z, px, py, pz, u)]
                level = _levels(there[:3], there[3:6], s.take(anchor), there[6], squares)
                counts += _histogram(r.take(anchor) + (k.take(other) + level), n)
    return counts


def _near_pairs(points: Planes, axis: int, frames: int, radius: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of numbers of points nearer than `radius`, each pair once; places x frames, flat, places sorted along `axis`."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    count = 0
    for step in range(frames, points[0].size, frames):
        differences = [x[step:] - x[:-step] for x in points]
        if not (differences[axis] < radius).any():
            break
        near = np.flatnonzero(_squared_length(differences) < radius * radius)
        if near.size:
            pairs.append((near, near + step))
            count += near.size
        if count >= BLOCK:
            yield _joined(pairs)
            pairs, count = [], 0
    if pairs:
        yield _joined(pairs)


def _joined(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([first for first, _ in pairs]), np.concatenate([second for _, second in pairs])


def _levels(
    gt: Planes, pred: Planes, scale: float | np.ndarray, unit: np.ndarray, squares: Sequence[float]
) -> UInt8[np.ndarray, "..."]:
    """How many thresholds a prediction is strictly within; none if it is NaN."""
    distance = _squared_length([predicted * scale - true for true, predicted in zip(gt, pred, strict=True)])
    return sum((distance < square * unit for square in squares), start=np.zeros(distance.shape, np.uint8))


def _squared_length(fresh: Planes) -> np.ndarray:
    """x x + y y + z z, summed in this order; overwrites its arguments."""
    x, y, z = fresh
    x *= x
    for other in (y, z):
        other *= other
        x += other
    return x


def _kind(visible: Bool[np.ndarray, "n t"], pred_visible: Bool[np.ndarray, "n t"]) -> UInt8[np.ndarray, "n t"]:
    return visible * np.uint8(12) + pred_visible * np.uint8(6)


def _planes(points: Float[np.ndarray, "n t 3"]) -> Planes:
    return [points[..., axis] for axis in range(3)]


def _histogram(numbers: Integer[np.ndarray, " k"], rows: int) -> Integer[np.ndarray, "rows 2 2 6"]:
    return np.bincount(numbers, minlength=rows * CELLS).reshape(rows, 2, 2, 6)
