"""Solid shapes: spheres, ellipsoids and capsules without edges; cylinders, cones, boxes with round edges."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F64
from tapetum_world.bodies.shapes.base import (
    BoxSides,
    Cap,
    Disc,
    Face,
    Floats,
    Lateral,
    MassProperties,
    Oval,
    Revolved,
    Shape,
    Triple,
    ball,
    box_around,
    length,
    ring,
    unit,
    use_plain_numbers,
)


@dataclass(frozen=True, kw_only=True)
class Sphere(Shape):
    """A ball."""

    radius: float

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        return (Cap(self.radius, 0.0, -inf, inf, 0),)

    @cached_property
    def bounds(self) -> F64:
        return box_around((self.radius, self.radius, self.radius))

    @cached_property
    def outline(self) -> F64:
        return ball() * self.radius

    @cached_property
    def mass_properties(self) -> MassProperties:
        r = self.radius
        return 4 / 3 * np.pi * r**3, 0.0, (0.4 * r * r, 0.4 * r * r, 0.4 * r * r)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        return length(p) - self.radius

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        return p / self.radius


@dataclass(frozen=True, kw_only=True)
class Ellipsoid(Shape):
    """A ball stretched along its axes."""

    radii: Triple

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        return (Oval(self.radii),)

    @cached_property
    def bounds(self) -> F64:
        return box_around(self.radii)

    @cached_property
    def outline(self) -> F64:
        return ball() * np.array(self.radii)

    @cached_property
    def mass_properties(self) -> MassProperties:
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
        return unit(p / (np.array(self.radii, p.dtype)[:, None] ** 2))


@dataclass(frozen=True, kw_only=True)
class Capsule(Revolved):
    """A cylinder with half balls as ends: arms and fingers."""

    radius: float
    length: float
    """Between the centres of the half balls, which lie at z = -length / 2 and length / 2."""

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        r, end = self.radius, self.length / 2
        return Lateral(r, 0.0, -end, end, 0), Cap(r, end, end, inf, 0), Cap(r, -end, -inf, -end, 0)

    @cached_property
    def bounds(self) -> F64:
        return box_around((self.radius, self.radius, self.length / 2 + self.radius))

    @cached_property
    def outline(self) -> F64:
        points, shift = ball() * self.radius, np.array([0, 0, self.length / 2])
        return np.concatenate([points + shift, points - shift])

    def radii(self, z: F64) -> tuple[F64, F64]:
        beyond = np.maximum(np.abs(z) - self.length / 2, 0)
        return np.sqrt(np.maximum(self.radius**2 - beyond**2, 0)), np.zeros_like(z)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        x, y, z = p
        z = z - np.clip(z, -self.length / 2, self.length / 2)
        return np.sqrt(x * x + y * y + z * z) - self.radius

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        n = p.copy()
        n[2] -= np.clip(p[2], -self.length / 2, self.length / 2)
        return unit(n)


@dataclass(frozen=True, kw_only=True)
class Cylinder(Revolved):
    """A solid cylinder from z = -height / 2 to height / 2."""

    radius: float
    height: float

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        r, h = self.radius, self.height
        return Lateral(r, 0.0, -h / 2, h / 2, 0), Disc(h / 2, 0.0, r, 1, up=True), Disc(-h / 2, 0.0, r, 2, up=False)

    @cached_property
    def outline(self) -> F64:
        return np.concatenate([ring(self.radius, -self.height / 2), ring(self.radius, self.height / 2)])

    def radii(self, z: F64) -> tuple[F64, F64]:
        return np.full_like(z, self.radius), np.zeros_like(z)

    def profile(self, *, filled: bool = False) -> F64:
        r, h = self.radius, self.height
        return np.array([[0, -h / 2], [r, -h / 2], [r, h / 2], [0, h / 2]])

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        x, y, z = p
        return np.maximum(np.sqrt(x * x + y * y) - self.radius, abs(z) - self.height / 2)

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        return self._normals(p, part, 0.0)


@dataclass(frozen=True, kw_only=True)
class Cone(Revolved):
    """A solid cone, its base at z = -height / 2 and its tip at height / 2."""

    radius: float
    height: float

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        r, h = self.radius, self.height
        return Lateral(r / 2, -r / h, -h / 2, h / 2, 0), Disc(-h / 2, 0.0, r, 2, up=False)

    @cached_property
    def outline(self) -> F64:
        return np.concatenate([ring(self.radius, -self.height / 2), [[0, 0, self.height / 2]]])

    def radii(self, z: F64) -> tuple[F64, F64]:
        return self.radius * (0.5 - z / self.height), np.zeros_like(z)

    def profile(self, *, filled: bool = False) -> F64:
        r, h = self.radius, self.height
        return np.array([[0, -h / 2], [r, -h / 2], [0, h / 2]])

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        x, y, z = p
        r, h = self.radius, self.height
        side = (np.sqrt(x * x + y * y) - (h / 2 - z) * (r / h)) * float(h / np.hypot(r, h))
        return np.maximum(side, -z - h / 2)

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        return self._normals(p, part, -self.radius / self.height)


@dataclass(frozen=True, kw_only=True)
class RoundedBox(Shape):
    """A box with round edges and corners."""

    size: Triple
    """Whole extent along x, y and z."""
    rounding: float = 0.0
    """Radius of edges and corners; 0 for sharp ones, at most half of the least side."""

    def __post_init__(self) -> None:
        if min(self.size) <= 0 or not 0 <= self.rounding <= min(self.size) / 2:
            raise BadInput(
                f"a box of size {self.size} with rounding {self.rounding}; wanted sizes above 0, rounding up to half"
            )
        use_plain_numbers(self)

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        x, y, z = self.size
        return (BoxSides((x / 2, y / 2, z / 2), self.rounding),)

    @cached_property
    def bounds(self) -> F64:
        x, y, z = self.size
        return box_around((x / 2, y / 2, z / 2))

    @cached_property
    def outline(self) -> F64:
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        core = corners * (np.array(self.size) / 2 - self.rounding)
        return core if self.rounding == 0 else (core[:, None] + ball()[::5] * self.rounding).reshape(-1, 3)

    @cached_property
    def mass_properties(self) -> MassProperties:
        """Compute volume, centre and inertia of the box with sharp edges."""
        a, b, c = self.size
        return a * b * c, 0.0, ((b * b + c * c) / 12, (a * a + c * c) / 12, (a * a + b * b) / 12)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        q = [abs(v) - (s / 2 - self.rounding) for v, s in zip(p, self.size, strict=True)]
        inside = np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0)
        q = [np.maximum(v, 0) for v in q]
        return np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2]) + inside - self.rounding

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        n = np.zeros_like(p)
        if self.rounding == 0:
            columns = np.arange(p.shape[1])
            n[part, columns] = np.sign(p[part, columns])
            return n
        for i in range(3):
            np.maximum(abs(p[i]) - (self.size[i] / 2 - self.rounding), 0, out=n[i])
            n[i] *= np.sign(p[i])
        return unit(n)
