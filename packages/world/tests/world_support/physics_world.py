"""Small worlds that the tests of physics share."""

import numpy as np

from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Body, Contacts, Material
from tapetum_world.bodies.shapes import Ground, Shape
from tapetum_world.physics.props import PHYSICS_MATERIALS
from tapetum_world.physics.simulate import Simulation

MOMENTS = 240


def body(name: str, shape: Shape, material: Material = "wood", **rest: object) -> Body:
    mass = PHYSICS_MATERIALS[material].density * shape.mass_properties[0]
    return Body(**{"name": name, "noun": name, "shape": shape, "material": material, "mass": mass, **rest})


def ground(material: Material = "stone") -> Body:
    return Body(name="floor", noun="floor", shape=Ground(), material=material, fixed=True)


def run(
    bodies: list[Body], poses: list[np.ndarray], seconds: float, velocities: dict[int, list[float]] | None = None
) -> tuple[np.ndarray, Contacts, np.ndarray]:
    speeds = np.zeros((len(bodies), 6))
    for j, v in (velocities or {}).items():
        speeds[j] = v
    sim = Simulation(bodies, np.stack(poses), speeds, step=1 / 720, steps_per_moment=3)
    sim.advance(round(seconds * 720))
    sim.close()
    return sim.take()


def at(x: float, y: float, z: float, quaternion: np.ndarray | None = None) -> np.ndarray:
    return quaternions.at(x, y, z, quaternion)
