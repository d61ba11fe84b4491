"""Shapes without volume: sheets, whose points move, and the ground."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.core.errors import BadInput
from tapetum.world.bodies.faces import Disc, Face
from tapetum.world.bodies.shapes.base import Floats, MassProperties, Shape, box_around
from tapetum.world.types import F64, I64


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
        """Compute both corners (2, 3) of the flat sheet."""
        return box_around((self.size[0] / 2, self.size[1] / 2, 0.0))

    @cached_property
    def outline(self) -> F64:
        """List the corners (4, 3) of the flat sheet."""
        a, b = self.size
        return np.array([[x * a / 2, y * b / 2, 0] for x in (-1, 1) for y in (-1, 1)], float)

    @cached_property
    def mass_properties(self) -> MassProperties:
        """Compute volume, centre and inertia of the flat sheet, a millimetre thick."""
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
        """List the plane."""
        return (Disc(0.0, 0.0, np.inf, 0, up=True),)

    @cached_property
    def bounds(self) -> F64:
        """Compute both corners (2, 3)."""
        return box_around((np.inf, np.inf, 0.0))

    @cached_property
    def outline(self) -> F64:
        """List the origin alone (1, 3)."""
        return np.zeros((1, 3))

    @cached_property
    def mass_properties(self) -> MassProperties:
        """Set all to 1: the ground never moves."""
        return 1.0, 0.0, (1.0, 1.0, 1.0)

    def distance(self, p: Floats, *, filled: bool = False) -> Floats:
        """Compute the height (...,)."""
        return p[2].copy()

    def normals(self, p: Floats, part: NDArray[Any]) -> Floats:
        """Compute the upward direction (3, n)."""
        n = np.zeros_like(p)
        n[2] = 1
        return n


def triangles(rows: int, columns: int) -> I64:
    """Compute the numbers (m, 3) of the points of all triangles of a sheet, counter-clockwise seen from the upper side."""
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    return np.concatenate([np.stack([a, a + 1, a + columns + 1], 1), np.stack([a, a + columns + 1, a + columns], 1)])
