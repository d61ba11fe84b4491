"""Stories of objects that move by themselves or are set in motion: fall, roll, slide, collide, topple, spin, pass behind."""

import numpy as np

from tapetum_world.bodies import quaternions
from tapetum_world.bodies.shapes import RoundedBox
from tapetum_world.physics.builder import Act, SceneBuilder, add_roller, aim, distract, empty_spot, one_of, tidy, within_reach
from tapetum_world.physics.hand import Hand
from tapetum_world.physics.props import SMALL, TALL


def fall(scene: SceneBuilder) -> Act:
    """Build a story in which objects fall, and a hand picks them up and drops them again."""
    rng = scene.rng
    others = distract(scene, 1, 3, SMALL)
    things = []
    for i in range(int(rng.integers(2, 4))):
        q = rng.normal(size=4)
        noun = one_of(rng, ("ball", "block", "dice", "puck", "lemon", "brick"))
        things.append(scene.add(noun, bottom=float(rng.uniform(0.12, 0.22) + 0.1 * i), turn=q / np.linalg.norm(q)))
    things = [j for j in things if j >= 0]

    def act(hand: Hand) -> None:
        for thing in rng.permutation(within_reach(hand, things + others))[:4]:
            if hand.pick(int(thing)):
                hand.drop(*empty_spot(scene, hand), float(rng.uniform(0.1, 0.24)))
                return
        hand.rest()

    return act


def roll(scene: SceneBuilder) -> Act:
    """Build a story in which round objects roll across, and a hand pushes them on."""
    rng = scene.rng
    rollers = []
    for i in range(int(rng.integers(1, 4))):
        side = float(rng.choice([-1, 1]))
        start = np.array([side * rng.uniform(0.22, 0.3), rng.uniform(-0.15, 0.15)])
        way = np.array([-side, rng.normal(0, 0.25), 0.0])
        velocity = way / np.linalg.norm(way) * rng.uniform(0.12, 0.4)
        noun = one_of(rng, ("ball", "ball", "can"))
        if all(np.linalg.norm(start - at) > r + 0.05 for at, r in scene.spots):
            rollers.append(add_roller(scene, noun, start, velocity))
        scene.keep_free(start[0] - side * 0.15, start[1], 0.1)
        del i
    distract(scene, 2, 4)

    def act(hand: Hand) -> None:
        ball = int(rng.choice(rollers))
        spot = hand.stage.sim.poses_now()[ball, :3]
        if np.abs(spot[:2]).max() > 0.32 or spot[2] < 0:
            tidy(scene, hand)
            return
        hand.push(ball, aim(scene, spot[:2], 0.1), 0.06, seconds=float(rng.uniform(0.25, 0.5)))
        hand.stage.wait(0.5)

    return act


def slide(scene: SceneBuilder) -> Act:
    """Build a story in which flat objects slide and stop by friction, and a hand pushes some."""
    rng = scene.rng
    for _ in range(int(rng.integers(1, 3))):
        side = float(rng.choice([-1, 1]))
        start = (side * float(rng.uniform(0.2, 0.28)), float(rng.uniform(-0.13, 0.13)))
        scene.keep_free(start[0] - side * 0.12, start[1], 0.08)
        velocity = np.array([-side * rng.uniform(0.6, 1.3), rng.normal(0, 0.1), 0.0])
        scene.add(one_of(rng, ("puck", "book", "brick", "block")), start, velocity=velocity)
    things = distract(scene, 2, 4, ("puck", "box", "brick", "block", "cup", "can"))

    def act(hand: Hand) -> None:
        if not things:
            return tidy(scene, hand)
        thing = int(rng.choice(things))
        spot = hand.stage.sim.poses_now()[thing, :3]
        if spot[2] > 0:
            hand.push(thing, aim(scene, spot[:2], 0.08), float(rng.uniform(0.06, 0.14)))
        return None

    return act


def collide(scene: SceneBuilder) -> Act:
    """Build a story in which a rolling or sliding object hits others, and a hand pushes one into another."""
    rng = scene.rng
    target = scene.add(one_of(rng, ("ball", "block", "can", "candle", "puck", "cone")), tuple(rng.normal(0, 0.03, 2)))
    for side in (-1.0, 1.0)[: int(rng.integers(1, 3))]:
        start = np.array([side * rng.uniform(0.22, 0.3), rng.uniform(-0.05, 0.05)])
        scene.keep_free(start[0] / 2, start[1] / 2, 0.09)
        way = scene.poses[target][:3] * np.array([1, 1, 0]) - np.array([*start, 0])
        add_roller(scene, "ball", start, way / np.linalg.norm(way) * rng.uniform(0.4, 1.0))
    others = distract(scene, 2, 3)

    def act(hand: Hand) -> None:
        poses = hand.stage.sim.poses_now()
        pool = [j for j in (target, *others) if poses[j, 2] > 0 and np.abs(poses[j, :2]).max() < 0.3]
        if len(pool) < 2:
            return tidy(scene, hand)
        a, b = (int(j) for j in rng.choice(pool, 2, replace=False))
        way = poses[b, :2] - poses[a, :2]
        far = float(np.linalg.norm(way))
        hand.push(a, float(np.arctan2(way[1], way[0])), min(far, 0.16), seconds=float(rng.uniform(0.5, 0.9)))
        return None

    return act


