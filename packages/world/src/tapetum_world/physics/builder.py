"""Initial state of a story: bodies on a table or the ground before anything moves, camera path and light; and helpers of the
stories: random objects, free positions, rollers, actions for the remaining time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tapetum.tracks.facets.types import F64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Body, Camera, Light, Rgb, Surface
from tapetum_world.bodies.shapes import Ground, RoundedBox, Sheet
from tapetum_world.physics.hand import Hand
from tapetum_world.physics.hand_model import HandScript, hand_bodies
from tapetum_world.physics.hand_primitives import RELAXED
from tapetum_world.physics.props import COLOURS, COMMON, linear, make_body

TABLE = (1.3, 1.0, 0.04)
TABLE_HEIGHT = 0.72
REGION = (0.25, 0.17)
"""Things start within so many metres of the middle along x and y."""
SKINS = ((232, 190, 160), (205, 150, 115), (160, 105, 72), (110, 70, 48), (75, 48, 35))
GAP = 0.012
LYING = ("egg", "lemon", "stick")
"""Nouns that do not stand on their ends."""


class SceneBuilder:
    """Bodies, poses and velocities under construction; the support's top is z = 0."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.bodies: list[Body] = []
        self.poses: list[F64] = []
        self.velocities: list[F64] = []
        self.spots: list[tuple[F64, float]] = []
        """What is taken: middle and radius."""
        self.script: HandScript | None = None
        self.azimuth = float(-np.pi / 2 + rng.uniform(-0.6, 0.6))
        """Where the camera is, radians from +x."""
        self.target = np.array([0.0, 0.0, 0.05])
        self.view: dict[str, Any] = {}
        self._support()

    def add(
        self,
        noun: str,
        at: tuple[float, float] | None = None,
        *,
        bottom: float = 0.0,
        turn: F64 | None = None,
        velocity: F64 | None = None,
        spin: F64 | None = None,
        region: tuple[float, float] = REGION,
        **looks: Any,
    ) -> int:
        """Add a body called `noun`, its lowest point `bottom` metres above the support; at a free spot if `at` is None.

        `velocity` in the world; `spin` about the body's own axes. Returns its number, or -1 if no spot was free.
        """
        used = [(b.noun, b.colour_name) for b in self.bodies]
        body = make_body(self.rng, noun, number=sum(b.noun == noun for b in self.bodies) + 1, used=used, **looks)
        q = quaternions.about((0, 0, 1), float(self.rng.uniform(0, 2 * np.pi))) if turn is None else turn
        if turn is None and noun in LYING:
            q = quaternions.multiply(q, quaternions.about((1, 0, 0), np.pi / 2))
        points = quaternions.rotate(q[None], body.shape.outline)
        radius = float(np.linalg.norm(points[:, :2], axis=1).max())
        spot = self.free_spot(radius, region) if at is None else np.array(at, float)
        if spot is None:
            return -1
        if bottom < 0.05 or at is None:
            self.spots.append((spot, radius))
        z = bottom - float(points[:, 2].min()) + (0.002 if isinstance(body.shape, Sheet) else 0.0)
        self.bodies.append(body)
        self.poses.append(quaternions.at(spot[0], spot[1], z, q))
        still = np.zeros(3)
        self.velocities.append(np.concatenate([still if velocity is None else velocity, still if spin is None else spin]))
        return len(self.bodies) - 1

    def free_spot(self, radius: float, region: tuple[float, float] = REGION, tries: int = 60) -> F64 | None:
        """Find a position (2,) for an object of some radius that overlaps nothing."""
        for _ in range(tries):
            spot = self.rng.uniform(-1, 1, 2) * np.array(region)
            if all(np.linalg.norm(spot - at) > radius + r + GAP for at, r in self.spots):
                return spot
        return None

    def keep_free(self, x: float, y: float, radius: float) -> None:
        """Reserve a position, so that nothing else is placed near it."""
        self.spots.append((np.array([x, y]), radius))

    def give_hand(self) -> F64:
        """Add a hand whose arm comes from beside or opposite the camera; returns its home (6,)."""
        rng = self.rng
        aside = float(rng.choice([np.pi, 2.1, -2.1], p=[0.4, 0.3, 0.3]) + rng.uniform(-0.3, 0.3))
        angle = self.azimuth + aside
        way = np.array([np.cos(angle), np.sin(angle)])
        skin = SKINS[int(rng.integers(len(SKINS)))]
        sleeve = linear(COLOURS[str(rng.choice(list(COLOURS)))]) if rng.random() < 0.6 else None
        yaw = float(np.angle(np.exp(1j * (angle + np.pi / 2))))
        home = np.array([*(0.55 * way), 0.42, yaw, 0.0, 0.0])
        self.script = HandScript(start=[*home.tolist(), *RELAXED.tolist()], shoulder=[*(0.68 * way).tolist(), 0.75])
        for body in hand_bodies(linear(skin), sleeve):
            self.bodies.append(body)
            self.poses.append(quaternions.at(*home[:3]))
            self.velocities.append(np.zeros(6))
        return home

    def height(self, body: int) -> float:
        """Compute the height of a body, from its lowest to its highest point in its current pose."""
        points = quaternions.rotate(self.poses[body][None, 3:], self.bodies[body].shape.outline)
        return float(np.ptp(points[:, 2]))

    def _support(self) -> None:
        rng = self.rng
        tones = {"wood": ((150, 105, 65), (95, 62, 36)), "stone": ((170, 168, 160), (110, 108, 104)),
                 "plastic": ((215, 213, 208), (150, 170, 190)), "cloth": ((90, 110, 140), (190, 180, 160))}  # fmt: skip

        def surface(material: str, scale: float) -> Surface:
            first, second = (np.array(linear(c)) * rng.uniform(0.75, 1.2, 3) for c in tones[material])
            return Surface(
                kind=str(rng.choice(["pattern", "photo", "plain"], p=[0.6, 0.2, 0.2])),  # pyright: ignore[reportArgumentType]
                colour=_rgb(first),
                second=_rgb(second),
                pattern=str(rng.choice(["noise", "marble", "stripes", "checks"])),  # pyright: ignore[reportArgumentType]
                scale=scale,
                seed=int(rng.integers(2**31)),
            )

        on_table = rng.random() < 0.6
        floor = str(rng.choice(["wood", "stone", "cloth"] if not on_table else ["wood", "stone"]))
        ground = Body(name="floor", noun="floor", shape=Ground(), material=floor, surface=surface(floor, 0.15), fixed=True)  # pyright: ignore[reportArgumentType]
        self.bodies.append(ground)
        self.poses.append(quaternions.at(0, 0, -TABLE_HEIGHT if on_table else 0.0))
        self.velocities.append(np.zeros(6))
        if on_table:
            top = str(rng.choice(["wood", "wood", "plastic", "stone"]))
            shape = RoundedBox(size=TABLE, rounding=0.004)
            table = Body(name="table", noun="table", shape=shape, material=top, surface=surface(top, 0.1), fixed=True)  # pyright: ignore[reportArgumentType]
            self.bodies.append(table)
            self.poses.append(quaternions.at(0, 0, -TABLE[2] / 2))
            self.velocities.append(np.zeros(6))


