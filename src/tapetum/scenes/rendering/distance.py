"""Signed distance to shapes in float32, below 0 inside: for soft shadows and ambient occlusion.

Hollow shapes come as their hull (as if filled) and, where asked, as they are. Where a flat side meets a round one the distance
outside the edge is the larger of the two sides' distances, which is a little short; penumbras don't show it.
"""

import numpy as np

from tapetum.scenes.bodies.geometry import lateral
from tapetum.scenes.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, Ground, RoundedBox, Shape, Sphere
from tapetum.scenes.types import F32, Bool


def distance(shape: Shape, p: F32, filled: bool = False) -> F32:
    """Compute the signed distance (n,) of points (3, n) in the shape's own coordinates."""
    x, y, z = p
    match shape:
        case Sphere(radius=r):
            return np.sqrt(x * x + y * y + z * z) - np.float32(r)
        case Ellipsoid(radii=radii):
            q = p / np.array(radii, np.float32)[:, None]
            length = np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
            q /= np.array(radii, np.float32)[:, None]
            slope = np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
            return length * (length - 1) / np.maximum(slope, np.float32(1e-6))
        case Capsule(radius=r, length=length):
            z = z - np.clip(z, -length / 2, length / 2)
            return np.sqrt(x * x + y * y + z * z) - np.float32(r)
        case RoundedBox(size=size, rounding=r):
            q = [abs(v) - np.float32(s / 2 - r) for v, s in zip(p, size, strict=True)]
            inside = np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0)
            q = [np.maximum(v, 0) for v in q]
            return np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2]) + inside - np.float32(r)
        case Ground():
            return z
        case Bowl(radius=r, wall=wall):
            away = np.sqrt(x * x + y * y + z * z)
            shell = away - np.float32(r) if filled else abs(away - np.float32(r - wall / 2)) - np.float32(wall / 2)
            return np.maximum(shell, z)
        case Cylinder(radius=r, height=h):
            return np.maximum(np.sqrt(x * x + y * y) - np.float32(r), abs(z) - np.float32(h / 2))
        case Cone(radius=r, height=h):
            along = np.float32(h / np.hypot(r, h))
            side = (np.sqrt(x * x + y * y) - (h / 2 - z) * np.float32(r / h)) * along
            return np.maximum(side, -z - np.float32(h / 2))
        case Cup(height=h, wall=wall):
            outer = lateral(shape)
            along = np.float32(1 / np.hypot(1, outer.slope))
            off = np.sqrt(x * x + y * y) - (z * np.float32(outer.slope) + np.float32(outer.radius))
            outer = np.maximum(off * along, abs(z) - np.float32(h / 2))
            if filled:
                return outer
            hollow = np.maximum((off + np.float32(wall)) * along, np.float32(wall - h / 2) - z)
            return np.maximum(outer, -hollow)
    raise TypeError(f"{type(shape).__name__} has no distance")


def within(shape: Shape, p: F32, slack: float) -> Bool:
    """Find which points (3, n) lie in the hollow of a cup or bowl, its inner walls included up to `slack` metres."""
    x, y, z = p
    match shape:
        case Cup(height=h, wall=wall):
            outer = lateral(shape)
            inner = z * np.float32(outer.slope) + np.float32(outer.radius - wall + slack)
            return (x * x + y * y < inner * inner) & (abs(z) < h / 2) & (z > wall - h / 2 - slack)
        case Bowl(radius=r, wall=wall):
            return (x * x + y * y + z * z < (r - wall + slack) ** 2) & (z < 0)
    return np.zeros(x.shape, bool)
