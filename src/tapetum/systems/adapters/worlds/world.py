"""Simulated worlds by name, episodes in them, and the success rate of a policy; no torch, and no simulator by itself.

`ReachWorld` needs NumPy alone: a gripper on a table, seen from above, is to be moved onto a disc. A policy must see which disc
is the goal (by colour) and where it is. `shift` changes only the image's appearance, to test robustness to lighting: colours
are rotated, the table is striped, and the image is noisy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from tapetum.core.errors import BadInput, did_you_mean
from tapetum.metrics.statistics import wilson_interval


@dataclass(frozen=True)
class Observation:
    """What is seen before a step."""

    frame: UInt8[np.ndarray, "h w 3"]
    """The camera's image, upright, red green blue."""
    own: Float32[np.ndarray, " p"]
    """Proprioception: what the robot knows of itself."""


class RobotWorld(Protocol):
    """A task with one camera. The same seed makes the same episode."""

    name: str
    """Of the task, such as drawer-open."""
    camera: str
    action_size: int
    own_size: int
    """Numbers of proprioception."""
    horizon: int
    """Steps of an episode, at most."""

    def reset(self, seed: int) -> Observation: ...

    def step(self, action: Float64[np.ndarray, " a"]) -> Observation:
        """Execute an action, clipped to -1..1; `success` then says whether the task is currently done."""
        ...

    @property
    def success(self) -> bool:
        """Check whether the task is done in this state."""
        ...

    def expert(self) -> Float64[np.ndarray, " a"]:
        """Compute the action of a scripted expert, which sees the full state."""
        ...

    def close(self) -> None:
        """Release what the world holds, such as a renderer."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class RobotEpisode:
    """One episode: what was seen before each step, and what was done."""

    frames: UInt8[np.ndarray, "t h w 3"]
    own: Float32[np.ndarray, "t p"]
    actions: Float32[np.ndarray, "t a"]
    successes: np.ndarray
    """bool (t,): whether the task was done after each step."""
    seed: int

    @property
    def last(self) -> bool:
        """Check whether the task was done at the end: the usual measure."""
        return bool(self.successes[-1])


Actor = Callable[[Observation], Float64[np.ndarray, " a"]]


def roll(
    world: RobotWorld, actor: Actor | None, seed: int, *, stop_after: int | None = None, noise: float = 0.0
) -> RobotEpisode:
    """Run the episode of a seed, by the scripted expert if there is no actor.

    It ends `stop_after` steps after the task is done, by default at the horizon. `noise` is the deviation of normal noise added
    to executed actions, not to recorded ones, as in DART (arXiv 1703.09327). Raises BadInput for an action of the wrong size,
    or one that is not finite.
    """
    generator = np.random.default_rng([seed, 1])
    observation = world.reset(seed)
    frames, own, actions, successes, left = [], [], [], [], None
    for _ in range(world.horizon):
        action = np.asarray(world.expert() if actor is None else actor(observation), np.float64)
        if action.shape != (world.action_size,) or not np.isfinite(action).all():
            raise BadInput(f"the action is {action}; {world.name} wants {world.action_size} finite numbers")
        action = np.clip(action, -1.0, 1.0)
        frames.append(observation.frame)
        own.append(observation.own)
        actions.append(action)
        observation = world.step(np.clip(action + noise * generator.standard_normal(action.shape), -1.0, 1.0))
        successes.append(world.success)
        if stop_after is not None and (successes[-1] or left is not None):
            left = stop_after if left is None else left - 1
            if left <= 0:
                break
    arrays = np.stack(frames), np.stack(own).astype(np.float32), np.stack(actions).astype(np.float32)
    return RobotEpisode(frames=arrays[0], own=arrays[1], actions=arrays[2], successes=np.array(successes), seed=seed)


FIRST_SEED = 100_000
"""Seed of the first episode in which a policy is tried: far from those of demonstrations."""


def try_out(world: RobotWorld, actor: Actor, n: int) -> dict[str, float | None]:
    """Run a policy for n episodes up to the horizon, with seeds from `FIRST_SEED` on, and measure how often it succeeds.

    `success` is the share of episodes in which the task was done at the last step, as R3M and VC-1 count, with Wilson's 95 %
    interval `low` to `high`; `any`, at some step; `steps`, the mean number of steps until it was first done, or None.
    """
    if n < 1:
        raise BadInput(f"a policy is tried in {n} episodes; give 1 or more")
    last = 0
    first: list[int] = []
    for i in range(n):
        episode = roll(world, actor, FIRST_SEED + i)
        last += episode.last
        if episode.successes.any():
            first.append(int(episode.successes.argmax()) + 1)
    low, high = wilson_interval(last, n)
    steps = float(np.mean(first)) if first else None
    return {"success": last / n, "low": low, "high": high, "any": len(first) / n, "n": n, "steps": steps}


TASKS: dict[str, str] = {
    "reach-disc": "reach",
    **dict.fromkeys(("assembly", "bin-picking", "button-press-topdown", "drawer-open", "hammer"), "metaworld"),
    **dict.fromkeys(("knob", "light", "slide-door", "hinge-door", "microwave"), "kitchen"),
    **dict.fromkeys((f"triplet-{k}" for k in range(1, 6)), "stacking"),
}
"""Tasks of recipes, and where they are: those of Meta-World are the paper's five, and any other of its fifty works too."""


