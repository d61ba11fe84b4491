"""Each shape drawn once more, by formulas that share nothing with `tapetum_world.bodies.shapes`: the truth its tests go by."""

import numpy as np

from tapetum_world.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, RoundedBox, Sphere

SHAPES = {
    "sphere": Sphere(radius=0.1),
    "ellipsoid": Ellipsoid(radii=(0.12, 0.07, 0.05)),
    "capsule": Capsule(radius=0.05, length=0.12),
    "cylinder": Cylinder(radius=0.07, height=0.15),
    "cone": Cone(radius=0.09, height=0.17),
    "box": RoundedBox(size=(0.2, 0.12, 0.1)),
    "rounded box": RoundedBox(size=(0.2, 0.12, 0.1), rounding=0.02),
    "cup": Cup(radius_bottom=0.06, radius_top=0.09, height=0.15, wall=0.01),
    "bowl": Bowl(radius=0.11, wall=0.012),
}


def surface_points(shape, rng, n):
    """Draw points (m, 3) on a shape, spread over angles and heights, or moved onto a box."""
    turn, z = rng.uniform(0, 2 * np.pi, n), rng.uniform(-1, 1, n)
    ball = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], 1)
    disc = np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1)
    share = rng.uniform(0, 1, n)[:, None]
    up = np.array([0, 0, 1.0])
    wide = np.sqrt(share)
    match shape:
        case Sphere():
            return ball * shape.radius
        case Ellipsoid():
            return ball * shape.radii
        case Capsule():
            ends = ball * shape.radius + up * np.sign(ball[:, 2:]) * shape.length / 2
            return np.concatenate([ends, disc * shape.radius + up * (share - 0.5) * shape.length])
        case Cylinder():
            lid = disc * wide * shape.radius + up * shape.height / 2
            return np.concatenate([disc * shape.radius + up * (share - 0.5) * shape.height, lid, lid * [1, 1, -1]])
        case Cone():
            side = disc * shape.radius * (1 - share) + up * (share - 0.5) * shape.height
            return np.concatenate([side, disc * wide * shape.radius - up * shape.height / 2])
        case RoundedBox():
            core = np.array(shape.size) / 2 - shape.rounding
            out = rng.normal(size=(n, 3)) * rng.choice([0.0, 1.0], (n, 3), p=[0.4, 0.6])
            if shape.rounding == 0:
                out = np.eye(3)[rng.integers(0, 3, n)] * rng.choice([-1, 1], (n, 1))
            out = out[np.linalg.norm(out, axis=1) > 1e-6]
            out /= np.linalg.norm(out, axis=1, keepdims=True)
            inner = np.where(out == 0, rng.uniform(-1, 1, out.shape), np.sign(out)) * core
            return inner + out * shape.rounding
        case Cup():
            h, w = shape.height, shape.wall
            grow = shape.radius_top - shape.radius_bottom
            outer = disc * (shape.radius_bottom + grow * share) + up * (share - 0.5) * h
            level = w / h + (1 - w / h) * share
            inner = disc * (shape.radius_bottom + grow * level - w) + up * (level - 0.5) * h
            floor = disc * wide * (shape.radius_bottom + grow * w / h - w) + up * (w - h / 2)
            bottom = disc * wide * shape.radius_bottom - up * h / 2
            rim = disc * (shape.radius_top - w * share) + up * h / 2
            return np.concatenate([outer, inner, floor, bottom, rim])
        case Bowl():
            half = ball * [1, 1, 0] - abs(ball) * up
            rim = disc * (shape.radius - shape.wall * share)
            return np.concatenate([half * shape.radius, half * (shape.radius - shape.wall), rim])
    raise TypeError(shape)


def is_inside(shape, p):
    """Check which points (n, 3) lie in the material, by what the names of the shape's sizes say."""
    around, z = np.hypot(p[:, 0], p[:, 1]), p[:, 2]
    match shape:
        case Sphere():
            return (p**2).sum(1) < shape.radius**2
        case Ellipsoid():
            return ((p / shape.radii) ** 2).sum(1) < 1
        case Capsule():
            ends = [np.linalg.norm(p - [0, 0, end * shape.length / 2], axis=1) for end in (-1, 1)]
            return (np.minimum(*ends) < shape.radius) | ((around < shape.radius) & (abs(z) < shape.length / 2))
        case Cylinder():
            return (around < shape.radius) & (abs(z) < shape.height / 2)
        case Cone():
            return (abs(z) < shape.height / 2) & (around < shape.radius * (shape.height / 2 - z) / shape.height)
        case RoundedBox():
            core = np.array(shape.size) / 2 - shape.rounding
            away = np.linalg.norm(p - np.clip(p, -core, core), axis=1)
            return away < shape.rounding if shape.rounding else (abs(p) < core).all(1)
        case Cup():
            outer = np.interp(z, [-shape.height / 2, shape.height / 2], [shape.radius_bottom, shape.radius_top])
            hollow = (around < outer - shape.wall) & (z > shape.wall - shape.height / 2)
            return (abs(z) < shape.height / 2) & (around < outer) & ~hollow
        case Bowl():
            away = np.linalg.norm(p, axis=1)
            return (z < 0) & (away < shape.radius) & (away > shape.radius - shape.wall)
    raise TypeError(shape)
