"""Signed distances from points to shapes, in numpy: negative inside the material. For sheets, for checks and for tests."""

import numpy as np

from tapetum.scenes.bodies.geometry import profile
from tapetum.scenes.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, Ground, RoundedBox, Shape, Sphere
from tapetum.scenes.types import F64


def distance(shape: Shape, points: F64, *, filled: bool = False) -> F64:
    """Compute metres (...,) from points (..., 3) in a shape's coordinates; `filled`: hollow shapes are full to the rim.

    Exact outside, but for ellipsoids, where it is right at the surface and a fair guess elsewhere. A Sheet is far from all.
    """
    points = np.asarray(points, float)
    match shape:
        case Sphere(radius=r):
            return np.linalg.norm(points, axis=-1) - r
        case Ellipsoid(radii=radii):
            a = np.linalg.norm(points / np.array(radii), axis=-1)
            b = np.linalg.norm(points / np.array(radii) ** 2, axis=-1)
            return np.where(b > 1e-9, a * (a - 1) / np.maximum(b, 1e-9), -min(radii))
        case Capsule(radius=r, length=l):
            z = points[..., 2] - np.clip(points[..., 2], -l / 2, l / 2)
            return np.sqrt(points[..., 0] ** 2 + points[..., 1] ** 2 + z**2) - r
        case RoundedBox(size=size, rounding=rounding):
            q = np.abs(points) - (np.array(size) / 2 - rounding)
            return np.sqrt((np.maximum(q, 0) ** 2).sum(-1)) + np.minimum(q.max(-1), 0) - rounding
        case Ground():
            return points[..., 2].copy()
        case Bowl(radius=r, wall=wall):
            return _bowl(points, r, 0.0 if filled else r - wall)
        case Cylinder() | Cone() | Cup():
            around = np.hypot(points[..., 0], points[..., 1])
            return _polygon(np.stack([around, points[..., 2]], -1), profile(shape, filled))
    return np.full(points.shape[:-1], 1e3)


def gradient(shape: Shape, points: F64, *, filled: bool = False) -> tuple[F64, F64]:
    """Compute distances (n,) and unit directions (n, 3) away from the surface, by four samples in a tetrahedron."""
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], float)
    near = distance(shape, np.concatenate([points[None], points + 2e-5 * corners[:, None]]), filled=filled)
    way = near[1:].T @ corners
    return near[0], way / np.maximum(np.sqrt((way * way).sum(-1, keepdims=True)), 1e-12)


def _polygon(p: F64, corners: F64) -> F64:
    """Distance to a polygon whose edge on the axis (radius 0) does not count, mirrored at the axis."""
    best = np.full(p.shape[:-1], np.inf)
    odd = np.zeros(p.shape[:-1], bool)
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        if not (a[0] == 0 and b[0] == 0):
            way, off = b - a, p - a
            share = np.clip(off @ way / (way @ way), 0, 1)
            rest = off - share[..., None] * way
            best = np.minimum(best, (rest**2).sum(-1))
        crosses = (a[1] > p[..., 1]) != (b[1] > p[..., 1])
        height = b[1] - a[1]
        x = a[0] + (b[0] - a[0]) * (p[..., 1] - a[1]) / (height if height else 1.0)
        odd ^= crosses & (p[..., 0] < x)
    return np.where(odd, -1.0, 1.0) * np.sqrt(best)


def _bowl(points: F64, outer: float, inner: float) -> F64:
    around, z = np.hypot(points[..., 0], points[..., 1]), points[..., 2]
    length = np.hypot(around, z)
    middle, half = (outer + inner) / 2, (outer - inner) / 2
    shell = np.abs(length - middle) - half
    rim = np.hypot(np.maximum(np.abs(around - middle) - half, 0), z)
    above = np.where(np.abs(around - middle) <= half, z, rim)
    return np.where(z > 0, above, np.where(shell > 0, shell, np.maximum(shell, z)))
