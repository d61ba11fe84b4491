"""Hollow shapes, open at the top: cups and bowls."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.core.errors import BadInput
from tapetum.world.bodies.faces import Cap, Disc, Face, Lateral, Triple
from tapetum.world.bodies.shapes.base import Floats, Revolved, ball, box_around, check_positive, length, ring, unit
from tapetum.world.types import F64, Bool


class Hollow(Revolved):
    """A shape whose last face is its rim."""

    @cached_property
    def opening(self) -> Disc:
        """Select the rim."""
        rim = self.faces[-1]
        assert isinstance(rim, Disc)
        return rim


@dataclass(frozen=True, kw_only=True)
class Cup(Hollow):
    """A hollow frustum with a floor, open at the top."""

    radius_bottom: float
    """Outer radius at z = -height / 2."""
    radius_top: float
    """Outer radius at z = height / 2."""
    height: float
    wall: float
    """Thickness of wall (measured across, in a cut at constant z) and floor."""

    def __post_init__(self) -> None:
        check_positive(self)
        if self.wall >= min(self.radius_bottom, self.radius_top, self.height):
            raise BadInput(f"a cup has a wall of {self.wall}; wanted less than its radii and its height")

    @property
    def slope(self) -> float:
        """Compute how much the radius grows per metre of height."""
        return (self.radius_top - self.radius_bottom) / self.height

    @property
    def radius_middle(self) -> float:
        """Compute the outer radius at z = 0."""
        return (self.radius_top + self.radius_bottom) / 2

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        """List the outer side, the wall of the cavity, the bottom, the floor, the rim."""
        slope, middle, half, floor = self.slope, self.radius_middle, self.height / 2, self.wall - self.height / 2
        return (
            Lateral(middle, slope, -half, half, 0),
            Lateral(middle - self.wall, slope, floor, half, 3, inner=True),
            Disc(-half, 0.0, self.radius_bottom, 2, up=False),
            Disc(floor, 0.0, middle - self.wall + slope * floor, 4, up=True),
            Disc(half, self.radius_top - self.wall, self.radius_top, 1, up=True),
        )

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        r = max(self.radius_bottom, self.radius_top)
        return box_around((r, r, self.height / 2))

    @cached_property
    def outline(self) -> F64:
        """List points (64, 3) of both edges."""
        return np.concatenate([ring(self.radius_bottom, -self.height / 2), ring(self.radius_top, self.height / 2)])

    def radii(self, z: F64) -> tuple[F64, F64]:
        """Compute outer and inner radii (r,) at heights z (r,)."""
        outer = self.radius_bottom + (self.radius_top - self.radius_bottom) * np.clip(z / self.height + 0.5, 0, 1)
        return outer, np.where(z < -self.height / 2 + self.wall, 0.0, outer - self.wall)

    def profile(self, *, filled: bool = False) -> F64:
        """List the corners (4, 2), or (6, 2) with the cavity, as (radius, z)."""
        b, t, h, w = self.radius_bottom, self.radius_top, self.height, self.wall
        outside = [[0, -h / 2], [b, -h / 2], [t, h / 2]]
        if filled:
            return np.array([*outside, [0, h / 2]])
        inner = b + (t - b) * w / h - w
        return np.array([*outside, [t - w, h / 2], [inner, -h / 2 + w], [0, -h / 2 + w]])

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the larger of the distances (...,) to side and ends, less the cavity."""
        x, y, z = p
        half, wall = self.height / 2, self.wall
        along = float(1 / np.hypot(1, self.slope))
        off = np.sqrt(x * x + y * y) - (z * self.slope + self.radius_middle)
        outer = np.maximum(off * along, abs(z) - half)
        if filled:
            return outer
        hollow = np.maximum((off + wall) * along, (wall - half) - z)
        return np.maximum(outer, -hollow)

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute the outward directions (3, n)."""
        return self._normals(p, part, self.slope)

    @property
    def filled_volume(self) -> float:
        """Compute the volume of the frustum in m^3."""
        a, b = self.radius_bottom, self.radius_top
        return np.pi * self.height * (a * a + a * b + b * b) / 3

    def in_cavity(self, p: Floats, slack: float = 0.0) -> Bool:
        """Find which points (3, ...) lie between wall, floor and rim."""
        x, y, z = p
        inner = z * self.slope + (self.radius_middle - self.wall + slack)
        return (x * x + y * y < inner * inner) & (abs(z) < self.height / 2) & (z > self.wall - self.height / 2 - slack)

    def shows_cavity(self, point: Triple) -> bool:
        """Check whether a point is above the rim or closer to the axis than the wall."""
        x, y, z = point
        return z > self.height / 2 or bool(np.hypot(x, y) < self.radius_middle + self.slope * z - self.wall)


@dataclass(frozen=True, kw_only=True)
class Bowl(Hollow):
    """The lower half of a spherical shell, its rim in the plane z = 0; the centre of the sphere is the origin."""

    radius: float
    """Outer radius."""
    wall: float

    def __post_init__(self) -> None:
        check_positive(self)
        if self.wall >= self.radius:
            raise BadInput(f"a bowl has a wall of {self.wall}; wanted less than its radius {self.radius}")

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        """List the outer side, the inner one, the rim."""
        r, inner = self.radius, self.radius - self.wall
        return Cap(r, 0.0, -inf, 0.0, 0), Cap(inner, 0.0, -inf, 0.0, 3, inner=True), Disc(0.0, inner, r, 1, up=True)

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        r = self.radius
        return np.array([(-r, -r, -r), (r, r, 0.0)])

    @cached_property
    def outline(self) -> F64:
        """List rings of points (288, 3) from the lowest to the rim."""
        return ball()[: 9 * 32] * self.radius

    def radii(self, z: F64) -> tuple[F64, F64]:
        """Compute outer and inner radii (r,) at heights z (r,)."""
        outer, inner = (np.sqrt(np.maximum(a**2 - z**2, 0)) for a in (self.radius, self.radius - self.wall))
        return outer, inner

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the signed distance (...,): to the shell below the rim, to the ring of the rim above."""
        outer, inner = self.radius, 0.0 if filled else self.radius - self.wall
        around, z = np.hypot(p[0], p[1]), p[2]
        middle, half = (outer + inner) / 2, (outer - inner) / 2
        shell = np.abs(np.hypot(around, z) - middle) - half
        rim = np.hypot(np.maximum(np.abs(around - middle) - half, 0), z)
        above = np.where(np.abs(around - middle) <= half, z, rim)
        return np.where(z > 0, above, np.where(shell > 0, shell, np.maximum(shell, z)))

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the larger of the distances (...,) to the shell and to the plane of the rim."""
        away, r, wall = length(p), self.radius, self.wall
        shell = away - r if filled else abs(away - (r - wall / 2)) - wall / 2
        return np.maximum(shell, p[2])

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute directions (3, n) away from the centre, towards it on the inner side, up on the rim."""
        n = unit(p)
        n[:, part == 3] *= -1
        n[:, part == 1] = np.array([[0], [0], [1]])
        return n

    @property
    def filled_volume(self) -> float:
        """Compute the volume of the half ball in m^3."""
        return 2 / 3 * np.pi * self.radius**3

    def in_cavity(self, p: Floats, slack: float = 0.0) -> Bool:
        """Find which points (3, ...) lie in the inner half ball."""
        x, y, z = p
        return (x * x + y * y + z * z < (self.radius - self.wall + slack) ** 2) & (z < 0)

    def shows_cavity(self, point: Triple) -> bool:
        """Tell that it always may: a ray from below passes under the rim of the inner half ball."""
        return True