def _rgb(values: F64) -> Rgb:
    r, g, b = (float(min(v, 1.0)) for v in values)
    return (r, g, b)


def rolling(velocity: F64, radius: float, turn: F64 | None = None) -> F64:
    """Compute the spin (3,) about its own axes of a body that rolls without slipping at a velocity (3,)."""
    spin = np.cross(np.array([0.0, 0.0, 1.0]), velocity) / radius
    return spin if turn is None else quaternions.rotate(quaternions.conjugate(turn), spin)


Rng = np.random.Generator


def look_at(eyes: F64, targets: F64) -> F64:
    """Compute world-to-camera matrices (k, 4, 4) in OpenCV's axes for cameras at `eyes` (k, 3), upright."""
    forward = targets - eyes
    forward = forward / np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right = right / np.linalg.norm(right, axis=1, keepdims=True)
    down = np.cross(forward, right)
    rotation = np.stack([right, down, forward], 1)
    made = np.tile(np.eye(4), (len(eyes), 1, 1))
    made[:, :3, :3] = rotation
    made[:, :3, 3] = -np.einsum("kij,kj->ki", rotation, eyes)
    return made


def wobble(rng: Rng, times: F64, size: float, slow: float = 0.4, fast: float = 3.0) -> F64:
    """Draw a smooth camera shake (k, 3): several sines whose strength falls with frequency."""
    total = np.zeros((len(times), 3))
    for f in np.exp(np.linspace(np.log(slow), np.log(fast), 5)):
        phase, strength = rng.uniform(0, 2 * np.pi, 3), rng.normal(0, size * (slow / f) ** 0.7, 3)
        total += strength * np.sin(2 * np.pi * f * times[:, None] + phase)
    return total


