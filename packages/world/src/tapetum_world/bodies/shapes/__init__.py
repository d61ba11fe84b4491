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

One class per shape holds its geometry; everything else derives from it (`shapes.base`). The tests define each shape a second
time, by independent formulas (`packages/world/tests/bodies/test_shapes.py`).
"""

from tapetum_world.bodies.shapes.base import Revolved, Shape
from tapetum_world.bodies.shapes.hollow import Bowl, Cup, Ground, Sheet, triangles
from tapetum_world.bodies.shapes.solid import Capsule, Cone, Cylinder, Ellipsoid, RoundedBox, Sphere

SHAPES: dict[str, type[Shape]] = {
    kind.__name__: kind for kind in (Sphere, Ellipsoid, Capsule, Cylinder, Cone, RoundedBox, Cup, Bowl, Sheet, Ground)
}
"""By name, as files have them."""

__all__ = [
    "SHAPES",
    "Bowl",
    "Capsule",
    "Cone",
    "Cup",
    "Cylinder",
    "Ellipsoid",
    "Ground",
    "Revolved",
    "RoundedBox",
    "Shape",
    "Sheet",
    "Sphere",
    "triangles",
]
