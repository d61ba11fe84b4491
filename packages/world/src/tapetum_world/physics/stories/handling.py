"""Stories of a hand at work: stack, pour, carry, put and take, shuffle cups, cover, and a mixture."""

from dataclasses import replace

import numpy as np

from tapetum_world.bodies import quaternions
from tapetum_world.bodies.shapes import Cup, Sphere
from tapetum_world.physics.builder import Act, SceneBuilder, aim, distract, empty_spot, one_of, tidy
from tapetum_world.physics.hand import Hand
from tapetum_world.physics.props import SMALL


def _flat(scene: SceneBuilder, body: int) -> np.ndarray:
    return quaternions.place(scene.poses[body][None], scene.bodies[body].shape.outline)[:, :2]


def stack(scene: SceneBuilder) -> Act:
    """Build a story in which a hand stacks a tower of blocks and may knock it down."""
    rng = scene.rng
    blocks = [scene.add(noun) for noun in rng.choice(["block", "block", "brick", "puck", "box"], int(rng.integers(3, 6)))]
    blocks = [j for j in blocks if j >= 0]
    distract(scene, 0, 2)
    scene.target = np.array([0.0, 0.0, 0.07])
    blocks.sort(key=lambda j: -float(np.ptp(_flat(scene, j))))
    state = {"level": 1, "base": blocks[0]}

    def act(hand: Hand) -> None:
        if state["level"] >= len(blocks):
            spot = hand.stage.sim.poses_now()[blocks[-1]]
            hand.push(
                blocks[-1], float(rng.uniform(-np.pi, np.pi)), 0.08, height=max(float(spot[2]) - 0.005, 0.01), seconds=0.5
            )
            blocks.sort(key=lambda _: rng.random())
            state.update(level=1, base=blocks[0])
            return
        thing = blocks[state["level"]]
        below = blocks[state["level"] - 1]
        poses = hand.stage.sim.poses_now()
        if hand.pick(thing):
            points = quaternions.place(hand.stage.sim.poses_now()[below][None], scene.bodies[below].shape.outline)
            x, y = poses[below, :2] + rng.normal(0, 0.002, 2)
            hand.place(float(x), float(y), height=float(points[:, 2].max()), target=below)
        state["level"] += 1

    return act


def _lean(hand: Hand, bowl: int, home: np.ndarray) -> int:
    """Choose the side to which a cup is tilted: towards the bowl, seen from where it stood."""
    way = hand.stage.sim.poses_now()[bowl, :2] - home[:2]
    yaw = hand.stage.goal[3]
    return -1 if way @ np.array([np.cos(yaw), np.sin(yaw)]) > 0 else 1


def pour(scene: SceneBuilder) -> Act:
    """Build a story in which a hand pours small balls from a cup into a bowl or bucket."""
    rng = scene.rng
    x = float(rng.uniform(0.1, 0.14))
    cup = scene.add("cup", (-x, float(rng.normal(0, 0.02))))
    bowl = scene.add(one_of(rng, ("bowl", "bowl", "bucket")), (x, float(rng.normal(0, 0.02))))
    shape = scene.bodies[cup].shape
    assert isinstance(shape, Cup)
    radius = float(rng.uniform(0.008, 0.0105))
    count = int(rng.integers(3, 8))
    middle = scene.poses[cup]
    for i in range(count):
        angle = i % 2 * np.pi + i // 2 * np.pi / 2
        off = radius * 1.02
        at = (float(middle[0] + off * np.cos(angle)), float(middle[1] + off * np.sin(angle)))
        scene.add("marble", at, bottom=shape.wall + 0.001 + i // 2 * 2.02 * radius, shape=Sphere(radius=radius))
    for at in (-x, x):
        scene.keep_free(at, 0, 0.12)
    distract(scene, 1, 3)
    state = {"done": False}

    def act(hand: Hand) -> None:
        if state["done"]:
            return tidy(scene, hand, (cup, bowl))
        hand.stage.wait(0.2)
        home = hand.stage.sim.poses_now()[cup]
        if hand.pour(cup, bowl, side=_lean(hand, bowl, home)):
            hand.place(float(home[0]), float(home[1]))
            hand.rest()
        state["done"] = True
        return None

    return act


def carry(scene: SceneBuilder) -> Act:
    """Build a story in which a cup with an object in it is carried around."""
    rng = scene.rng
    cup = scene.add("cup", (float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.08, 0.08))))
    shape = scene.bodies[cup].shape
    assert isinstance(shape, Cup)
    scene.keep_free(float(scene.poses[cup][0]), float(scene.poses[cup][1]), 0.1)
    middle = scene.poses[cup]
    for i in range(int(rng.integers(1, 3))):
        size = float(rng.uniform(0.009, 0.013))
        scene.add(
            "marble", (float(middle[0]), float(middle[1])), bottom=shape.wall + 0.0005 + i * 0.027, shape=Sphere(radius=size)
        )
    distract(scene, 2, 4)

    def act(hand: Hand) -> None:
        if hand.pick(cup, side=True):
            spot = empty_spot(scene, hand, 0.1)
            hand.place(*spot)
            hand.stage.wait(0.2)
        else:
            tidy(scene, hand, (cup,))

    return act


