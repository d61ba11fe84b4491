"""The model that MuJoCo steps, built in memory from bodies, whose shapes are decomposed into MuJoCo primitives.

Each body becomes a few convex geoms, a hollow one a ring of many:

    Cup: a floor, walls of tilted boxes        Bowl: rows of tiles tangent to the inner sphere,
         around a ring, beads on the rim             a flat tile below (so that it stands), beads on the rim
    RoundedBox: three crossed boxes and        Cylinder, Cone: the shape, and small beads in its edge: a
         eight beads in the corners                 disc on a box touches in one point only, beads in several

A bead is a small sphere, flush with the surface. Masses and inertias come from the shape, never from the pieces.

Body number j is the MuJoCo body `b{j}`: fixed ones are welded to the world, others float. The hand is a tree: a floating palm
and fingers on hinges. It is heavy and its positions and speeds are prescribed at every step, so it pushes without yielding and
drags by friction. An inactive weld from the palm to each other body is the grip. The arm is not in the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F64, I64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Body
from tapetum_world.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, Ground, RoundedBox, Shape, Sheet, Sphere
from tapetum_world.physics.hand_model import FINGERS, HandParts
from tapetum_world.physics.props import PHYSICS_MATERIALS, spring

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


GRAVITY = 9.81
HAND_MASS = 30.0


def mujoco() -> Any:
    """Import MuJoCo, which takes longer than all else, once it is needed."""
    import mujoco  # pyright: ignore[reportMissingImports]

    return mujoco


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A compiled model and where bodies are in it."""

    mj: Any
    """MjModel"""
    free: I64
    """(f,) numbers of the floating bodies (no sheets, no hand), in the order of their coordinates."""
    qpos: I64
    """(f,) first of their 7 coordinates."""
    qvel: I64
    """(f,) first of their 6 speeds."""
    ids: I64
    """(n,) MuJoCo's id of each body; -1 for sheets and the arm."""
    geom_body: I64
    """(g,) number of the body of each geom."""
    hand_qpos: slice
    """Palm's 7, then two angles of each finger."""
    hand_qvel: slice
    welds: dict[int, int]
    """Number of the grip's equality by body."""


def build(bodies: Sequence[Body], poses: F64, *, step: float, hand: HandParts | None = None) -> Model:
    """Compile bodies at poses (n, 7) into a model that steps by `step` seconds; `hand`: which bodies are its parts."""
    mj = mujoco()
    parts = set(hand.all) if hand else set()
    solid = [j for j, b in enumerate(bodies) if j not in parts and not isinstance(b.shape, Sheet)]
    still = [j for j in solid if bodies[j].fixed]
    free = [j for j in solid if not bodies[j].fixed]
    assets: list[str] = []
    inside = [_body(j, bodies[j], poses[j], assets) for j in still + free]
    equality = ""
    if hand:
        inside.append(_hand(bodies, poses, hand))
        lines = [f'<weld name="w{j}" body1="b{hand.palm}" body2="b{j}" active="false" {_GRIP}/>' for j in free]
        equality = f"<equality>{''.join(lines)}</equality>"
    text = f"""<mujoco><compiler angle="radian" inertiafromgeom="false" balanceinertia="false" boundmass="0"/>
      <option timestep="{step!r}" gravity="0 0 {-GRAVITY}" cone="elliptic" impratio="30" integrator="implicitfast"/>
      <asset>{"".join(assets)}</asset><worldbody>{"".join(inside)}</worldbody>{equality}</mujoco>"""
    try:
        model = mj.MjModel.from_xml_string(text)
    except ValueError as error:
        raise BadInput(f"MuJoCo takes no such bodies: {str(error).splitlines()[0]}; change their shapes or sizes") from None
    return _index(model, bodies, free, hand)


_GRIP = 'solref="0.006 1" solimp="0.98 0.99 0.001"'


