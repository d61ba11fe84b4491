"""Hand-made episodes, poses by formulas and no simulator: a table with things that roll, fall, bend and reach."""

import numpy as np

from tapetum_world.bodies.episode import Body, Camera, Contacts, Episode, Light, Surface
from tapetum_world.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, Ground, RoundedBox, Sheet, Sphere


def look(eye, target, roll=0.0):
    """World to camera (4, 4) of a camera at `eye` that looks at `target`, z up."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    turn = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    out = np.eye(4)
    out[:3, :3] = turn @ np.stack([right, down, forward])
    out[:3, 3] = -out[:3, :3] @ eye
    return out


def turned(axis, angle):
    """Quaternion (4,) of a turn about an axis."""
    axis = np.asarray(axis, float) / np.linalg.norm(axis)
    return np.array([np.cos(angle / 2), *(np.sin(angle / 2) * axis)])


def no_contacts():
    """An empty record."""
    none = np.zeros(0)
    return Contacts(
        moment=np.zeros(0, np.int64),
        bodies=np.zeros((0, 2), np.int64),
        place=np.zeros((0, 3)),
        normal=np.zeros((0, 3)),
        impulse=none,
        approach=none,
        sliding=none,
        rolling=none,
    )


def episode(bodies, pose, size=(256, 256), frames=12, per_frame=4, eye=None, target=None, sheets=None, inside=None, **more):
    """Make an episode of (body, ...) whose poses are pose(i, part) -> place, quaternion for part 0..1."""
    k = (frames - 1) * per_frame + 1
    parts = np.linspace(0, 1, k) if k > 1 else np.zeros(1)
    poses = np.array([[np.concatenate(pose(i, s)) for i in range(len(bodies))] for s in parts])
    eye = eye or (lambda s: (0.0, -0.9, 0.65))
    target = target or (lambda s: (0.0, 0.0, 0.05))
    world = np.array([look(eye(s), target(s)) for s in parts])
    h, w = size
    focal = more.pop("focal", 1.25) * max(size)
    sun = np.array(more.pop("sun", (0.5, 0.35, -0.8)), float)
    return Episode(
        seed=more.pop("seed", 0),
        size=size,
        frame_rate=24.0,
        frames=frames,
        moments_per_frame=per_frame,
        bodies=tuple(bodies),
        poses=poses,
        sheets={i: np.array([f(s) for s in parts]) for i, f in (sheets or {}).items()},
        camera=Camera(
            intrinsics=np.tile([focal, focal, w / 2, h / 2], (k, 1)),
            world_to_camera=world,
            focus=np.full(k, more.pop("focus", 1.05)),
            aperture=more.pop("aperture", 0.0),
            shutter=more.pop("shutter", 0.5),
        ),
        light=Light(
            direction=sun / np.linalg.norm(sun),
            colour=np.array(more.pop("light", (0.95, 0.88, 0.78))),
            sky=np.array(more.pop("sky", (0.34, 0.38, 0.45))),
            softness=more.pop("softness", 0.04),
            exposure=np.linspace(*more.pop("exposure", (1.0, 1.0)), k),
        ),
        contacts=no_contacts(),
        inside=np.full((k, len(bodies)), -1) if inside is None else np.tile(inside, (k, 1)),
    )


REST = np.array([1.0, 0, 0, 0])


def room():
    """A table and two walls, all fixed; the table's top is z = 0."""
    wood = Surface(kind="pattern", pattern="marble", colour=(0.42, 0.25, 0.12), second=(0.3, 0.16, 0.07), scale=0.12, shine=0.3)
    wall = Surface(colour=(0.62, 0.6, 0.55))
    return [
        (
            Body(
                name="table",
                noun="table",
                shape=RoundedBox(size=(1.3, 0.9, 0.04), rounding=0.008),
                material="wood",
                surface=wood,
                fixed=True,
            ),
            np.array([0, 0.05, -0.02]),
        ),
        (
            Body(name="wall", noun="wall", shape=RoundedBox(size=(6, 0.1, 4)), material="stone", surface=wall, fixed=True),
            np.array([0, 1.6, 0.8]),
        ),
        (
            Body(
                name="floor",
                noun="floor",
                shape=Ground(),
                material="wood",
                fixed=True,
                surface=Surface(kind="photo", scale=0.8, seed=3),
            ),
            np.array([0, 0, -0.75]),
        ),
    ]