def put_and_take(scene: SceneBuilder) -> Act:
    """Build a story in which a hand puts small objects into a bowl and takes some out again."""
    rng = scene.rng
    holder = scene.add(one_of(rng, ("bowl", "bowl", "bucket")), tuple(rng.normal(0, 0.05, 2)))
    scene.keep_free(float(scene.poses[holder][0]), float(scene.poses[holder][1]), 0.11)
    things = [scene.add(one_of(rng, SMALL)) for _ in range(int(rng.integers(2, 5)))]
    things = [j for j in things if j >= 0]
    distract(scene, 0, 2)
    # A hand reaches into a bowl, not into a bucket.
    wide = scene.bodies[holder].noun == "bowl"
    state: dict[int, int] = dict.fromkeys(things, 0)
    if wide and rng.random() < 0.6:
        spot = scene.poses[holder][:2]
        state[scene.add(one_of(rng, ("ball", "egg", "lemon")), (float(spot[0]), float(spot[1])), bottom=0.012)] = 1
        things = list(state)

    def act(hand: Hand) -> None:
        outside = [j for j in things if state[j] == 0]
        inside = [j for j in things if state[j] == 1]
        if inside and wide and (not outside or rng.random() < 0.5):
            thing = int(rng.choice(inside))
            state[thing] = 2
            if hand.take_out(thing, holder):
                hand.place(*empty_spot(scene, hand))
                state[thing] = 0
        elif outside:
            thing = int(rng.choice(outside))
            state[thing] = 2
            if hand.pick(thing) and hand.put_into(holder):
                state[thing] = 1
        else:
            tidy(scene, hand, (holder,))

    return act


def cups_shuffle(scene: SceneBuilder) -> Act:
    """Build a story in which upturned cups are shuffled, a ball under one of them: which one hides the ball?"""
    rng = scene.rng
    scene.azimuth = float(-np.pi / 2 + rng.uniform(-0.35, 0.35))
    top = float(rng.uniform(0.036, 0.04))
    shape = Cup(radius_bottom=top * 0.8, radius_top=top, height=float(rng.uniform(0.085, 0.1)), wall=0.004)
    count, spacing = int(rng.choice([2, 3, 3, 3])), 0.135
    slots = [(i - count / 2) * spacing for i in range(count + 1)]
    alike = str(rng.choice(["red", "blue", "green", "yellow", "purple", "white", "brown"]))
    free = int(rng.choice([0, count]))
    used = [i for i in range(count + 1) if i != free]
    upside = quaternions.about((1, 0, 0), np.pi)
    cups = [scene.add("cup", (slots[i], 0.0), turn=upside, shape=shape, material="plastic", colour=alike) for i in used]
    look = scene.bodies[cups[0]].surface
    for j in cups[1:]:
        scene.bodies[j] = replace(scene.bodies[j], surface=look)
    hidden = int(rng.integers(count))
    shown = rng.random() < 0.75
    spot = (slots[used[hidden]], -0.12) if shown else (slots[used[hidden]], 0.0)
    ball = scene.add("ball", spot, shape=Sphere(radius=float(rng.uniform(0.015, 0.02))))
    where = dict(zip(cups, used, strict=True))
    state = {"started": False, "free": free}
    for x in slots:
        scene.keep_free(x, -0.06, 0.12)

    def act(hand: Hand) -> None:
        if shown and not state["started"]:
            state["started"] = True
            mark = hand.stage.sim.poses_now()[cups[hidden], :2]
            if hand.pick(ball):
                hand.place(float(mark[0]), -0.12)
            if hand.cover(cups[hidden], ball):
                hand.slide(cups[hidden], float(mark[0]), 0.0, verb="push")
            return
        options = [c for c in cups if abs(where[c] - state["free"]) <= 2]
        cup = int(rng.choice(options))
        target = int(state["free"])
        between = abs(where[cup] - target) > 1
        bulge = float(rng.choice([-1, 1])) * 0.125 if between else 0.0
        if hand.slide(cup, slots[target], 0.0, bulge=bulge):
            state["free"], where[cup] = where[cup], target

    return act


