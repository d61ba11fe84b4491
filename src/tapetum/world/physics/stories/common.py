"""Helpers of the stories: random objects, free positions, rollers, and actions for the remaining time."""

from collections.abc import Callable

import numpy as np

from tapetum.world.bodies import quaternions
from tapetum.world.physics.builder import SceneBuilder, rolling
from tapetum.world.physics.hand import Hand
from tapetum.world.physics.props import COMMON

Act = Callable[[Hand], None]
"""What a hand does next; called until the time is over."""
Story = Callable[[SceneBuilder], Act]
"""Puts things into a setting and says what the hand does."""


def one_of(rng: np.random.Generator, nouns: tuple[str, ...]) -> str:
    return str(rng.choice(nouns))


def distract(scene: SceneBuilder, least: int, most: int, nouns: tuple[str, ...] = COMMON) -> list[int]:
    made = [scene.add(one_of(scene.rng, nouns)) for _ in range(int(scene.rng.integers(least, most + 1)))]
    return [j for j in made if j >= 0]


def empty_spot(scene: SceneBuilder, hand: Hand, radius: float = 0.05) -> tuple[float, float]:
    """Find a position away from all present objects; the emptiest of several."""
    poses = hand.stage.sim.poses_now()
    near = [
        (poses[j, :2], float(np.linalg.norm(b.shape.outline[:, :2], axis=1).max()))
        for j, b in enumerate(scene.bodies)
        if not b.fixed and b.group != "hand" and j != hand.stage.sim.carried
    ]
    tried = scene.rng.uniform(-1, 1, (24, 2)) * np.array([0.24, 0.16])
    room = [min((float(np.linalg.norm(t - n)) - r for n, r in near), default=1.0) for t in tried]
    good = [t for t, r in zip(tried, room, strict=True) if r > radius and hand.reaches(float(t[0]), float(t[1]))]
    best = good[0] if good else tried[int(np.argmax(room))]
    return float(best[0]), float(best[1])


def aim(scene: SceneBuilder, start: np.ndarray, far: float) -> float:
    """Choose a direction from a position that leads across the middle."""
    towards = scene.rng.normal(0, 0.06, 2) - start
    return float(np.arctan2(towards[1], towards[0])) if np.linalg.norm(start) > far else float(scene.rng.uniform(-np.pi, np.pi))


def add_roller(scene: SceneBuilder, noun: str, start: np.ndarray, velocity: np.ndarray) -> int:
    """Add a rolling ball, or a can on its side that rolls."""
    yaw = float(np.arctan2(velocity[1], velocity[0]))
    turn = (
        quaternions.multiply(quaternions.about((0, 0, 1), yaw), quaternions.about((1, 0, 0), np.pi / 2))
        if noun == "can"
        else quaternions.about((0, 0, 1), yaw)
    )
    number = scene.add(noun, (start[0], start[1]), turn=turn, velocity=velocity)
    shape = scene.bodies[number].shape
    radius = getattr(shape, "radius", 0.03)
    scene.velocities[number][3:] = rolling(velocity, radius, turn)
    return number


def tidy(scene: SceneBuilder, hand: Hand, but: tuple[int, ...] = ()) -> None:
    """Move some object to a free position, as a hand does when nothing else is left to do."""
    poses = hand.stage.sim.poses_now()
    pool = [
        j
        for j, b in enumerate(scene.bodies)
        if b.noun in COMMON and j not in but and poses[j, 2] > 0 and np.abs(poses[j, :2]).max() < 0.3
    ]
    if not pool or not hand.pick(int(scene.rng.choice(pool))):
        hand.rest()
        hand.stage.wait(0.5)
        return
    hand.place(*empty_spot(scene, hand))


def within_reach(hand: Hand, bodies: list[int]) -> list[int]:
    """Select the bodies on the support that are not too far out and not moving."""
    poses, pixel_motion = hand.stage.sim.poses_now(), hand.stage.sim.velocities_now()
    return [
        j
        for j in bodies
        if poses[j, 2] > 0 and np.abs(poses[j, :2]).max() < 0.32 and np.linalg.norm(pixel_motion[j, :3]) < 0.03
    ]
