"""Shapes without edges: spheres, ellipsoids, capsules."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.world.bodies.faces import Cap, Face, Lateral, Oval, Triple
from tapetum.world.bodies.shapes.base import (
    Floats,
    MassProperties,
    Revolved,
    Shape,
    ball,
    box_around,
    check_positive,
    length,
    unit,
)
from tapetum.world.types import F64


@dataclass(frozen=True, kw_only=True)
class Sphere(Shape):
    """A ball."""

    radius: float

    def __post_init__(self) -> None:
        check_positive(self)

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        """List the one face."""
        return (Cap(self.radius, 0.0, -inf, inf, 0),)

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        return box_around((self.radius, self.radius, self.radius))

    @cached_property
    def outline(self) -> F64:
        """List rings of points (544, 3)."""
        return ball() * self.radius

    @cached_property
    def mass_properties(self) -> MassProperties:
        """Compute volume, centre and inertia by their formulas."""
        r = self.radius
        return 4 / 3 * np.pi * r**3, 0.0, (0.4 * r * r, 0.4 * r * r, 0.4 * r * r)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the signed distance (...,)."""
        return length(p) - self.radius

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute directions (3, n) away from the centre."""
        return p / self.radius


@dataclass(frozen=True, kw_only=True)
class Ellipsoid(Shape):
    """A ball stretched along its axes."""

    radii: Triple

    def __post_init__(self) -> None:
        check_positive(self)

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        """List the one face."""
        return (Oval(self.radii),)

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        return box_around(self.radii)

    @cached_property
    def outline(self) -> F64:
        """List rings of points (544, 3)."""
        return ball() * np.array(self.radii)

    @cached_property
    def mass_properties(self) -> MassProperties:
        """Compute volume, centre and inertia by their formulas."""
        a, b, c = self.radii
        return 4 / 3 * np.pi * a * b * c, 0.0, ((b * b + c * c) / 5, (a * a + c * c) / 5, (a * a + b * b) / 5)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute f (f - 1) / |grad f| with f = |p / radii|: right at the surface, a fair guess elsewhere."""
        f = length(np.stack([v / r for v, r in zip(p, self.radii, strict=True)]))
        slope = length(np.stack([v / (r * r) for v, r in zip(p, self.radii, strict=True)]))
        return np.where(slope > 1e-9, f * (f - 1) / np.maximum(slope, 1e-9), -min(self.radii))

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the same in another order of operations, whose last bits old scenes have; 0 in the centre."""
        radii = np.array(self.radii, p.dtype).reshape(3, *[1] * (p.ndim - 1))
        q = p / radii
        f = length(q)
        return f * (f - 1) / np.maximum(length(q / radii), 1e-6)

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute the directions (3, n) of the gradient."""
        return unit(p / (np.array(self.radii, p.dtype)[:, None] ** 2))


@dataclass(frozen=True, kw_only=True)
class Capsule(Revolved):
    """A cylinder with half balls as ends: arms and fingers."""

    radius: float
    length: float
    """Between the centres of the half balls, which lie at z = -length / 2 and length / 2."""

    def __post_init__(self) -> None:
        check_positive(self)

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        """List the side and both ends, one part: no edge lies between them."""
        r, end = self.radius, self.length / 2
        return Lateral(r, 0.0, -end, end, 0), Cap(r, end, end, inf, 0), Cap(r, -end, -inf, -end, 0)

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        return box_around((self.radius, self.radius, self.length / 2 + self.radius))

    @cached_property
    def outline(self) -> F64:
        """List rings of points (1088, 3) of both ends."""
        points, shift = ball() * self.radius, np.array([0, 0, self.length / 2])
        return np.concatenate([points + shift, points - shift])

    def radii(self, z: F64) -> tuple[F64, F64]:
        """Compute outer and inner radii (r,) at heights z (r,)."""
        beyond = np.maximum(np.abs(z) - self.length / 2, 0)
        return np.sqrt(np.maximum(self.radius**2 - beyond**2, 0)), np.zeros_like(z)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the signed distance (...,): that to the line between the ends, less the radius."""
        x, y, z = p
        z = z - np.clip(z, -self.length / 2, self.length / 2)
        return np.sqrt(x * x + y * y + z * z) - self.radius

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute directions (3, n) away from the line between the ends."""
        n = p.copy()
        n[2] -= np.clip(p[2], -self.length / 2, self.length / 2)
        return unit(n)
