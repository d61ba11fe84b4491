"""Smooth motion: Bezier paths in space and in rotation vectors, evaluated at any moment of a clip."""

from dataclasses import dataclass
from math import comb

import numpy as np

from tapetum.scenes.types import F64


def bezier(points: F64, times: F64) -> F64:
    """Return the Bezier curve through the first and last of `points` (k, d) at `times` (t,) in 0..1 -> (t, d).

    >>> bezier(np.array([[0.0], [1.0]]), np.array([0.0, 0.5])).tolist()
    [[0.0], [0.5]]
    """
    degree = len(points) - 1
    basis = [comb(degree, k) * times**k * (1 - times) ** (degree - k) for k in range(degree + 1)]
    return np.stack(basis, axis=1) @ points


def rotation(vectors: F64) -> F64:
    """Return rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    small = angle < 1e-8
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1.0, np.sin(safe) / safe)
    second = np.where(small, 0.5, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * (cross @ cross)


@dataclass(frozen=True)
class Path:
    """Pose over time: x_world = rotation(t) @ x_local + position(t)."""

    positions: F64
    """Bezier control points (k, 3) in world units."""
    rotations: F64
    """Bezier control points (k, 3) of the rotation vector in radians."""
    shake: F64
    """Amplitude, cycles per clip and phase of a tremor (3, 6): rotation vector, then position."""

    def __call__(self, times: F64) -> tuple[F64, F64]:
        """Rotations (t, 3, 3) and positions (t, 3) at `times` (t,) in 0..1."""
        amplitude, cycles, phase = self.shake
        tremor = amplitude * np.sin(2 * np.pi * cycles * times[:, None] + phase)
        vector = bezier(self.rotations, times) + tremor[:, :3]
        return rotation(vector), bezier(self.positions, times) + tremor[:, 3:]


STILL = np.zeros((3, 6))
"""No tremor."""
