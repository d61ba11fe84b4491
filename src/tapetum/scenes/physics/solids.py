"""Volume, centre of mass, inertia and outline of shapes: what follows from geometry alone.

Cylinder, cone, capsule, cup and bowl are solids of revolution: rings between an inner and an outer radius over z.
"""

from functools import lru_cache

import numpy as np

from tapetum.scenes.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, Ground, RoundedBox, Shape, Sheet, Sphere
from tapetum.scenes.types import F64

RINGS = 512


def rings(shape: Shape) -> tuple[F64, F64, F64, float]:
    """Cut a solid of revolution: z of ring middles (r,), outer radii (r,), inner radii (r,), thickness of a ring."""
    low, high = span(shape)
    step = (high - low) / RINGS
    z = low + (np.arange(RINGS) + 0.5) * step
    inner = np.zeros(RINGS)
    match shape:
        case Cylinder(radius=r):
            outer = np.full(RINGS, r)
        case Cone(radius=r, height=h):
            outer = r * (0.5 - z / h)
        case Capsule(radius=r, length=l):
            outer = np.sqrt(np.maximum(r**2 - np.maximum(np.abs(z) - l / 2, 0) ** 2, 0))
        case Cup(height=h, wall=w):
            outer = cup_radius(shape, np.asarray(z, np.float64))
            inner = np.where(z < -h / 2 + w, 0.0, outer - w)
        case Bowl(radius=r, wall=w):
            outer, inner = (np.sqrt(np.maximum(a**2 - z**2, 0)) for a in (r, r - w))
        case _:
            raise TypeError(f"{type(shape).__name__} is not a solid of revolution")
    return np.asarray(z, np.float64), np.asarray(outer, np.float64), np.asarray(inner, np.float64), float(step)


def cup_radius(cup: Cup, z: F64 | float) -> F64:
    """Compute the outer radius of a cup at heights z."""
    share = np.clip(np.asarray(z, float) / cup.height + 0.5, 0, 1)
    return cup.radius_bottom + (cup.radius_top - cup.radius_bottom) * share


def span(shape: Shape) -> tuple[float, float]:
    """Tell the lowest and highest z of a shape in its own coordinates."""
    match shape:
        case Sphere(radius=r):
            return -r, r
        case Ellipsoid(radii=radii):
            return -radii[2], radii[2]
        case Capsule(radius=r, length=l):
            return -l / 2 - r, l / 2 + r
        case Cylinder(height=h) | Cone(height=h) | Cup(height=h):
            return -h / 2, h / 2
        case RoundedBox(size=size):
            return -size[2] / 2, size[2] / 2
        case Bowl(radius=r):
            return -r, 0.0
    return 0.0, 0.0


@lru_cache(maxsize=512)
def measures(shape: Shape) -> tuple[float, float, tuple[float, float, float]]:
    """Compute volume (m^3), z of the centre of mass, and inertia about it per unit mass (m^2) around x, y and z."""
    match shape:
        case Sphere(radius=r):
            return 4 / 3 * np.pi * r**3, 0.0, (0.4 * r * r, 0.4 * r * r, 0.4 * r * r)
        case Ellipsoid(radii=(a, b, c)):
            return 4 / 3 * np.pi * a * b * c, 0.0, ((b * b + c * c) / 5, (a * a + c * c) / 5, (a * a + b * b) / 5)
        case RoundedBox(size=(a, b, c)):
            return a * b * c, 0.0, ((b * b + c * c) / 12, (a * a + c * c) / 12, (a * a + b * b) / 12)
        case Sheet(size=(a, b)):
            return a * b * 0.001, 0.0, (b * b / 12, a * a / 12, (a * a + b * b) / 12)
        case Ground():
            return 1.0, 0.0, (1.0, 1.0, 1.0)
    z, outer, inner, step = rings(shape)
    area = np.pi * (outer**2 - inner**2) * step
    fourth = np.pi * (outer**4 - inner**4) * step
    volume = float(area.sum())
    centre = float((area * z).sum() / volume)
    around = float((fourth / 2).sum() / volume)
    across = float((fourth / 4 + area * ((z - centre) ** 2 + step**2 / 12)).sum() / volume)
    return volume, centre, (across, across, around)


@lru_cache(maxsize=512)
def outline(shape: Shape) -> F64:
    """List points (m, 3) on the surface whose hull is the shape, to a percent: for extents along any direction."""
    angle = np.arange(32) * (2 * np.pi / 32)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)

    def ring(radius: float, z: float) -> F64:
        return np.column_stack([circle * radius, np.full(32, z)])

    def ball(low: float) -> F64:
        return np.concatenate([ring(np.cos(a), np.sin(a)) for a in np.linspace(low, np.pi / 2, 17)])

    match shape:
        case Sphere(radius=r):
            return ball(-np.pi / 2) * r
        case Ellipsoid(radii=radii):
            return ball(-np.pi / 2) * np.array(radii)
        case Capsule(radius=r, length=l):
            points, shift = ball(-np.pi / 2) * r, np.array([0, 0, l / 2])
            return np.concatenate([points + shift, points - shift])
        case RoundedBox(size=size, rounding=r):
            corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
            inner = corners * (np.array(size) / 2 - r)
            return inner if r == 0 else (inner[:, None] + ball(-np.pi / 2)[::5] * r).reshape(-1, 3)
        case Cylinder(radius=r, height=h):
            return np.concatenate([ring(r, -h / 2), ring(r, h / 2)])
        case Cone(radius=r, height=h):
            return np.concatenate([ring(r, -h / 2), [[0, 0, h / 2]]])
        case Cup(height=h):
            return np.concatenate([ring(shape.radius_bottom, -h / 2), ring(shape.radius_top, h / 2)])
        case Bowl(radius=r):
            return ball(-np.pi / 2)[: 9 * 32] * r
        case Sheet(size=(a, b)):
            return np.array([[x * a / 2, y * b / 2, 0] for x in (-1, 1) for y in (-1, 1)], float)
    return np.zeros((1, 3))