def table(size=(256, 256), frames=12, sheet=True, **more):
    """A ball rolls past a cup with a ball in it, a box falls, a sheet bends, a hand of capsules reaches in."""
    fixed = room()
    bodies = [b for b, _ in fixed]
    places = [p for _, p in fixed]
    things = [
        Body(
            name="ball-1",
            noun="ball",
            shape=Sphere(radius=0.05),
            material="rubber",
            surface=Surface(kind="photo", seed=1, scale=0.12, shine=0.25),
        ),
        Body(
            name="cup-1",
            noun="cup",
            shape=Cup(radius_bottom=0.045, radius_top=0.06, height=0.11, wall=0.006),
            material="ceramic",
            surface=Surface(colour=(0.1, 0.25, 0.5), shine=0.6, text="TEA"),
        ),
        Body(
            name="ball-2",
            noun="ball",
            shape=Sphere(radius=0.03),
            material="plastic",
            surface=Surface(colour=(0.7, 0.08, 0.05), shine=0.5),
        ),
        Body(
            name="box-1",
            noun="box",
            shape=RoundedBox(size=(0.12, 0.09, 0.08), rounding=0.006),
            material="paper",
            surface=Surface(kind="pattern", pattern="checks", colour=(0.75, 0.7, 0.1), second=(0.08, 0.3, 0.15), scale=0.03),
        ),
        Body(
            name="palm",
            noun="hand",
            shape=Capsule(radius=0.03, length=0.07),
            material="skin",
            group="hand",
            surface=Surface(colour=(0.65, 0.38, 0.27), shine=0.1),
        ),
        Body(
            name="arm",
            noun="hand",
            shape=Capsule(radius=0.028, length=0.3),
            material="skin",
            group="hand",
            surface=Surface(colour=(0.65, 0.38, 0.27), shine=0.1),
        ),
    ]
    base = len(bodies)
    bodies += things
    sheets = {}
    if sheet:
        bodies.append(
            Body(
                name="paper",
                noun="sheet",
                shape=Sheet(size=(0.2, 0.15), grid=(9, 11)),
                material="paper",
                surface=Surface(colour=(0.85, 0.84, 0.8), text="HELLO"),
            )
        )

        def bend(s):
            x, y = np.meshgrid(np.linspace(-0.1, 0.1, 11), np.linspace(-0.075, 0.075, 9))
            angle = 1.2 + 5 * s
            lift = 0.05 * np.maximum(0, (x + 0.02) / 0.12) ** 2 * angle
            return np.stack(
                [0.26 + x * np.cos(0.5) - y * np.sin(0.5), -0.17 + x * np.sin(0.5) + y * np.cos(0.5), 0.002 + lift], -1
            )

        sheets[len(bodies) - 1] = bend

    def pose(i, s):
        if i < base:
            return places[i], REST
        match i - base:
            case 0:
                x = -0.38 + 0.45 * s
                return np.array([x, -0.14, 0.05]), turned((0, 1, 0.2), (x + 0.38) / 0.05)
            case 1:
                return np.array([0.02, 0.06, 0.055]), turned((0, 0, 1), -1.4)
            case 2:
                return np.array([0.035, 0.055, 0.036]), REST
            case 3:
                height = max(0.04, 0.3 - 1.6 * s * s)
                tilt = max(0.0, 0.5 - 1.2 * s) if height > 0.04 else 0.0
                return np.array([-0.26, 0.1, height]), turned((0.3, 0.2, 1), 0.5 + tilt)
            case 4:
                return np.array([0.26 - 0.06 * s, 0.13, 0.09 - 0.03 * s]), turned((0, 1, 0.2), 1.2)
            case 5:
                return np.array([0.46 - 0.06 * s, 0.18, 0.17 - 0.03 * s]), turned((0.1, 1, 0.0), 1.15)
        return np.zeros(3), REST

    inside = np.full(len(bodies), -1)
    inside[base + 2] = base + 1
    return episode(bodies, pose, size, frames, sheets=sheets, inside=inside, **more)


