"""Rotations in space by their vectors: the axis, as long as the angle in radians."""

import numpy as np

from tapetum.systems.tapvid3d.geometry import F64


def cross(v: F64) -> F64:
    """Return matrices (..., 3, 3) that multiply as the cross product with v (..., 3)."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)


def rotation(vector: F64) -> F64:
    """Return matrices (..., 3, 3) that rotate about vectors (..., 3) by their length in radians (Rodrigues)."""
    angle, matrix = _angle(vector), cross(vector)
    return np.eye(3) + np.sinc(angle / np.pi) * matrix + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (matrix @ matrix)


def left_jacobian(vector: F64) -> F64:
    """Return (..., 3, 3) with rotation(vector + d) = rotation(left_jacobian(vector) d) rotation(vector) to first order in d."""
    angle, matrix = _angle(vector), cross(vector)
    small = angle < 1e-2
    safe = np.where(small, 1.0, angle)
    third = np.where(small, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3)
    return np.eye(3) + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * matrix + third * (matrix @ matrix)


def _angle(vector: F64) -> F64:
    return np.linalg.norm(vector, axis=-1)[..., None, None]
