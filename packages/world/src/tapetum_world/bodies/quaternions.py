"""Quaternions (w, x, y, z) and poses (position, quaternion) in numpy, along the last axis."""

import numpy as np

from tapetum.tracks.facets.types import F64


def multiply(a: F64, b: F64) -> F64:
    """Compute the rotation b followed by the rotation a."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a, float), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b, float), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def conjugate(q: F64) -> F64:
    """Compute the inverse rotation."""
    return np.asarray(q, float) * np.array([1.0, -1.0, -1.0, -1.0])


def about(axis: tuple[float, float, float], angle: F64 | float) -> F64:
    """Compute the quaternion of a rotation by angles (...) around a unit axis."""
    half = np.asarray(angle, float) / 2
    return np.concatenate([np.cos(half)[..., None], np.sin(half)[..., None] * np.array(axis, float)], -1)


def cross(a: F64, b: F64) -> F64:
    """Compute the cross product along the last axis; faster than numpy's for few vectors."""
    return a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]


def rotate(q: F64, v: F64) -> F64:
    """Rotate vectors v (..., 3) by quaternions q (..., 4)."""
    q, v = np.asarray(q, float), np.asarray(v, float)
    w, u = q[..., :1], q[..., 1:]
    t = 2 * cross(u, v)
    return v + w * t + cross(u, t)


def place(pose: F64, points: F64) -> F64:
    """Transform points (..., 3) of a body to the world by its pose (..., 7)."""
    return pose[..., :3] + rotate(pose[..., 3:], points)


def unplace(pose: F64, points: F64) -> F64:
    """Transform points (..., 3) of the world to a body by its pose (..., 7)."""
    return rotate(conjugate(pose[..., 3:]), points - pose[..., :3])


def relative(outer: F64, pose: F64) -> F64:
    """Compute the pose (..., 7) in the coordinates of `outer` of something at `pose` in the world."""
    back = conjugate(outer[..., 3:])
    return np.concatenate([unplace(outer, pose[..., :3]), multiply(back, pose[..., 3:])], -1)


def between(first: F64, second: F64) -> F64:
    """Compute the shortest rotation (..., 4) that takes unit vectors `first` (..., 3) to `second` (..., 3)."""
    cross = np.cross(first, second)
    w = 1 + np.sum(first * second, -1, keepdims=True)
    flipped = w < 1e-9
    q = np.concatenate([np.where(flipped, 0.0, w), np.where(flipped, np.array([1.0, 0.0, 0.0]), cross)], -1)
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def at(x: float, y: float, z: float, quaternion: F64 | None = None) -> F64:
    """Build a pose (7,)."""
    return np.array([x, y, z, *(np.array([1.0, 0, 0, 0]) if quaternion is None else quaternion)], float)


def matrices(q: F64) -> F64:
    """Compute rotation matrices (..., 3, 3) of quaternions (..., 4) of unit length."""
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)
