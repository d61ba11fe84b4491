"""Named stories drawn from a seed: who stands where, what sets things off, what a hand does until the time is over.

A story is a function of a `Setting` that puts things there and returns what the hand does, as a function that is called again
and again until the episode's time is over; or None for a story without a hand.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tapetum.scenes.bodies.shapes import Cup, RoundedBox, Sphere
from tapetum.scenes.physics import turns
from tapetum.scenes.physics.hand import Hand
from tapetum.scenes.physics.props import COMMON, SMALL, TALL
from tapetum.scenes.physics.setting import Setting, rolling

Act = Callable[[Hand], None]
Story = Callable[[Setting], Act | None]


def _some(rng: np.random.Generator, nouns: tuple[str, ...]) -> str:
    return str(rng.choice(nouns))


def _distract(scene: Setting, least: int, most: int, nouns: tuple[str, ...] = COMMON) -> list[int]:
    made = [scene.add(_some(scene.rng, nouns)) for _ in range(int(scene.rng.integers(least, most + 1)))]
    return [j for j in made if j >= 0]


def _spot(scene: Setting, hand: Hand, radius: float = 0.05) -> tuple[float, float]:
    """Find a place away from all that stands now; the emptiest of some."""
    poses = hand.stage.sim.poses_now()
    near = [poses[j, :2] for j, b in enumerate(scene.bodies) if not b.fixed and b.group != "hand"]
    tried = scene.rng.uniform(-1, 1, (24, 2)) * np.array([0.24, 0.16])
    room = [min((float(np.linalg.norm(t - n)) for n in near), default=1.0) for t in tried]
    good = [t for t, r in zip(tried, room, strict=True) if r > radius + 0.05 and hand.reaches(float(t[0]), float(t[1]))]
    best = good[0] if good else tried[int(np.argmax(room))]
    return float(best[0]), float(best[1])


def _aim(scene: Setting, start: np.ndarray, far: float) -> float:
    """Choose a direction from a place that leads across the middle."""
    towards = scene.rng.normal(0, 0.06, 2) - start
    return float(np.arctan2(towards[1], towards[0])) if np.linalg.norm(start) > far else float(scene.rng.uniform(-np.pi, np.pi))


def fall(scene: Setting) -> Act:
    """Things fall; a hand takes them up and drops them again."""
    rng = scene.rng
    _distract(scene, 1, 3)
    things = []
    for i in range(int(rng.integers(2, 4))):
        q = rng.normal(size=4)
        noun = _some(rng, ("ball", "block", "dice", "puck", "lemon", "brick"))
        things.append(scene.add(noun, bottom=float(rng.uniform(0.12, 0.22) + 0.1 * i), turn=q / np.linalg.norm(q)))
    things = [j for j in things if j >= 0]

    def act(hand: Hand) -> None:
        if hand.pick(int(rng.choice(things))):
            hand.drop(*_spot(scene, hand), float(rng.uniform(0.1, 0.24)))

    return act


def roll(scene: Setting) -> Act:
    """Round things roll across; a hand pushes them on."""
    rng = scene.rng
    rollers = []
    for i in range(int(rng.integers(1, 4))):
        side = float(rng.choice([-1, 1]))
        start = np.array([side * rng.uniform(0.22, 0.3), rng.uniform(-0.15, 0.15)])
        way = np.array([-side, rng.normal(0, 0.25), 0.0])
        velocity = way / np.linalg.norm(way) * rng.uniform(0.12, 0.4)
        noun = _some(rng, ("ball", "ball", "can"))
        if all(np.linalg.norm(start - at) > r + 0.05 for at, r in scene.spots):
            rollers.append(_roller(scene, noun, start, velocity))
        scene.keep_free(start[0] - side * 0.15, start[1], 0.1)
        del i
    _distract(scene, 2, 4)

    def act(hand: Hand) -> None:
        ball = int(rng.choice(rollers))
        spot = hand.stage.sim.poses_now()[ball, :3]
        if np.abs(spot[:2]).max() > 0.32 or spot[2] < 0:
            _tidy(scene, hand)
            return
        hand.push(ball, _aim(scene, spot[:2], 0.1), 0.06, seconds=float(rng.uniform(0.25, 0.5)))
        hand.stage.wait(0.5)

    return act


def _roller(scene: Setting, noun: str, start: np.ndarray, velocity: np.ndarray) -> int:
    """Add a rolling ball, or a can on its side that rolls."""
    yaw = float(np.arctan2(velocity[1], velocity[0]))
    turn = (
        turns.multiply(turns.about((0, 0, 1), yaw), turns.about((1, 0, 0), np.pi / 2))
        if noun == "can"
        else turns.about((0, 0, 1), yaw)
    )
    number = scene.add(noun, (start[0], start[1]), turn=turn, velocity=velocity)
    shape = scene.bodies[number].shape
    radius = getattr(shape, "radius", 0.03)
    scene.velocities[number][3:] = rolling(velocity, radius, turn)
    return number


def slide(scene: Setting) -> Act:
    """Flat things slide and stop by friction; a hand pushes some."""
    rng = scene.rng
    for _ in range(int(rng.integers(1, 3))):
        side = float(rng.choice([-1, 1]))
        start = (side * float(rng.uniform(0.2, 0.28)), float(rng.uniform(-0.13, 0.13)))
        scene.keep_free(start[0] - side * 0.12, start[1], 0.08)
        velocity = np.array([-side * rng.uniform(0.6, 1.3), rng.normal(0, 0.1), 0.0])
        scene.add(_some(rng, ("puck", "book", "brick", "block")), start, velocity=velocity)
    things = _distract(scene, 2, 4, ("puck", "box", "brick", "block", "cup", "can"))

    def act(hand: Hand) -> None:
        if not things:
            return _tidy(scene, hand)
        thing = int(rng.choice(things))
        spot = hand.stage.sim.poses_now()[thing, :3]
        if spot[2] > 0:
            hand.push(thing, _aim(scene, spot[:2], 0.08), float(rng.uniform(0.06, 0.14)))
        return None

    return act


def collide(scene: Setting) -> Act:
    """A rolling or sliding thing hits others; a hand pushes one into another."""
    rng = scene.rng
    target = scene.add(_some(rng, ("ball", "block", "can", "candle", "puck", "cone")), tuple(rng.normal(0, 0.03, 2)))
    for side in (-1.0, 1.0)[: int(rng.integers(1, 3))]:
        start = np.array([side * rng.uniform(0.22, 0.3), rng.uniform(-0.05, 0.05)])
        scene.keep_free(start[0] / 2, start[1] / 2, 0.09)
        way = scene.poses[target][:3] * np.array([1, 1, 0]) - np.array([*start, 0])
        _roller(scene, "ball", start, way / np.linalg.norm(way) * rng.uniform(0.4, 1.0))
    others = _distract(scene, 2, 3)

    def act(hand: Hand) -> None:
        poses = hand.stage.sim.poses_now()
        pool = [j for j in (target, *others) if poses[j, 2] > 0 and np.abs(poses[j, :2]).max() < 0.3]
        if len(pool) < 2:
            return _tidy(scene, hand)
        a, b = (int(j) for j in rng.choice(pool, 2, replace=False))
        way = poses[b, :2] - poses[a, :2]
        far = float(np.linalg.norm(way))
        hand.push(a, float(np.arctan2(way[1], way[0])), min(far, 0.16), seconds=float(rng.uniform(0.5, 0.9)))
        return None

    return act


def stack(scene: Setting) -> Act:
    """A hand builds a tower of blocks and may knock it down."""
    rng = scene.rng
    blocks = [scene.add(noun) for noun in rng.choice(["block", "block", "brick", "puck", "box"], int(rng.integers(3, 6)))]
    blocks = [j for j in blocks if j >= 0]
    _distract(scene, 0, 2)
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
            points = turns.place(hand.stage.sim.poses_now()[below][None], _outline(scene, below))
            x, y = poses[below, :2] + rng.normal(0, 0.002, 2)
            hand.place(float(x), float(y), height=float(points[:, 2].max()), target=below)
        state["level"] += 1

    return act


def _outline(scene: Setting, body: int) -> np.ndarray:
    from tapetum.scenes.physics.solids import outline

    return outline(scene.bodies[body].shape)


def _flat(scene: Setting, body: int) -> np.ndarray:
    return turns.place(scene.poses[body][None], _outline(scene, body))[:, :2]


def topple(scene: Setting) -> Act:
    """A tower or a row of tall things is knocked over by a ball or a hand."""
    rng = scene.rng
    tall = []
    if rng.random() < 0.5:
        size = (float(rng.uniform(0.035, 0.05)),) * 3
        for i in range(int(rng.integers(3, 6))):
            looks = {"shape": RoundedBox(size=size, rounding=0.0015), "material": "wood"}
            yaw = turns.about((0, 0, 1), float(rng.normal(0, 0.1)))
            shift = tuple(rng.normal(0, 0.0015, 2))
            tall.append(scene.add("block", shift, bottom=i * size[2], turn=yaw, **looks))
    else:
        count = int(rng.integers(3, 6))
        for i in range(count):
            shape = RoundedBox(size=(0.016, 0.045, 0.085), rounding=0.001)
            tall.append(
                scene.add("block", (-0.1 + 0.045 * i, 0.0), turn=turns.about((0, 0, 1), 0.0), shape=shape, material="wood")
            )
    if rng.random() < 0.6:
        start = np.array([-0.3, float(rng.normal(0, 0.01))])
        velocity = np.array([float(rng.uniform(0.5, 1.1)), 0.0, 0.0])
        scene.keep_free(-0.2, 0.0, 0.08)
        ball = _roller(scene, "ball", start, velocity)
        del ball
    tall += [j for j in (scene.add(_some(rng, TALL)) for _ in range(int(rng.integers(1, 3)))) if j >= 0]
    _distract(scene, 0, 2)

    def act(hand: Hand) -> None:
        poses = hand.stage.sim.poses_now()
        standing = [j for j in tall if poses[j, 2] > 0.75 * scene.poses[j][2] and np.abs(poses[j, :2]).max() < 0.3]
        if not standing:
            return _tidy(scene, hand)
        thing = int(rng.choice(standing))
        high = float(poses[thing, 2] + 0.3 * scene.height(thing))
        hand.push(thing, _aim(scene, poses[thing, :2], 0.12), 0.07, height=max(high, 0.02), seconds=0.6)
        hand.stage.wait(0.3)
        return None

    return act


def pour(scene: Setting) -> Act:
    """A hand pours small balls from a cup into a bowl or bucket."""
    rng = scene.rng
    x = float(rng.uniform(0.1, 0.14))
    cup = scene.add("cup", (-x, float(rng.normal(0, 0.02))))
    bowl = scene.add(_some(rng, ("bowl", "bowl", "bucket")), (x, float(rng.normal(0, 0.02))))
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
    _distract(scene, 1, 3)
    state = {"done": False}

    def act(hand: Hand) -> None:
        if state["done"]:
            return _tidy(scene, hand, (cup, bowl))
        hand.stage.wait(0.2)
        home = hand.stage.sim.poses_now()[cup]
        if hand.pour(cup, bowl, side=_lean(hand, bowl, home)):
            hand.place(float(home[0]), float(home[1]))
            hand.rest()
        state["done"] = True
        return None

    return act


def _lean(hand: Hand, bowl: int, home: np.ndarray) -> int:
    """Choose the side to which a cup is tilted: towards the bowl, from where it stood."""
    way = hand.stage.sim.poses_now()[bowl, :2] - home[:2]
    yaw = hand.stage.goal[3]
    return -1 if way @ np.array([np.cos(yaw), np.sin(yaw)]) > 0 else 1


def carry(scene: Setting) -> Act:
    """A cup with something in it is carried about."""
    rng = scene.rng
    cup = scene.add("cup", (float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.08, 0.08))))
    shape = scene.bodies[cup].shape
    assert isinstance(shape, Cup)
    scene.keep_free(*scene.poses[cup][:2], 0.1)
    middle = scene.poses[cup]
    for i in range(int(rng.integers(1, 3))):
        size = float(rng.uniform(0.009, 0.013))
        scene.add(
            "marble", (float(middle[0]), float(middle[1])), bottom=shape.wall + 0.0005 + i * 0.027, shape=Sphere(radius=size)
        )
    _distract(scene, 2, 4)

    def act(hand: Hand) -> None:
        if hand.pick(cup, side=True):
            spot = _spot(scene, hand, 0.1)
            hand.place(*spot)
            hand.stage.wait(0.2)
        else:
            _tidy(scene, hand, (cup,))

    return act


def put_and_take(scene: Setting) -> Act:
    """A hand puts small things into a bowl and takes some out again."""
    rng = scene.rng
    holder = scene.add(_some(rng, ("bowl", "bucket")), tuple(rng.normal(0, 0.05, 2)))
    scene.keep_free(*scene.poses[holder][:2], 0.11)
    things = [scene.add(_some(rng, SMALL)) for _ in range(int(rng.integers(2, 5)))]
    things = [j for j in things if j >= 0]
    _distract(scene, 0, 2)
    state: dict[int, int] = dict.fromkeys(things, 0)

    def act(hand: Hand) -> None:
        outside = [j for j in things if state[j] == 0]
        inside = [j for j in things if state[j] == 1]
        if inside and (not outside or rng.random() < 0.35):
            thing = int(rng.choice(inside))
            state[thing] = 2
            if hand.take_out(thing, holder):
                hand.place(*_spot(scene, hand))
                state[thing] = 0
        elif outside:
            thing = int(rng.choice(outside))
            state[thing] = 2
            if hand.pick(thing) and hand.put_into(holder):
                state[thing] = 1
        else:
            _tidy(scene, hand, (holder,))

    return act


def cups_shuffle(scene: Setting) -> Act:
    """Upturned cups, a ball under one of them, are moved about; which one hides the ball?"""
    rng = scene.rng
    scene.azimuth = float(-np.pi / 2 + rng.uniform(-0.35, 0.35))
    top = float(rng.uniform(0.036, 0.04))
    shape = Cup(radius_bottom=top * 0.8, radius_top=top, height=float(rng.uniform(0.085, 0.1)), wall=0.004)
    count, spacing = int(rng.integers(2, 4)), 0.135
    slots = [(i - count / 2) * spacing for i in range(count + 1)]
    alike = str(rng.choice(["red", "blue", "green", "yellow", "purple", "white", "brown"]))
    free = int(rng.choice([0, count]))
    used = [i for i in range(count + 1) if i != free]
    upside = turns.about((1, 0, 0), np.pi)
    cups = [scene.add("cup", (slots[i], 0.0), turn=upside, shape=shape, material="plastic", colour=alike) for i in used]
    look = scene.bodies[cups[0]].surface
    for j in cups[1:]:
        scene.bodies[j] = replace(scene.bodies[j], surface=look)
    hidden = int(rng.integers(count))
    shown = rng.random() < 0.5
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


def cover(scene: Setting) -> Act:
    """A thing is covered with a cup or a cloth and uncovered again."""
    rng = scene.rng
    if rng.random() < 0.5:
        thing = scene.add(_some(rng, ("ball", "dice", "egg")), (-0.12, float(rng.normal(0, 0.03))))
        cup = scene.add("cup", (0.1, float(rng.normal(0, 0.03))), turn=turns.about((1, 0, 0), np.pi))
        scene.keep_free(-0.12, 0, 0.1)
        _distract(scene, 1, 3)
        state = {"on": False}

        def act(hand: Hand) -> None:
            good = hand.uncover(cup, thing, *_spot(scene, hand, 0.06)) if state["on"] else hand.cover(cup, thing)
            state["on"] = good and not state["on"]
            hand.rest() if good else _tidy(scene, hand, (cup, thing))

        return act
    thing = scene.add(_some(rng, ("can", "cup", "lemon", "block", "cone", "ball")), (-0.13, float(rng.normal(0, 0.02))))
    cloth = scene.add("cloth", (0.15, float(rng.normal(0, 0.02))), turn=turns.about((0, 0, 1), float(rng.normal(0, 0.3))))
    scene.keep_free(-0.13, 0, 0.14)
    _distract(scene, 0, 2)
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


def spin(scene: Setting) -> Act:
    """A hand takes things from above and spins them."""
    rng = scene.rng
    things = _distract(scene, 3, 5, ("puck", "block", "ball", "egg", "lemon", "cone", "dice", "brick", "can"))

    def act(hand: Hand) -> None:
        if hand.spin(int(rng.choice(things)), float(rng.choice([-1, 1]) * rng.uniform(0.8, 1.8))):
            hand.stage.wait(0.3)

    return act


def occluder(scene: Setting) -> Act:
    """Things roll behind a board; a hand carries others there."""
    rng = scene.rng
    front = scene.azimuth
    yaw = front + np.pi / 2 + float(rng.normal(0, 0.15))
    toward = np.array([np.cos(front), np.sin(front)])
    along = np.array([np.cos(yaw), np.sin(yaw)])
    scene.add("board", tuple(0.03 * toward), turn=turns.about((0, 0, 1), yaw))
    behind = -0.07 * toward
    scene.view = {"elevation": (0.2, 0.4)}
    side = float(rng.choice([-1, 1]))
    start = behind + along * side * 0.3
    ball = _roller(scene, "ball", start, np.array([*(-side * along * rng.uniform(0.15, 0.45)), 0.0]))
    for share in (-0.8, -0.4, 0.0, 0.4, 0.8):
        scene.keep_free(*(behind + along * 0.25 * share), 0.05)
    things = [j for j in (scene.add(_some(rng, SMALL)) for _ in range(int(rng.integers(2, 4)))) if j >= 0]

    def act(hand: Hand) -> None:
        pool = [j for j in (*things, ball) if hand.stage.sim.poses_now()[j, 2] > 0]
        thing = int(rng.choice(pool))
        if hand.pick(thing, lift=0.1):
            spot = behind + along * float(rng.uniform(-0.08, 0.08))
            others = [j for j in (*things, ball) if j != thing]
            near = np.linalg.norm(hand.stage.sim.poses_now()[others, :2] - spot, axis=1)
            if rng.random() < 0.4 or near.min() < 0.08:
                spot = np.array(_spot(scene, hand))
            hand.place(float(spot[0]), float(spot[1]))

    return act


def mixture(scene: Setting) -> Act:
    """A bit of everything among many things."""
    rng = scene.rng
    holder = scene.add(_some(rng, ("bowl", "bucket")), tuple(rng.uniform(-1, 1, 2) * np.array([0.14, 0.08])))
    scene.keep_free(*scene.poses[holder][:2], 0.11)
    small = [j for j in (scene.add(_some(rng, SMALL)) for _ in range(int(rng.integers(2, 4)))) if j >= 0]
    others = _distract(scene, 2, 4)
    eye = np.array([np.cos(scene.azimuth), np.sin(scene.azimuth)])

    def act(hand: Hand) -> None:
        poses = hand.stage.sim.poses_now()
        reach = [j for j in (*small, *others) if poses[j, 2] > 0 and np.abs(poses[j, :2]).max() < 0.3]
        if not reach:
            return hand.rest()
        thing = int(rng.choice(reach))
        what = rng.choice(["move", "put", "push", "drop", "show", "spin"], p=[0.25, 0.25, 0.15, 0.1, 0.15, 0.1])
        if what == "push":
            hand.push(thing, _aim(scene, poses[thing, :2], 0.1), float(rng.uniform(0.05, 0.12)))
        elif what == "spin":
            hand.spin(thing, float(rng.choice([-1.2, 1.2])))
        elif what == "show":
            hand.show(thing, np.array([*(0.22 * eye), 0.2]))
        elif hand.pick(thing):
            if what == "put" and thing in small:
                hand.put_into(holder)
            elif what == "drop":
                hand.drop(*_spot(scene, hand), float(rng.uniform(0.08, 0.18)))
            else:
                hand.place(*_spot(scene, hand))
        return None

    return act


def _tidy(scene: Setting, hand: Hand, but: tuple[int, ...] = ()) -> None:
    """Move some thing to a free place: what a hand does when nothing else is left to do."""
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
    hand.place(*_spot(scene, hand))


STORIES: dict[str, Story] = {
    "fall": fall,
    "roll": roll,
    "slide": slide,
    "collide": collide,
    "stack": stack,
    "topple": topple,
    "pour": pour,
    "carry": carry,
    "put-and-take": put_and_take,
    "cups-shuffle": cups_shuffle,
    "cover": cover,
    "spin": spin,
    "occluder": occluder,
    "mixture": mixture,
}
"""By name."""
