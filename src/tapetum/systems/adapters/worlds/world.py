"""The protocol of a simulated world, and one episode in it. Imports neither torch nor a simulator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from tapetum.core.errors import BadInput


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

    def reset(self, seed: int) -> Observation:
        """Begin the episode of a seed."""
        ...

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

    @property
    def any(self) -> bool:
        """Check whether the task was ever done."""
        return bool(self.successes.any())


Actor = Callable[[Observation], Float64[np.ndarray, " a"]]
"""What is done for what is seen."""


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