def garden(size=(256, 256), frames=12, **more):
    """Every other shape on an endless ground; the camera goes round."""
    things = [
        (
            Cylinder(radius=0.05, height=0.14),
            (-0.2, 0.05, 0.07),
            Surface(kind="pattern", pattern="stripes", colour=(0.8, 0.8, 0.75), second=(0.6, 0.1, 0.1), scale=0.04, shine=0.3),
            "plastic",
        ),
        (Cone(radius=0.07, height=0.16), (0.18, 0.12, 0.08), Surface(colour=(0.85, 0.35, 0.04), shine=0.15), "plastic"),
        (
            Bowl(radius=0.1, wall=0.008),
            (0.02, -0.06, 0.1),
            Surface(kind="pattern", pattern="dots", colour=(0.82, 0.8, 0.74), second=(0.08, 0.2, 0.45), scale=0.035, shine=0.6),
            "ceramic",
        ),
        (Ellipsoid(radii=(0.08, 0.05, 0.04)), (0.27, -0.14, 0.04), Surface(colour=(0.8, 0.8, 0.82), shine=0.9), "metal"),
        (RoundedBox(size=(0.1, 0.1, 0.1)), (-0.3, -0.13, 0.05), Surface(kind="photo", seed=9, scale=0.1), "wood"),
        (
            Sphere(radius=0.035),
            (0.03, -0.06, 0.05),
            Surface(kind="pattern", pattern="noise", colour=(0.3, 0.6, 0.2), second=(0.1, 0.3, 0.05), scale=0.02),
            "stone",
        ),
        (
            Cup(radius_bottom=0.05, radius_top=0.05, height=0.1, wall=0.005),
            (-0.04, 0.22, 0.05),
            Surface(kind="photo", seed=12, scale=0.1, shine=0.3),
            "ceramic",
        ),
    ]
    bodies = [
        Body(
            name="ground",
            noun="ground",
            shape=Ground(),
            material="stone",
            fixed=True,
            surface=Surface(kind="photo", seed=5, scale=0.5),
        )
    ]
    bodies += [Body(name=f"thing-{i}", noun="thing", shape=s, material=m, surface=f) for i, (s, _, f, m) in enumerate(things)]

    def pose(i, s):
        if i == 0:
            return np.zeros(3), REST
        return np.array(things[i - 1][1]), turned((0, 0, 1), 0.3 * i + (3 * s if i == 5 else 0))

    def eye(s):
        return 0.95 * np.sin(0.5 * s - 0.2), -0.95 * np.cos(0.5 * s - 0.2), 0.55

    return episode(bodies, pose, size, frames, eye=eye, **{"light": (1.0, 0.95, 0.85), "aperture": 0.012, "focus": 1.0} | more)


def kitchen(size=(256, 256), frames=12, **more):
    """Seen steeply from above: into a cup and a bowl, balls in both, a box that slides fast, a word on its face, hard sun."""
    things = [
        (
            Cup(radius_bottom=0.05, radius_top=0.065, height=0.1, wall=0.006),
            (-0.12, 0.05, 0.05),
            Surface(colour=(0.75, 0.72, 0.65), shine=0.5),
            "ceramic",
        ),
        (Bowl(radius=0.11, wall=0.008), (0.14, 0.06, 0.11), Surface(colour=(0.1, 0.35, 0.3), shine=0.5), "ceramic"),
        (Sphere(radius=0.032), (-0.12, 0.05, 0.04), Surface(colour=(0.75, 0.05, 0.04), shine=0.5), "plastic"),
        (
            Sphere(radius=0.03),
            (0.15, 0.03, 0.05),
            Surface(kind="pattern", pattern="stripes", colour=(0.8, 0.8, 0.1), second=(0.1, 0.1, 0.1), scale=0.02, shine=0.4),
            "plastic",
        ),
        (
            RoundedBox(size=(0.07, 0.14, 0.07), rounding=0.004),
            (-0.1, -0.16, 0.035),
            Surface(colour=(0.6, 0.42, 0.25), text="FISH"),
            "paper",
        ),
        (Cylinder(radius=0.035, height=0.09), (0.3, -0.12, 0.045), Surface(colour=(0.75, 0.75, 0.77), shine=0.8), "metal"),
    ]
    bodies = [
        Body(
            name="ground",
            noun="ground",
            shape=Ground(),
            material="stone",
            fixed=True,
            surface=Surface(
                kind="pattern", pattern="checks", colour=(0.6, 0.58, 0.52), second=(0.28, 0.3, 0.32), scale=0.2, shine=0.4
            ),
        )
    ]
    bodies += [Body(name=f"thing-{i}", noun="thing", shape=s, material=m, surface=f) for i, (s, _, f, m) in enumerate(things)]

    def pose(i, s):
        if i == 0:
            return np.zeros(3), REST
        place = np.array(things[i - 1][1]) + (np.array([0.35 * s, 0, 0]) if i == 5 else 0)
        return place, turned((0, 0, 1), -1.5 if i == 5 else 0)

    inside = np.array([-1, -1, -1, 1, 2, -1, -1])
    given = {
        "eye": lambda s: (0.0, -0.5, 0.95),
        "target": lambda s: (0.05, -0.02, 0),
        "softness": 0.01,
        "sun": (-0.6, 0.5, -0.9),
    }
    return episode(bodies, pose, size, frames, inside=inside, **given | more)


SCENES = {"table": table, "garden": garden, "kitchen": kitchen}