def cover(scene: SceneBuilder) -> Act:
    """Build a story in which an object is covered with a cup or a cloth and uncovered again."""
    rng = scene.rng
    if rng.random() < 0.5:
        thing = scene.add(one_of(rng, ("ball", "dice", "egg")), (-0.12, float(rng.normal(0, 0.03))))
        cup = scene.add("cup", (0.1, float(rng.normal(0, 0.03))), turn=quaternions.about((1, 0, 0), np.pi))
        scene.keep_free(-0.12, 0, 0.1)
        distract(scene, 1, 3)
        state = {"on": bool(rng.random() < 0.4)}
        if state["on"]:
            scene.poses[cup][:2] = scene.poses[thing][:2]

        def act(hand: Hand) -> None:
            good = hand.uncover(cup, thing, *empty_spot(scene, hand, 0.06)) if state["on"] else hand.cover(cup, thing)
            state["on"] = good and not state["on"]
            hand.rest() if good else tidy(scene, hand, (cup, thing))

        return act
    thing = scene.add(one_of(rng, ("can", "cup", "lemon", "block", "cone", "ball")), (-0.13, float(rng.normal(0, 0.02))))
    cloth = scene.add("cloth", (0.15, float(rng.normal(0, 0.02))), turn=quaternions.about((0, 0, 1), float(rng.normal(0, 0.3))))
    scene.keep_free(-0.13, 0, 0.14)
    distract(scene, 0, 2)
    flag = {"on": False, "x": 0.15}

    def drape(hand: Hand) -> None:
        if flag["on"]:
            hand.uncover_from(cloth, thing, 0.13, 0.0)
            hand.rest()
            hand.stage.wait(100.0)
        hand.cover_with(cloth, thing)
        hand.rest()
        flag["on"] = True

    return drape


def mixture(scene: SceneBuilder) -> Act:
    """Build a story with a mixture of actions among many objects."""
    rng = scene.rng
    holder = scene.add(one_of(rng, ("bowl", "bucket")), tuple(rng.uniform(-1, 1, 2) * np.array([0.14, 0.08])))
    scene.keep_free(float(scene.poses[holder][0]), float(scene.poses[holder][1]), 0.11)
    small = [j for j in (scene.add(one_of(rng, SMALL)) for _ in range(int(rng.integers(2, 4)))) if j >= 0]
    others = distract(scene, 2, 4)
    camera = np.array([np.cos(scene.azimuth), np.sin(scene.azimuth)])

    def act(hand: Hand) -> None:
        poses = hand.stage.sim.poses_now()
        reach = [j for j in (*small, *others) if poses[j, 2] > 0 and np.abs(poses[j, :2]).max() < 0.3]
        if not reach:
            return hand.rest()
        thing = int(rng.choice(reach))
        what = rng.choice(["move", "put", "push", "drop", "show", "spin"], p=[0.25, 0.25, 0.15, 0.1, 0.15, 0.1])
        if what == "push":
            hand.push(thing, aim(scene, poses[thing, :2], 0.1), float(rng.uniform(0.05, 0.12)))
        elif what == "spin":
            hand.spin(thing, float(rng.choice([-1.2, 1.2])))
        elif what == "show":
            hand.show(thing, np.array([*(0.22 * camera), 0.2]))
        elif hand.pick(thing):
            if what == "put" and thing in small:
                hand.put_into(holder)
            elif what == "drop":
                hand.drop(*empty_spot(scene, hand), float(rng.uniform(0.08, 0.18)))
            else:
                hand.place(*empty_spot(scene, hand))
        return None

    return act