def make_world(task: str, camera: str | None = None, pixels: int = 64, **options: Any) -> RobotWorld:
    """Make the world of a task: reach-disc, triplet-1 to triplet-5, one of Franka Kitchen, or any of Meta-World.

    `camera` is by default the world's first; `pixels` is the side of the image. Raises BadInput if there is no such task or
    camera, and MissingExtra if its simulator is not installed.
    """
    if pixels < 8 or pixels > 1024:
        raise BadInput(f"images of {pixels} pixels; give 8 to 1024")
    if task == "reach-disc":
        if camera not in (None, "top"):
            raise BadInput(f"reach-disc has no camera {camera!r}; it has top")
        return ReachWorld(pixels=pixels, **options)
    if TASKS.get(task) == "kitchen":
        from tapetum.systems.adapters.worlds.kitchen import Kitchen

        return Kitchen(task, camera, pixels, **options)
    if TASKS.get(task) == "stacking":
        from tapetum.systems.adapters.worlds.stacking import Stacking

        return Stacking(task, camera, pixels, **options)
    from tapetum.systems.adapters.worlds import metaworld

    plain = task.removesuffix("-v3")
    if plain not in TASKS and plain not in metaworld.tasks():
        advice = did_you_mean(plain, [*TASKS, *metaworld.tasks()], f"there are {', '.join(TASKS)} and others of Meta-World")
        raise BadInput(f"there is no task {task!r}; {advice}")
    return metaworld.MetaWorld(plain, camera, pixels, **options)


STEP, NEAR = 0.12, 0.12
"""Greatest move of a step and greatest distance at success; the table is 2 wide."""
GOAL, OTHER, GRIPPER, TABLE = (0.85, 0.2, 0.15), (0.2, 0.35, 0.8), (0.1, 0.1, 0.1), (0.75, 0.7, 0.6)
"""Colours, red green blue."""
_RADIUS = 0.2
_TURN = np.array([[0.5, 0.4, 0.1], [0.1, 0.5, 0.4], [0.4, 0.1, 0.5]])


@dataclass(kw_only=True)
class ReachWorld:
    """The disc to reach; `expert` goes straight to the goal."""

    pixels: int = 48
    """Side of the image."""
    distractors: int = 1
    """Discs of another colour."""
    shift: float = 0.0
    """How far the image is from the usual one, 0 to 1."""
    horizon: int = 30
    camera: str = "top"

    name: str = "reach-disc"
    action_size: int = 2
    own_size: int = 2

    def __post_init__(self) -> None:
        if self.pixels < 8 or self.distractors < 0 or not 0 <= self.shift <= 1 or self.horizon < 1:
            raise BadInput(f"a task {self} cannot be; wanted 8 pixels or more, 0 distractors or more, and shift from 0 to 1")
        middle = (np.arange(self.pixels) + 0.5) / self.pixels * 2 - 1
        self._x, self._y = np.meshgrid(middle, middle)

    def reset(self, seed: int) -> Observation:
        """Begin the episode of a seed: gripper, goal and distractors apart from each other."""
        generator = np.random.default_rng([seed, 0])
        self._noise = np.random.default_rng([seed, 2])
        places = [generator.uniform(-0.8, 0.8, 2)]
        while len(places) < 2 + self.distractors:
            place = generator.uniform(-0.8, 0.8, 2)
            if min(np.hypot(*(place - other)) for other in places) > 2 * _RADIUS:
                places.append(place)
        self.gripper, self.goal, *self._others = places
        return self._observe()

    def step(self, action: Float64[np.ndarray, "2"]) -> Observation:
        """Move the gripper by up to STEP along x (right) and y (down)."""
        self.gripper = np.clip(self.gripper + STEP * np.clip(action, -1, 1), -1, 1)
        return self._observe()

    @property
    def success(self) -> bool:
        return bool(np.hypot(*(self.gripper - self.goal)) < NEAR)

    def expert(self) -> Float64[np.ndarray, "2"]:
        """Go straight to the goal, slowing down only at it."""
        way = (self.goal - self.gripper) / STEP
        return way / max(1.0, np.abs(way).max())

    def close(self) -> None:
        """Do nothing: there are no resources to release."""

    def _observe(self) -> Observation:
        return Observation(self._paint(), self.gripper.astype(np.float32))

    def _paint(self) -> UInt8[np.ndarray, "h w 3"]:
        image = np.broadcast_to(np.array(TABLE), (self.pixels, self.pixels, 3)).copy()
        image *= 1 - 0.4 * self.shift * (np.sin(9 * self._x + 5 * self._y) > 0)[..., None]
        for place in self._others:
            self._disc(image, place, _RADIUS, OTHER)
        self._disc(image, self.goal, _RADIUS, GOAL)
        self._disc(image, self.gripper, 0.5 * _RADIUS, GRIPPER)
        image = (1 - self.shift) * image + self.shift * (image @ _TURN)
        image += 0.1 * self.shift * self._noise.standard_normal(image.shape)
        return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)

    def _disc(self, image: np.ndarray, place: np.ndarray, radius: float, colour: tuple[float, float, float]) -> None:
        """Draw a disc whose edge is one pixel wide."""
        distance = np.hypot(self._x - place[0], self._y - place[1])
        cover = np.clip((radius - distance) * self.pixels / 2 + 0.5, 0, 1)[..., None]
        image[:] = (1 - cover) * image + cover * np.array(colour)
