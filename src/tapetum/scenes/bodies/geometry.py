"""Geometry of shapes, stated once: faces, bounds, profile, outline, volume and inertia.

    faces                rays of the renderer and quadrics of its ground truth
    bounds, opening      windows of the image, shadows, printed text
    profile              exact distances, for cloth and the arm
    mass_properties      MuJoCo's bodies
    outline              grasps, supports, sizes

Capsule, cylinder, cone, cup and bowl are solids of revolution around z. Tests lay points on shapes by formulas of their own,
and compare masks with MuJoCo's renderer, so a mistake here is not hidden by everything sharing it.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import inf

import numpy as np

from tapetum.scenes.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, Ground, RoundedBox, Shape, Sheet, Sphere
from tapetum.scenes.types import F64

RINGS = 512
"""Slices by which solids of revolution are integrated."""


@dataclass(frozen=True)
class Lateral:
    """The side of a cylinder or frustum: radius + slope * z from z = low to z = high."""

    radius: float
    """At z = 0, which may lie outside of low to high."""
    slope: float
    low: float
    high: float
    part: int
    inner: bool = False
    """Faces the axis: the wall of a cavity."""


@dataclass(frozen=True)
class Disc:
    """A flat ring around the axis."""

    height: float
    inner_radius: float
    radius: float
    part: int
    up: bool
    """Faces +z."""


@dataclass(frozen=True)
class Cap:
    """A part of a sphere whose centre is on the axis, from z = low to z = high."""

    radius: float
    centre: float
    low: float
    high: float
    part: int
    inner: bool = False


Face = Lateral | Disc | Cap


@lru_cache(maxsize=512)
def faces(shape: Shape) -> tuple[Face, ...]:
    """List the faces of a solid of revolution; none of other shapes.

    Parts are numbers that tell faces with a sharp edge between them apart: 0 outer side, 1 top or rim, 2 bottom,
    3 the wall of the cavity, 4 its floor.
    """
    match shape:
        case Capsule(radius=r, length=length):
            end = length / 2
            return Lateral(r, 0.0, -end, end, 0), Cap(r, end, end, inf, 0), Cap(r, -end, -inf, -end, 0)
        case Cylinder(radius=r, height=h):
            return Lateral(r, 0.0, -h / 2, h / 2, 0), Disc(h / 2, 0.0, r, 1, up=True), Disc(-h / 2, 0.0, r, 2, up=False)
        case Cone(radius=r, height=h):
            return Lateral(r / 2, -r / h, -h / 2, h / 2, 0), Disc(-h / 2, 0.0, r, 2, up=False)
        case Cup(radius_bottom=bottom, radius_top=top, height=h, wall=wall):
            slope, middle, floor = (top - bottom) / h, (top + bottom) / 2, wall - h / 2
            return (
                Lateral(middle, slope, -h / 2, h / 2, 0),
                Lateral(middle - wall, slope, floor, h / 2, 3, inner=True),
                Disc(-h / 2, 0.0, bottom, 2, up=False),
                Disc(floor, 0.0, middle - wall + slope * floor, 4, up=True),
                Disc(h / 2, top - wall, top, 1, up=True),
            )
        case Bowl(radius=r, wall=wall):
            return (
                Cap(r, 0.0, -inf, 0.0, 0),
                Cap(r - wall, 0.0, -inf, 0.0, 3, inner=True),
                Disc(0.0, r - wall, r, 1, up=True),
            )
    return ()


def lateral(shape: Cylinder | Cone | Cup) -> Lateral:
    """Select the outer side of a shape that has one."""
    face = faces(shape)[0]
    assert isinstance(face, Lateral)
    return face


def opening(shape: Shape) -> Disc | None:
    """Select the rim of a hollow shape, or None of a solid one."""
    rim = faces(shape)[-1] if isinstance(shape, Cup | Bowl) else None
    return rim if isinstance(rim, Disc) else None


def bounds(shape: Shape) -> F64:
    """Compute the lower and upper corner (2, 3) of the smallest box around a shape, in its own coordinates."""
    match shape:
        case Sphere(radius=r):
            upper = (r, r, r)
        case Ellipsoid(radii=radii):
            upper = radii
        case Capsule(radius=r, length=length):
            upper = (r, r, length / 2 + r)
        case Cylinder(radius=r, height=h) | Cone(radius=r, height=h):
            upper = (r, r, h / 2)
        case RoundedBox(size=(x, y, z)):
            upper = (x / 2, y / 2, z / 2)
        case Cup():
            r = max(shape.radius_bottom, shape.radius_top)
            upper = (r, r, shape.height / 2)
        case Bowl(radius=r):
            return np.array([(-r, -r, -r), (r, r, 0.0)])
        case Sheet(size=(w, h)):
            upper = (w / 2, h / 2, 0.0)
        case Ground():
            upper = (np.inf, np.inf, 0.0)
    return np.array([[-v for v in upper], upper])


def profile(shape: Cylinder | Cone | Cup, filled: bool = False) -> F64:
    """List the corners (m, 2) as (radius, z) of a cut through the axis, in order around the material."""
    match shape:
        case Cylinder(radius=r, height=h):
            return np.array([[0, -h / 2], [r, -h / 2], [r, h / 2], [0, h / 2]])
        case Cone(radius=r, height=h):
            return np.array([[0, -h / 2], [r, -h / 2], [0, h / 2]])
    b, t, h, w = shape.radius_bottom, shape.radius_top, shape.height, shape.wall
    outside = [[0, -h / 2], [b, -h / 2], [t, h / 2]]
    if filled:
        return np.array([*outside, [0, h / 2]])
    inner = b + (t - b) * w / h - w
    return np.array([*outside, [t - w, h / 2], [inner, -h / 2 + w], [0, -h / 2 + w]])


def rings(shape: Shape) -> tuple[F64, F64, F64, float]:
    """Cut a solid of revolution: z of ring middles (r,), outer radii (r,), inner radii (r,), thickness of a ring."""
    low, high = bounds(shape)[:, 2]
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


@lru_cache(maxsize=512)
def mass_properties(shape: Shape) -> tuple[float, float, tuple[float, float, float]]:
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
