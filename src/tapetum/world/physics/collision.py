"""Shapes decomposed into MuJoCo primitives: each body becomes a few convex geoms, a hollow one a ring of many.

    Cup: a floor, walls of tilted boxes        Bowl: rows of tiles tangent to the inner sphere,
         around a ring, beads on the rim             a flat tile below (so that it stands), beads on the rim
    RoundedBox: three crossed boxes and        Cylinder, Cone: the shape, and small beads in its edge: a
         eight beads in the corners                 disc on a box touches in one point only, beads in several

A bead is a small sphere, flush with the surface. Masses and inertias come from the shape, never from the pieces.
"""

from dataclasses import dataclass, field

import numpy as np

from tapetum.world.bodies import quaternions
from tapetum.world.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, Ground, RoundedBox, Shape, Sphere
from tapetum.world.types import F64

SIDES = 16
BEADS = 6
LIFT = 0.0004
"""Metres by which a disc lies behind its beads."""


@dataclass(frozen=True, kw_only=True)
class CollisionGeom:
    """One geom."""

    kind: str
    """sphere, ellipsoid, capsule, cylinder, box, plane or mesh."""
    size: tuple[float, ...] = ()
    """As MuJoCo wants it: radii and half lengths."""
    pose: F64 = field(default_factory=lambda: quaternions.at(0, 0, 0))
    """(7,) in the body."""
    vertices: F64 | None = None
    """(v, 3) of a mesh, in the body; its hull counts."""
    round: bool = False
    """Rolls: gets rolling friction."""


def collision_geoms(shape: Shape) -> list[CollisionGeom]:
    """Cut a shape into geoms; a Sheet has none."""
    match shape:
        case Ground():
            return [CollisionGeom(kind="plane", size=(0, 0, 1))]
        case Sphere(radius=r):
            return [CollisionGeom(kind="sphere", size=(r,), round=True)]
        case Ellipsoid(radii=radii):
            return [CollisionGeom(kind="ellipsoid", size=radii, round=True)]
        case Capsule(radius=r, length=l):
            return [CollisionGeom(kind="capsule", size=(r, l / 2), round=True)]
        case Cylinder(radius=r, height=h):
            body = CollisionGeom(kind="cylinder", size=(r, h / 2 - LIFT), round=True)
            bead = min(0.0025, r / 4, h / 4)
            return [body, *_beads(r - bead, -h / 2 + bead, bead), *_beads(r - bead, h / 2 - bead, bead)]
        case Cone(radius=r, height=h):
            angle = np.arange(24) * (2 * np.pi / 24)
            base = np.stack([r * np.cos(angle), r * np.sin(angle), np.full(24, -h / 2 + LIFT)], 1)
            bead = min(0.0025, r / 4)
            body = CollisionGeom(kind="mesh", vertices=np.concatenate([base, [[0, 0, h / 2]]]), round=True)
            return [body, *_beads(r - 1.5 * bead, -h / 2 + bead, bead)]
        case RoundedBox(size=size, rounding=rounding):
            return _box(np.array(size) / 2, rounding)
        case Cup():
            return _cup(shape)
        case Bowl():
            return _bowl(shape)
    return []


def _beads(radius: float, z: float, bead: float, count: int = BEADS) -> list[CollisionGeom]:
    angles = np.arange(count) * (2 * np.pi / count)
    return [
        CollisionGeom(kind="sphere", size=(bead,), pose=quaternions.at(radius * np.cos(a), radius * np.sin(a), z))
        for a in angles
    ]


def _box(half: F64, rounding: float) -> list[CollisionGeom]:
    if rounding <= 0:
        return [CollisionGeom(kind="box", size=tuple(half))]
    core = np.maximum(half - rounding, 1e-4)
    crossed = [CollisionGeom(kind="box", size=tuple(np.where(np.arange(3) == axis, half, core))) for axis in range(3)]
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * core
    return crossed + [CollisionGeom(kind="sphere", size=(rounding,), pose=quaternions.at(*c)) for c in corners]


def _cup(cup: Cup) -> list[CollisionGeom]:
    slope = np.arctan2(cup.radius_top - cup.radius_bottom, cup.height)
    across = cup.wall * np.cos(slope)
    long = cup.height / np.cos(slope) - across * abs(np.tan(slope)) - cup.wall
    middle = (cup.radius_top + cup.radius_bottom) / 2 - cup.wall / 2
    width = max(cup.radius_top, cup.radius_bottom) * np.tan(np.pi / SIDES)
    made = []
    for i in range(SIDES):
        angle = 2 * np.pi * i / SIDES
        quaternion = quaternions.multiply(quaternions.about((0, 0, 1), angle), quaternions.about((0, 1, 0), slope))
        pose = quaternions.at(middle * np.cos(angle), middle * np.sin(angle), 0, quaternion)
        made.append(CollisionGeom(kind="box", size=(across / 2, width, long / 2), pose=pose))
    floor = cup.radius_bottom - cup.wall / 2
    at = quaternions.at(0, 0, -cup.height / 2 + cup.wall / 2 + LIFT / 2)
    made.append(CollisionGeom(kind="cylinder", size=(floor, cup.wall / 2 - LIFT / 2), pose=at))
    bead = cup.wall / 2
    made += _beads(cup.radius_bottom - bead, -cup.height / 2 + bead, bead)
    return made + _beads(cup.radius_top - bead, cup.height / 2 - bead, bead, 8)


def _bowl(bowl: Bowl, rows: int = 5, columns: int = 18) -> list[CollisionGeom]:
    """Tiles at angles below the rim, each row `step` of the quarter circle that the flat foot leaves.

    A tile's inner face would touch the inner sphere only in its middle; shifted inwards by half of the gap at its corners, it
    is off by at most that everywhere.
    """
    inner = bowl.radius - bowl.wall
    foot = np.radians(11)
    step = (np.pi / 2 - foot) / rows
    made = []
    for row in range(rows):
        down = (row + 0.5) * step
        high = inner * np.tan(step / 2)
        wide = inner * np.cos(down - step / 2) * np.tan(np.pi / columns)
        lack = inner - np.sqrt(max(inner**2 - high**2 - (wide * 0.9) ** 2, 0))
        middle = bowl.radius - bowl.wall / 2 - lack / 2
        for column in range(columns):
            angle = 2 * np.pi * (column + row / 2) / columns
            out = np.array([np.cos(down) * np.cos(angle), np.cos(down) * np.sin(angle), -np.sin(down)])
            quaternion = quaternions.multiply(quaternions.about((0, 0, 1), angle), quaternions.about((0, 1, 0), down))
            shorter = 0.94 if row == 0 else 1.0
            pose = quaternions.at(out[0] * middle, out[1] * middle, out[2] * middle, quaternion)
            made.append(CollisionGeom(kind="box", size=(bowl.wall / 2, wide, high * shorter), pose=pose))
    flat = inner * np.tan(foot) * 1.05
    top, bottom = -inner + inner * (1 - np.cos(foot)) / 2, -bowl.radius + LIFT
    made.append(CollisionGeom(kind="cylinder", size=(flat, (top - bottom) / 2), pose=quaternions.at(0, 0, (top + bottom) / 2)))
    bead = bowl.wall / 2
    made += _beads(flat - bead, -bowl.radius + bead, bead)
    return made + _beads(bowl.radius - bead, -bead, bead, 8)
