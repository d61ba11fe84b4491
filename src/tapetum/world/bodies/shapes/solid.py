"""Solid shapes with edges: cylinders, cones, boxes with round edges."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.core.errors import BadInput
from tapetum.world.bodies.faces import BoxSides, Disc, Face, Lateral, Triple
from tapetum.world.bodies.shapes.base import (
    Floats,
    MassProperties,
    Revolved,
    Shape,
    ball,
    box_around,
    check_positive,
    ring,
    unit,
    use_plain_numbers,
)
from tapetum.world.types import F64


@dataclass(frozen=True, kw_only=True)
class Cylinder(Revolved):
    """A solid cylinder from z = -height / 2 to height / 2."""

    radius: float
    height: float

    def __post_init__(self) -> None:
        check_positive(self)

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        """List side, top and bottom."""
        r, h = self.radius, self.height
        return Lateral(r, 0.0, -h / 2, h / 2, 0), Disc(h / 2, 0.0, r, 1, up=True), Disc(-h / 2, 0.0, r, 2, up=False)

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        return box_around((self.radius, self.radius, self.height / 2))

    @cached_property
    def outline(self) -> F64:
        """List points (64, 3) of both edges."""
        return np.concatenate([ring(self.radius, -self.height / 2), ring(self.radius, self.height / 2)])

    def radii(self, z: F64) -> tuple[F64, F64]:
        """Compute outer and inner radii (r,) at heights z (r,)."""
        return np.full_like(z, self.radius), np.zeros_like(z)

    def profile(self, *, filled: bool = False) -> F64:
        """List the corners (4, 2) as (radius, z)."""
        r, h = self.radius, self.height
        return np.array([[0, -h / 2], [r, -h / 2], [r, h / 2], [0, h / 2]])

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the larger of the distances (...,) to side and ends."""
        x, y, z = p
        return np.maximum(np.sqrt(x * x + y * y) - self.radius, abs(z) - self.height / 2)

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute the outward directions (3, n)."""
        return self._normals(p, part, 0.0)


@dataclass(frozen=True, kw_only=True)
class Cone(Revolved):
    """A solid cone, its base at z = -height / 2 and its tip at height / 2."""

    radius: float
    height: float

    def __post_init__(self) -> None:
        check_positive(self)

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        """List side and bottom."""
        r, h = self.radius, self.height
        return Lateral(r / 2, -r / h, -h / 2, h / 2, 0), Disc(-h / 2, 0.0, r, 2, up=False)

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        return box_around((self.radius, self.radius, self.height / 2))

    @cached_property
    def outline(self) -> F64:
        """List points (33, 3) of the edge, and the tip."""
        return np.concatenate([ring(self.radius, -self.height / 2), [[0, 0, self.height / 2]]])

    def radii(self, z: F64) -> tuple[F64, F64]:
        """Compute outer and inner radii (r,) at heights z (r,)."""
        return self.radius * (0.5 - z / self.height), np.zeros_like(z)

    def profile(self, *, filled: bool = False) -> F64:
        """List the corners (3, 2) as (radius, z)."""
        r, h = self.radius, self.height
        return np.array([[0, -h / 2], [r, -h / 2], [0, h / 2]])

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the larger of the distances (...,) to side and base."""
        x, y, z = p
        r, h = self.radius, self.height
        side = (np.sqrt(x * x + y * y) - (h / 2 - z) * (r / h)) * float(h / np.hypot(r, h))
        return np.maximum(side, -z - h / 2)

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute the outward directions (3, n)."""
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
        """List the one face that stands for all sides."""
        x, y, z = self.size
        return (BoxSides((x / 2, y / 2, z / 2), self.rounding),)

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        x, y, z = self.size
        return box_around((x / 2, y / 2, z / 2))

    @cached_property
    def outline(self) -> F64:
        """List the corners (8, 3), or points on round ones."""
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        core = corners * (np.array(self.size) / 2 - self.rounding)
        return core if self.rounding == 0 else (core[:, None] + ball()[::5] * self.rounding).reshape(-1, 3)

    @cached_property
    def mass_properties(self) -> MassProperties:
        """Compute volume, centre and inertia of the box with sharp edges."""
        a, b, c = self.size
        return a * b * c, 0.0, ((b * b + c * c) / 12, (a * a + c * c) / 12, (a * a + b * b) / 12)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the signed distance (...,): that to the box within the rounding, less the rounding."""
        q = [abs(v) - (s / 2 - self.rounding) for v, s in zip(p, self.size, strict=True)]
        inside = np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0)
        q = [np.maximum(v, 0) for v in q]
        return np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2]) + inside - self.rounding

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute directions (3, n) across the sides, or away from the box within the rounding."""
        n = np.zeros_like(p)
        if self.rounding == 0:
            columns = np.arange(p.shape[1])
            n[part, columns] = np.sign(p[part, columns])
            return n
        for i in range(3):
            np.maximum(abs(p[i]) - (self.size[i] / 2 - self.rounding), 0, out=n[i])
            n[i] *= np.sign(p[i])
        return unit(n)
