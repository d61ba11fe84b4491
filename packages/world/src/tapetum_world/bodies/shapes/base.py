"""The geometry that every shape defines, and its faces: the surfaces that rays hit, from which renderer and ground truth each
derive their own equations.

A part is a number that distinguishes faces separated by a sharp edge: 0 the outer side, 1 top or rim, 2 bottom, 3 the wall of a
cavity, 4 its floor; a box has 0, 1 and 2 for the axis perpendicular to a side.

    faces, normals       rays of the renderer and quadrics of its ground truth
    bounds, opening      windows of the image, shadows, printed text
    distance             cloth, the arm; hull_distance: soft shadows and ambient occlusion
    mass_properties      MuJoCo's bodies
    outline              grasps, supports, sizes
    in_cavity            what a hollow body holds, light in it

Points are (3, ...), x, y and z first, in the shape's coordinates and in metres; results keep their precision, float32 in the
renderer and float64 elsewhere.
"""

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F64, Bool

Triple = tuple[float, float, float]


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
    """A flat ring around the axis; of radius inf, a plane."""

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


@dataclass(frozen=True)
class Oval:
    """A whole ellipsoid."""

    radii: Triple


@dataclass(frozen=True)
class BoxSides:
    """All sides, edges and corners of a box."""

    half: Triple
    """Half of its extent along x, y and z."""
    rounding: float


Face = Lateral | Disc | Cap | Oval | BoxSides


RINGS = 512
"""Slices by which solids of revolution are integrated."""
Floats: TypeAlias = NDArray[Any]
"""float32 or float64."""
MassProperties = tuple[float, float, Triple]
"""Volume (m^3), z of the centre of mass, and inertia about it per unit mass (m^2) around x, y and z."""


class Shape:
    """Base of all shapes; one that moves and is drawn has at least faces, normals, bounds, outline, mass and distance."""

    def __post_init__(self) -> None:
        check_positive(self)

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        """List the faces; none of a sheet, whose points are in the episode."""
        return ()

    @cached_property
    def bounds(self) -> F64:
        """Compute the lower and upper corner (2, 3) of the smallest box around the shape."""
        raise NotImplementedError

    @cached_property
    def outline(self) -> F64:
        """List points (m, 3) whose hull is the shape, to a percent: for extents along any direction."""
        raise NotImplementedError

    @cached_property
    def mass_properties(self) -> MassProperties:
        """Compute volume, centre and inertia."""
        raise NotImplementedError

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the signed distance (...,) of points (3, ...), below 0 inside; `filled`: hollow shapes are full to the rim.

        Exact outside, except for ellipsoids, where it is exact at the surface and an approximation elsewhere.
        """
        raise NotImplementedError

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the signed distance (...,) of points (3, ...) in few operations.

        Outside an edge it is the larger of the distances to the two sides, slightly too short; penumbras don't show it.
        """
        return self.distance(p, filled=filled)

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute the outward directions (3, n), unit length, at points (3, n) of parts (n,) of the surface."""
        raise NotImplementedError

    @cached_property
    def opening(self) -> Disc | None:
        """Select the rim of a hollow shape; None of a solid one."""
        return None

    @property
    def filled_volume(self) -> float:
        """Compute the volume in m^3 with the cavity filled to the rim."""
        return self.mass_properties[0]

    def in_cavity(self, p: Floats, slack: float = 0.0) -> Bool:
        """Find which points (3, ...) lie in the cavity, its walls included up to `slack` metres."""
        return np.zeros(p.shape[1:], bool)

    def shows_cavity(self, point: Triple) -> bool:
        """Check whether the wall and floor of the cavity may be seen from a point."""
        return False


class Revolved(Shape):
    """A solid of revolution around z with straight sides; subclasses with round ones define their own distance."""

    def radii(self, z: F64) -> tuple[F64, F64]:
        """Compute outer and inner radii (r,) of the material at heights z (r,)."""
        raise NotImplementedError

    def profile(self, *, filled: bool = False) -> F64:
        """List the corners (m, 2) as (radius, z) of a cut through the axis, in order around the material."""
        raise NotImplementedError

    @cached_property
    def bounds(self) -> F64:
        r, z = self.profile().T
        return np.array([(-r.max(), -r.max(), z.min()), (r.max(), r.max(), z.max())])

    @cached_property
    def mass_properties(self) -> MassProperties:
        low, high = self.bounds[:, 2]
        step = (high - low) / RINGS
        z = low + (np.arange(RINGS) + 0.5) * step
        outer, inner = self.radii(z)
        area = np.pi * (outer**2 - inner**2) * step
        fourth = np.pi * (outer**4 - inner**4) * step
        volume = float(area.sum())
        centre = float((area * z).sum() / volume)
        around = float((fourth / 2).sum() / volume)
        across = float((fourth / 4 + area * ((z - centre) ** 2 + step**2 / 12)).sum() / volume)
        return volume, centre, (across, across, around)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        return _distance_to_profile(np.stack([np.hypot(p[0], p[1]), p[2]], -1), self.profile(filled=filled))

    def _normals(self, p: Floats, part: NDArray[Any], slope: float) -> Floats:
        """Compute normals of a side whose radius grows by `slope` per metre of z, and of the flat parts."""
        n = np.zeros_like(p)
        n[0], n[1], n[2] = p[0], p[1], -slope * np.sqrt(p[0] * p[0] + p[1] * p[1])
        n = unit(n)
        n[:, part == 3] *= -1
        for flat, up in ((1, 1.0), (2, -1.0), (4, 1.0)):
            n[:, part == flat] = np.array([[0], [0], [up]])
        return n


def _distance_to_profile(p: Floats, corners: F64) -> Floats:
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


def length(p: Floats) -> Floats:
    """Compute the lengths (...,) of vectors (3, ...)."""
    return np.sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2])


def unit(v: Floats) -> Floats:
    """Scale vectors (3, ...) to length 1."""
    return v / np.sqrt(np.maximum(v[0] * v[0] + v[1] * v[1] + v[2] * v[2], 1e-30))


def box_around(upper: Triple) -> F64:
    """Build the bounds (2, 3) of a shape that extends equally to each side of the origin."""
    return np.array([[-v for v in upper], upper])


def ring(radius: float, z: float) -> F64:
    """List 32 points (32, 3) around the axis."""
    angle = np.arange(32) * (2 * np.pi / 32)
    return np.column_stack([np.stack([np.cos(angle), np.sin(angle)], 1) * radius, np.full(32, z)])


@lru_cache(maxsize=1)
def ball() -> F64:
    """List 17 rings of 32 points (544, 3) on the unit sphere, from the lowest up."""
    return np.concatenate([ring(np.cos(a), np.sin(a)) for a in np.linspace(-np.pi / 2, np.pi / 2, 17)])


def check_positive(shape: Any) -> None:
    """Raise BadInput if a length of a shape is not above 0, and convert all of them to plain numbers."""
    for field in fields(shape):
        value = getattr(shape, field.name)
        lengths = value if isinstance(value, tuple) else (value,)
        if min(lengths) <= 0:
            raise BadInput(f"{field.name} of a {type(shape).__name__} is {value}; wanted a length above 0")
    use_plain_numbers(shape)


def use_plain_numbers(shape: Any) -> None:
    """Replace numpy's numbers in the fields of a shape by Python's: float32 points less a float64 would be float64."""
    for field in fields(shape):
        value = getattr(shape, field.name)
        plain = tuple(_plain(v) for v in value) if isinstance(value, tuple) else _plain(value)
        object.__setattr__(shape, field.name, plain)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
