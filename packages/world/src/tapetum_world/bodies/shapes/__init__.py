r"""Shapes of bodies in their own coordinates: the origin in the middle of the shape, z along its axis.

Cups and bowls are open at the top (+z). A sheet's points are in the episode; the ground is the plane z = 0, without end.
One class per shape holds its geometry; everything else derives from it (`shapes.base`).
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
