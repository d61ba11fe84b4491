"""Hollow shapes, open at the top: cups and bowls; shapes without volume: sheets, whose points move, and the ground."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F64, I64, Bool
from tapetum_world.bodies.shapes.base import (
    Cap,
    Disc,
    Face,
    Floats,
    Lateral,
    MassProperties,
    Revolved,
    Shape,
    Triple,
    ball,
    box_around,
    length,
    ring,
    unit,
)


class Hollow(Revolved):
    """A shape whose last face is its rim."""

    @cached_property
    def opening(self) -> Disc:
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
        super().__post_init__()
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
        slope, middle, half, floor = self.slope, self.radius_middle, self.height / 2, self.wall - self.height / 2
        return (
            Lateral(middle, slope, -half, half, 0),
            Lateral(middle - self.wall, slope, floor, half, 3, inner=True),
            Disc(-half, 0.0, self.radius_bottom, 2, up=False),
            Disc(floor, 0.0, middle - self.wall + slope * floor, 4, up=True),
            Disc(half, self.radius_top - self.wall, self.radius_top, 1, up=True),
        )

    @cached_property
    def outline(self) -> F64:
        return np.concatenate([ring(self.radius_bottom, -self.height / 2), ring(self.radius_top, self.height / 2)])

    def radii(self, z: F64) -> tuple[F64, F64]:
        outer = self.radius_bottom + (self.radius_top - self.radius_bottom) * np.clip(z / self.height + 0.5, 0, 1)
        return outer, np.where(z < -self.height / 2 + self.wall, 0.0, outer - self.wall)

    def profile(self, *, filled: bool = False) -> F64:
        b, t, h, w = self.radius_bottom, self.radius_top, self.height, self.wall
        outside = [[0, -h / 2], [b, -h / 2], [t, h / 2]]
        if filled:
            return np.array([*outside, [0, h / 2]])
        inner = b + (t - b) * w / h - w
        return np.array([*outside, [t - w, h / 2], [inner, -h / 2 + w], [0, -h / 2 + w]])

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
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
        return self._normals(p, part, self.slope)

    @property
    def filled_volume(self) -> float:
        a, b = self.radius_bottom, self.radius_top
        return np.pi * self.height * (a * a + a * b + b * b) / 3

    def in_cavity(self, p: Floats, slack: float = 0.0) -> Bool:
        x, y, z = p
        inner = z * self.slope + (self.radius_middle - self.wall + slack)
        return (x * x + y * y < inner * inner) & (abs(z) < self.height / 2) & (z > self.wall - self.height / 2 - slack)

    def shows_cavity(self, point: Triple) -> bool:
        x, y, z = point
        return z > self.height / 2 or bool(np.hypot(x, y) < self.radius_middle + self.slope * z - self.wall)


@dataclass(frozen=True, kw_only=True)
class Bowl(Hollow):
    """The lower half of a spherical shell, its rim in the plane z = 0; the centre of the sphere is the origin."""

    radius: float
    """Outer radius."""
    wall: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wall >= self.radius:
            raise BadInput(f"a bowl has a wall of {self.wall}; wanted less than its radius {self.radius}")

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        r, inner = self.radius, self.radius - self.wall
        return Cap(r, 0.0, -inf, 0.0, 0), Cap(inner, 0.0, -inf, 0.0, 3, inner=True), Disc(0.0, inner, r, 1, up=True)

    @cached_property
    def bounds(self) -> F64:
        r = self.radius
        return np.array([(-r, -r, -r), (r, r, 0.0)])

    @cached_property
    def outline(self) -> F64:
        return ball()[: 9 * 32] * self.radius

    def radii(self, z: F64) -> tuple[F64, F64]:
        outer, inner = (np.sqrt(np.maximum(a**2 - z**2, 0)) for a in (self.radius, self.radius - self.wall))
        return outer, inner

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        outer, inner = self.radius, 0.0 if filled else self.radius - self.wall
        around, z = np.hypot(p[0], p[1]), p[2]
        middle, half = (outer + inner) / 2, (outer - inner) / 2
        shell = np.abs(np.hypot(around, z) - middle) - half
        rim = np.hypot(np.maximum(np.abs(around - middle) - half, 0), z)
        above = np.where(np.abs(around - middle) <= half, z, rim)
        return np.where(z > 0, above, np.where(shell > 0, shell, np.maximum(shell, z)))

    def hull_distance(self, p: Floats, *, filled: bool = False) -> Floats:
        away, r, wall = length(p), self.radius, self.wall
        shell = away - r if filled else abs(away - (r - wall / 2)) - wall / 2
        return np.maximum(shell, p[2])

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        n = unit(p)
        n[:, part == 3] *= -1
        n[:, part == 1] = np.array([[0], [0], [1]])
        return n

    @property
    def filled_volume(self) -> float:
        return 2 / 3 * np.pi * self.radius**3

    def in_cavity(self, p: Floats, slack: float = 0.0) -> Bool:
        x, y, z = p
        return (x * x + y * y + z * z < (self.radius - self.wall + slack) ** 2) & (z < 0)

    def shows_cavity(self, point: Triple) -> bool:
        """Tell that it always may: a ray from below passes under the rim of the inner half ball."""
        return True


@dataclass(frozen=True, kw_only=True)
class Sheet(Shape):
    """A thin sheet of rows x columns points, which the episode keeps for every moment (`Episode.sheets`).

    On the flat sheet x goes along a row from -width / 2, y from row to row from -height / 2; the upper side (+z, where words
    are printed) is the one that sees x to the right and y up. A cell is two triangles:

         row r+1  o-----o
                  |2 / /|
                  | / 1 |
         row r    o-----o
                column c  c+1
    """

    size: tuple[float, float]
    """Width and height of the flat sheet."""
    grid: tuple[int, int] = (9, 9)
    """Rows and columns of points."""

    def __post_init__(self) -> None:
        if min(self.size) <= 0 or min(self.grid) < 2:
            raise BadInput(f"a sheet of size {self.size} and grid {self.grid}; wanted sizes above 0 and two points or more")

    @cached_property
    def flat_places(self) -> F64:
        """Compute the positions (rows, columns, 2) of the points on the flat sheet, in metres."""
        rows, columns = self.grid
        y, x = np.meshgrid(np.linspace(-0.5, 0.5, rows), np.linspace(-0.5, 0.5, columns), indexing="ij")
        return np.stack([x * self.size[0], y * self.size[1]], -1)

    @cached_property
    def bounds(self) -> F64:
        return box_around((self.size[0] / 2, self.size[1] / 2, 0.0))

    @cached_property
    def outline(self) -> F64:
        a, b = self.size
        return np.array([[x * a / 2, y * b / 2, 0] for x in (-1, 1) for y in (-1, 1)], float)

    @cached_property
    def mass_properties(self) -> MassProperties:
        a, b = self.size
        return a * b * 0.001, 0.0, (b * b / 12, a * a / 12, (a * a + b * b) / 12)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute a distance (...,) that is far from everything: nothing keeps away from a sheet."""
        return np.full(p.shape[1:], 1e3)


@dataclass(frozen=True, kw_only=True)
class Ground(Shape):
    """The plane z = 0 of the body, seen from above; without end."""

    @cached_property
    def faces(self) -> tuple[Face, ...]:
        return (Disc(0.0, 0.0, np.inf, 0, up=True),)

    @cached_property
    def bounds(self) -> F64:
        return box_around((np.inf, np.inf, 0.0))

    @cached_property
    def outline(self) -> F64:
        return np.zeros((1, 3))

    @cached_property
    def mass_properties(self) -> MassProperties:
        return 1.0, 0.0, (1.0, 1.0, 1.0)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        return p[2].copy()

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        n = np.zeros_like(p)
        n[2] = 1
        return n


def triangles(rows: int, columns: int) -> I64:
    """Compute the numbers (m, 3) of the points of all triangles of a sheet, counter-clockwise seen from the upper side."""
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    return np.concatenate([np.stack([a, a + 1, a + columns + 1], 1), np.stack([a, a + columns + 1, a + columns], 1)])
