"""Success rate of a policy, with confidence interval and videos."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tapetum.core.errors import BadInput
from tapetum.metrics.statistics import wilson_interval
from tapetum.systems.adapters.worlds.world import Actor, RobotEpisode, RobotWorld, roll
from tapetum.video import write_video

FIRST_SEED = 100_000
"""Seed of the first episode in which a policy is tried: far from those of demonstrations."""
RATE, _FILMED = 20.0, 6
"""Frames a second of films, and episodes in one."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often a thing was done."""

    done: int
    tried: int

    @property
    def rate(self) -> float:
        """Compute the success rate."""
        return self.done / self.tried

    @property
    def interval(self) -> tuple[float, float]:
        """Compute Wilson's 95 % interval of the rate (J. Am. Stat. Assoc. 22, 1927).

        >>> low, high = Rate(done=8, tried=10).interval
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
        """
        return wilson_interval(self.done, self.tried)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What became of a policy's episodes."""

    last: Rate
    """The task was done at the last step, as R3M and VC-1 count."""
    any: Rate
    """The task was done at some step."""
    steps: float
    """Mean steps until it was first done, of the episodes in which it was; NaN where it never was."""

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON values."""
        low, high = self.last.interval
        steps = None if math.isnan(self.steps) else self.steps
        return {"success": self.last.rate, "low": low, "high": high, "any": self.any.rate, "n": self.last.tried, "steps": steps}


def try_out(
    world: RobotWorld,
    actor: Actor,
    n: int,
    *,
    film: Path | None = None,
    progress: Callable[[int, int | None], None] = lambda done, count: None,
) -> Tried:
    """Run a policy for n episodes up to the horizon, with seeds from `FIRST_SEED` on.

    `film` is a file (mp4, webm, gif) with the first six side by side.
    """
    if n < 1:
        raise BadInput(f"a policy is tried in {n} episodes; give 1 or more")
    shown: list[RobotEpisode] = []
    last = any_ = 0
    first: list[int] = []
    for i in range(n):
        episode = roll(world, actor, FIRST_SEED + i)
        last, any_ = last + episode.last, any_ + episode.any
        if episode.any:
            first.append(int(episode.successes.argmax()) + 1)
        if i < _FILMED:
            shown.append(episode)
        progress(i + 1, n)
    if film is not None:
        write_video(film, side_by_side(shown), RATE)
    steps = float(np.mean(first)) if first else math.nan
    return Tried(last=Rate(done=last, tried=n), any=Rate(done=any_, tried=n), steps=steps)


def side_by_side(episodes: Sequence[RobotEpisode]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Draw frames with the episodes side by side in rows of three; green below successful ones, red below others."""
    steps = max(len(episode.frames) for episode in episodes)
    columns = min(3, len(episodes))
    blank = np.zeros_like(np.concatenate([episodes[0].frames[0], episodes[0].frames[0][:4]]))
    films = []
    for t in range(steps):
        cells = [_cell(episode, min(t, len(episode.frames) - 1)) for episode in episodes]
        cells += [blank] * (-len(cells) % columns)
        rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
        films.append(np.concatenate(rows))
    return films


def _cell(episode: RobotEpisode, t: int) -> UInt8[np.ndarray, "h w 3"]:
    frame = episode.frames[t]
    colour = (60, 180, 75) if episode.successes[t] else (150, 60, 50)
    return np.concatenate([frame, np.full((4, frame.shape[1], 3), colour, np.uint8)])
