"""Trajectory of the hand as numbers that can be stored and replayed: moves of ten channels, and grips.

A move adds a smooth step (minimum jerk) to one channel between two steps of the simulation; moves of one channel may overlap,
and add up. So a script has an exact value at any time, for every caller.

Flash and Hogan, "The coordination of arm movements" (1985): hands move from rest to rest along 10 s^3 - 15 s^4 + 6 s^5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.world.bodies import quaternions
from tapetum.world.physics import hand_model
from tapetum.world.types import F64, I64

FINGER_CHANNELS = slice(6, 10)
"""Of a row of values, how far each finger is shut; before it the palm's x, y, z, yaw, pitch, roll."""


@dataclass(kw_only=True)
class Grip:
    """A body held from one step to another."""

    body: str
    """Its name."""
    on: int
    off: int = -1
    """-1: until the end."""
    expected: list[float]
    """(7,) where the body should be in the palm; where it is more than `SLACK` away, the hand closes on nothing."""
    action: int = -1
    """Number of the action that began with it."""
    points: list[int] = field(default_factory=list)
    """Of a sheet: the numbers of points that are held."""


SLACK = 0.02
"""Metres."""


@dataclass(kw_only=True)
class HandScript:
    """Moves and grips of one hand."""

    start: list[float]
    """(10,) channels before any move."""
    shoulder: list[float]
    """(3,) where the shoulder likes to be."""
    moves: list[tuple[int, int, int, float]] = field(default_factory=list)
    """Channel, first step, last step, how much is added."""
    grips: list[Grip] = field(default_factory=list)
    _sum: F64 | None = field(default=None, init=False, repr=False, compare=False)
    _folded: int = field(default=0, init=False, repr=False, compare=False)
    _until: int = field(default=0, init=False, repr=False, compare=False)

    def values(self, steps: I64) -> F64:
        """Compute channels (s, 10) at steps (s,), in order."""
        values = np.tile(self._before(int(steps[0])), (len(steps), 1))
        for channel, first, last, delta in self.moves[self._folded :]:
            if first >= steps[-1]:
                continue
            if last <= steps[0]:
                values[:, channel] += delta
                continue
            s = np.clip((steps - first) / (last - first), 0.0, 1.0)
            values[:, channel] += delta * (s * s * s * (10.0 - s * (15.0 - 6.0 * s)))
        return values

    def _before(self, step: int) -> F64:
        """Add up the moves at the front of the list that ended long ago; they need not be evaluated again."""
        if self._sum is None or step < self._until:
            self._sum, self._folded, self._until = np.array(self.start, float), 0, 0
        while self._folded < len(self.moves) and self.moves[self._folded][2] <= step:
            channel, _, last, delta = self.moves[self._folded]
            self._sum[channel] += delta
            self._folded, self._until = self._folded + 1, max(self._until, last)
        return self._sum

    def palm(self, values: F64) -> F64:
        """Compute the palm's pose (s, 7) from channels (s, 10)."""
        return np.concatenate([values[:, :3], hand_model.palm_quaternion(*values[:, 3:6].T)], 1)

    def states(self, first: int, count: int, step: float) -> tuple[F64, F64]:
        """Compute coordinates (count, 15) and speeds (count, 14) of the hand at steps first, first + 1, ...

        Speeds are those that lead to the next step's coordinates.
        """
        values = self.values(np.arange(first, first + count + 1))
        q = np.concatenate([self.palm(values), hand_model.angles(values[:, FINGER_CHANNELS])], 1)
        here, there = q[:-1], q[1:]
        turn = quaternions.multiply(quaternions.conjugate(here[:, 3:7]), there[:, 3:7])
        turn = turn * np.sign(turn[:, :1])
        spin = 2 * turn[:, 1:] / step
        v = np.concatenate([(there[:, :3] - here[:, :3]) / step, spin, (there[:, 7:] - here[:, 7:]) / step], 1)
        return here, v

    def to_json(self) -> dict[str, Any]:
        """Write as JSON values."""
        return {
            "start": list(self.start),
            "shoulder": list(self.shoulder),
            "moves": [list(m) for m in self.moves],
            "grips": [dict(vars(g)) for g in self.grips],
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "HandScript":
        """Read what `to_json` wrote; raise BadInput if it is damaged."""
        try:
            return HandScript(
                start=[float(v) for v in values["start"]],
                shoulder=[float(v) for v in values["shoulder"]],
                moves=[(int(c), int(a), int(b), float(d)) for c, a, b, d in values["moves"]],
                grips=[Grip(**g) for g in values["grips"]],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"the script of the hand lacks or mistakes {error}; make the episode again") from None