def draw_camera(
    rng: Rng,
    times: F64,
    size: tuple[int, int],
    *,
    whole: float,
    azimuth: float,
    target: F64,
    elevation: tuple[float, float] = (0.35, 0.85),
    distance: tuple[float, float] = (0.66, 0.95),
) -> Camera:
    """Draw a camera at moments `times` (k,) of an episode of `whole` seconds: still, swaying around, handheld, or both.

    `azimuth`: radians from +x. The same draw at other times continues the same camera path.
    """
    h, w = size
    kind = rng.choice(["still", "orbit", "shake", "both"], p=[0.35, 0.3, 0.2, 0.15])
    count = len(times)
    sway = 0.5 * np.sin(2 * np.pi * (times / (min(whole, 20.0) * float(rng.uniform(1.2, 2.5))) + float(rng.uniform())))
    sweep = float(rng.uniform(0.15, 0.6)) if kind in ("orbit", "both") else 0.0
    turn, climb = azimuth + sweep * sway, float(rng.normal(0, 0.06)) if sweep else 0.0
    up, far = float(rng.uniform(*elevation)) + climb * sway, float(rng.uniform(*distance))
    eyes = target + far * np.stack([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)], 1)
    aims = np.tile(target, (count, 1))
    if kind in ("shake", "both"):
        eyes, aims = eyes + wobble(rng, times, 0.004), aims + wobble(rng, times, 0.003)
    fx = float(rng.uniform(1.15, 1.5)) * max(h, w)
    blurred = rng.random() < 0.3
    return Camera(
        intrinsics=np.tile([fx, fx, w / 2, h / 2], (count, 1)),
        world_to_camera=look_at(eyes, aims),
        focus=np.linalg.norm(target - eyes, axis=1),
        aperture=float(rng.uniform(0.002, 0.01)) if blurred else 0.0,
        shutter=float(rng.uniform(0.2, 0.6)) if rng.random() < 0.6 else 0.0,
    )


def draw_light(rng: Rng, times: F64) -> Light:
    """Draw a sun and a sky for moments `times` (k,)."""
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.35)
    direction = -np.array([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)])
    warm = rng.uniform(-0.12, 0.12)
    strength = rng.uniform(0.75, 1.15)
    exposure = np.full(len(times), float(rng.uniform(0.85, 1.2)))
    if rng.random() < 0.3:
        exposure = exposure * np.exp(
            rng.uniform(0.05, 0.2) * np.sin(2 * np.pi * rng.uniform(0.05, 0.3) * times + rng.uniform(0, 6))
        )
    return Light(
        direction=direction,
        colour=strength * np.array([1 + warm, 1.0, 1 - warm]),
        sky=rng.uniform(0.3, 0.55) * np.array([1 - warm / 2, 1.0, 1 + warm / 2]),
        softness=float(rng.choice([0.0, 0.03, 0.08, 0.15])),
        exposure=exposure,
    )


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