def _index(model: Any, bodies: Sequence[Body], free: list[int], hand: HandParts | None) -> Model:
    mj = mujoco()
    ids = np.array([mj.mj_name2id(model, mj.mjtObj.mjOBJ_BODY, f"b{j}") for j in range(len(bodies))], np.int64)
    back = {int(i): j for j, i in enumerate(ids) if i >= 0}
    joints = model.body_jntadr[ids[free]] if free else np.zeros(0, int)
    palm = model.body_jntadr[ids[hand.palm]] if hand else 0
    a, b = (int(model.jnt_qposadr[palm]), int(model.jnt_dofadr[palm])) if hand else (0, 0)
    angles = 2 * len(FINGERS)
    return Model(
        mj=model,
        free=np.array(free, np.int64),
        qpos=np.asarray(model.jnt_qposadr[joints], np.int64),
        qvel=np.asarray(model.jnt_dofadr[joints], np.int64),
        ids=ids,
        geom_body=np.array([back[int(i)] for i in model.geom_bodyid], np.int64),
        hand_qpos=slice(a, a + 7 + angles if hand else 0),
        hand_qvel=slice(b, b + 6 + angles if hand else 0),
        welds={j: mj.mj_name2id(model, mj.mjtObj.mjOBJ_EQUALITY, f"w{j}") for j in free} if hand else {},
    )


def _numbers(values: Sequence[float] | F64) -> str:
    return " ".join(repr(float(v)) for v in values)


def _body(number: int, body: Body, pose: F64, assets: list[str]) -> str:
    geoms = "".join(_geom(f"g{number}-{i}", piece, body, assets) for i, piece in enumerate(collision_geoms(body.shape)))
    joint = "" if body.fixed else f"<freejoint/>{_inertial(body)}"
    return f'<body name="b{number}" pos="{_numbers(pose[:3])}" quat="{_numbers(pose[3:])}">{joint}{geoms}</body>'


def _inertial(body: Body) -> str:
    _, centre, inertia = body.shape.mass_properties
    spread = _numbers([body.mass * i for i in inertia])
    return f'<inertial pos="0 0 {centre!r}" mass="{body.mass!r}" diaginertia="{spread}"/>'


def _touch(body: Body, *, rolls: bool) -> str:
    stuff = PHYSICS_MATERIALS[body.material]
    stiff, damp = spring(stuff.bounce)
    return (
        f'condim="{6 if rolls else 4}" friction="{stuff.friction} {stuff.twist} {stuff.rolling}" '
        f'solref="{-stiff!r} {-damp!r}" solimp="0.5 0.97 0.001"'
    )


def _geom(name: str, piece: CollisionGeom, body: Body, assets: list[str]) -> str:
    touch = _touch(body, rolls=piece.round)
    shape = f'size="{_numbers(piece.size)}"'
    if piece.vertices is not None:
        assets.append(f'<mesh name="{name}" vertex="{_numbers(piece.vertices.ravel())}"/>')
        shape = f'mesh="{name}"'
    frame = f'pos="{_numbers(piece.pose[:3])}" quat="{_numbers(piece.pose[3:])}"'
    return f'<geom name="{name}" type="{piece.kind}" {shape} {frame} {touch}/>'


def _hand(bodies: Sequence[Body], poses: F64, hand: HandParts) -> str:
    """Write the palm with its fingers; parts of the hand do not touch each other (contype 2, conaffinity 1).

    The hand's own friction applies, whatever it touches: objects slip before they jam between a finger and the table.
    """
    own = 'contype="2" conaffinity="1" priority="1"'

    def geoms(j: int) -> str:
        text = "".join(_geom(f"g{j}-{i}", piece, bodies[j], []) for i, piece in enumerate(collision_geoms(bodies[j].shape)))
        return text.replace("<geom ", f"<geom {own} ")

    heavy = f'<inertial pos="0 0 0" mass="{HAND_MASS}" diaginertia="0.3 0.3 0.3"/>'
    light = '<inertial pos="0 0 0" mass="0.5" diaginertia="0.001 0.001 0.001"/>'
    fingers = ""
    for finger, (first, second) in zip(FINGERS, hand.fingers, strict=True):
        a, b = finger.lengths
        hinge = f'type="hinge" axis="0 {finger.side} 0" armature="0.5"'
        x, y, z = finger.base
        tip = f'<body name="b{second}" pos="0 0 {-(a + b) / 2}" gravcomp="1"><joint {hinge} pos="0 0 {b / 2}"/>{light}'
        fingers += (
            f'<body name="b{first}" pos="{x} {y} {z - a / 2}" gravcomp="1"><joint {hinge} pos="0 0 {a / 2}"/>{light}'
            f"{geoms(first)}{tip}{geoms(second)}</body></body>"
        )
    pose = poses[hand.palm]
    return (
        f'<body name="b{hand.palm}" pos="{_numbers(pose[:3])}" quat="{_numbers(pose[3:])}" gravcomp="1">'
        f"<freejoint/>{heavy}{geoms(hand.palm)}{fingers}</body>"
    )
