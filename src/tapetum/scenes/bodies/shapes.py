r"""Shapes of bodies in their own coordinates: the origin in the middle of the shape, z along its axis.

    Sphere Ellipsoid Capsule        round, no edges
    Cylinder Cone RoundedBox        solid
    Cup Bowl                        hollow, open at the top (+z): things go in
    Sheet                           thin, bends: its points are in the episode, not here
    Ground                          the plane z = 0 of the body, without end

         Cup                       Bowl                  Cone
     | |       | |             \ \         / /              /\
     | |       | |              \ \       / /              /  \
      \ \_____/ /                \ `-----' /              /    \
       `-------'                  `--___--'              '------'
    radius_top at +height/2     a shell around a sphere's lower half;   radius at -height/2, the tip at +height/2
    radius_bottom at -height/2  the rim at z = 0
"""

from dataclasses import dataclass

from tapetum.core.errors import BadInput

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """A ball."""

    radius: float

    def __post_init__(self) -> None:
        _positive(self)


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """A ball stretched along its axes."""

    radii: Triple

    def __post_init__(self) -> None:
        _positive(self)


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """A cylinder with half balls as ends: arms and fingers."""

    radius: float
    length: float
    """Between the centres of the half balls, which lie at z = -length / 2 and length / 2."""

    def __post_init__(self) -> None:
        _positive(self)


@dataclass(frozen=True, kw_only=True)
class Cylinder:
    """A solid cylinder from z = -height / 2 to height / 2."""

    radius: float
    height: float

    def __post_init__(self) -> None:
        _positive(self)


@dataclass(frozen=True, kw_only=True)
class Cone:
    """A solid cone, its base at z = -height / 2 and its tip at height / 2."""

    radius: float
    height: float

    def __post_init__(self) -> None:
        _positive(self)


@dataclass(frozen=True, kw_only=True)
class RoundedBox:
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


@dataclass(frozen=True, kw_only=True)
class Cup:
    """A hollow frustum with a floor, open at the top."""

    radius_bottom: float
    """Outer radius at z = -height / 2."""
    radius_top: float
    """Outer radius at z = height / 2."""
    height: float
    wall: float
    """Thickness of wall (measured across, in a cut at constant z) and floor."""

    def __post_init__(self) -> None:
        _positive(self)
        if self.wall >= min(self.radius_bottom, self.radius_top, self.height):
            raise BadInput(f"a cup has a wall of {self.wall}; wanted less than its radii and its height")


@dataclass(frozen=True, kw_only=True)
class Bowl:
    """The lower half of a spherical shell, its rim in the plane z = 0; the centre of the sphere is the origin."""

    radius: float
    """Outer radius."""
    wall: float

    def __post_init__(self) -> None:
        _positive(self)
        if self.wall >= self.radius:
            raise BadInput(f"a bowl has a wall of {self.wall}; wanted less than its radius {self.radius}")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A thin sheet of rows x columns points, which the episode keeps for every moment (`Episode.sheets`).

    A cell is two triangles: point (r, c) to (r + 1, c + 1) is their common edge. On the flat sheet x goes along a row from
    -width / 2, y from row to row from -height / 2; the upper side (+z, where words are printed) is the one that sees x to the
    right and y up.
    """

    size: tuple[float, float]
    """Width and height of the flat sheet."""
    grid: tuple[int, int] = (9, 9)
    """Rows and columns of points."""

    def __post_init__(self) -> None:
        if min(self.size) <= 0 or min(self.grid) < 2:
            raise BadInput(f"a sheet of size {self.size} and grid {self.grid}; wanted sizes above 0 and two points or more")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The plane z = 0 of the body, seen from above; without end."""


Shape = Sphere | Ellipsoid | Capsule | Cylinder | Cone | RoundedBox | Cup | Bowl | Sheet | Ground

SHAPES: dict[str, type] = {
    kind.__name__: kind for kind in (Sphere, Ellipsoid, Capsule, Cylinder, Cone, RoundedBox, Cup, Bowl, Sheet, Ground)
}
"""By name, as files have them."""


def _positive(shape: Shape) -> None:
    for name, value in vars(shape).items():
        if min(value if isinstance(value, tuple) else (value,)) <= 0:
            raise BadInput(f"{name} of a {type(shape).__name__} is {value}; wanted a length above 0")