def topple(scene: SceneBuilder) -> Act:
    """Build a story in which a tower or a row of tall objects is knocked over by a ball or a hand."""
    rng = scene.rng
    tall = []
    if rng.random() < 0.5:
        side = float(rng.uniform(0.035, 0.05))
        for i in range(int(rng.integers(3, 6))):
            looks = {"shape": RoundedBox(size=(side, side, side), rounding=0.0015), "material": "wood"}
            yaw = quaternions.about((0, 0, 1), float(rng.normal(0, 0.1)))
            shift = tuple(rng.normal(0, 0.0015, 2))
            tall.append(scene.add("block", shift, bottom=i * side, turn=yaw, **looks))
    else:
        count = int(rng.integers(3, 6))
        for i in range(count):
            shape = RoundedBox(size=(0.016, 0.045, 0.085), rounding=0.001)
            tall.append(
                scene.add(
                    "block", (-0.1 + 0.045 * i, 0.0), turn=quaternions.about((0, 0, 1), 0.0), shape=shape, material="wood"
                )
            )
    if rng.random() < 0.6:
        start = np.array([-0.3, float(rng.normal(0, 0.01))])
        velocity = np.array([float(rng.uniform(0.5, 1.1)), 0.0, 0.0])
        scene.keep_free(-0.2, 0.0, 0.08)
        ball = add_roller(scene, "ball", start, velocity)
        del ball
    tall += [j for j in (scene.add(one_of(rng, TALL)) for _ in range(int(rng.integers(1, 3)))) if j >= 0]
    distract(scene, 0, 2)

    def act(hand: Hand) -> None:
        poses = hand.stage.sim.poses_now()
        standing = [j for j in tall if poses[j, 2] > 0.75 * scene.poses[j][2] and np.abs(poses[j, :2]).max() < 0.3]
        if not standing:
            return tidy(scene, hand)
        thing = int(rng.choice(standing))
        high = float(poses[thing, 2] + 0.3 * scene.height(thing))
        hand.push(thing, aim(scene, poses[thing, :2], 0.12), 0.07, height=max(high, 0.02), seconds=0.6)
        hand.stage.wait(0.3)
        return None

    return act


def spin(scene: SceneBuilder) -> Act:
    """Build a story in which a hand grasps objects from above and spins them."""
    rng = scene.rng
    things = distract(scene, 3, 5, ("puck", "block", "ball", "egg", "lemon", "cone", "dice", "brick", "can"))

    def act(hand: Hand) -> None:
        if hand.spin(int(rng.choice(things)), float(rng.choice([-1, 1]) * rng.uniform(0.8, 1.8))):
            hand.stage.wait(0.3)

    return act


def occluder(scene: SceneBuilder) -> Act:
    """Build a story in which objects roll behind a board, and a hand carries others there."""
    rng = scene.rng
    front = scene.azimuth
    yaw = front + np.pi / 2 + float(rng.normal(0, 0.15))
    toward = np.array([np.cos(front), np.sin(front)])
    along = np.array([np.cos(yaw), np.sin(yaw)])
    scene.add("board", tuple(0.03 * toward), turn=quaternions.about((0, 0, 1), yaw))
    behind = -0.07 * toward
    scene.view = {"elevation": (0.2, 0.4)}
    side = float(rng.choice([-1, 1]))
    start = behind + along * side * 0.3
    ball = add_roller(scene, "ball", start, np.array([*(-side * along * rng.uniform(0.15, 0.45)), 0.0]))
    for share in (-0.8, -0.4, 0.0, 0.4, 0.8):
        x, y = behind + along * 0.25 * share
        scene.keep_free(float(x), float(y), 0.05)
    things = [j for j in (scene.add(one_of(rng, SMALL)) for _ in range(int(rng.integers(2, 4)))) if j >= 0]

    def act(hand: Hand) -> None:
        pool = [j for j in (*things, ball) if hand.stage.sim.poses_now()[j, 2] > 0]
        thing = int(rng.choice(pool))
        if hand.pick(thing, lift=0.1):
            spot = behind + along * float(rng.uniform(-0.08, 0.08))
            others = [j for j in (*things, ball) if j != thing]
            near = np.linalg.norm(hand.stage.sim.poses_now()[others, :2] - spot, axis=1)
            if rng.random() < 0.4 or near.min() < 0.08:
                spot = np.array(empty_spot(scene, hand))
            hand.place(float(spot[0]), float(spot[1]))

    return act
