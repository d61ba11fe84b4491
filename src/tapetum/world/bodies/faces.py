"""Faces of shapes: the surfaces that rays hit, from which renderer and ground truth each derive their own equations.

A part is a number that distinguishes faces separated by a sharp edge: 0 the outer side, 1 top or rim, 2 bottom, 3 the wall of a
cavity, 4 its floor; a box has 0, 1 and 2 for the axis perpendicular to a side.
"""

from dataclasses import dataclass

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
