"""Touches, gathered at every step and merged: one row for each pair of bodies and moment."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapetum.scenes.bodies.episode import Contacts
from tapetum.scenes.types import F64, I64

PAUSE_S = 0.012
"""Seconds without touch after which a touch counts as a new one."""


class ContactAccumulator:
    """Keeps raw touches of steps until `merge`; all pairs' last touches for ever."""

    def __init__(self, count: int, step: float, steps_per_moment: int):
        self.count, self.step, self.per_moment = count, step, steps_per_moment
        self.last: dict[int, int] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.done: list[Contacts] = []

    def add(self, number: int, bodies: I64, place: F64, normal: F64, force: F64, speeds: F64) -> None:
        """Add touches of step `number`: pairs (c, 2), places (c, 3), normals first to second (c, 3), forces (c,) in newtons,
        and (c, 3): speeds of meeting, sliding, rolling."""
        self.rows.append((np.full(len(force), number), bodies, place, normal, force, speeds))

    def merge(self) -> None:
        """Merge what was gathered since the last merge; only at the start of a moment."""
        if not self.rows:
            return
        steps, bodies, place, normal, force, speeds = (np.concatenate(column) for column in zip(*self.rows, strict=True))
        self.rows = []
        swap = bodies[:, 0] > bodies[:, 1]
        normal = np.where(swap[:, None], -normal, normal)
        pair = bodies.min(1) * self.count + bodies.max(1)
        meeting = self._meeting(pair, steps.astype(np.int64), speeds[:, 0])
        moment = (steps // self.per_moment).astype(np.int64)
        keys, index = np.unique(moment * self.count**2 + pair, return_inverse=True)
        weight = force + 1e-12

        def mean(values: F64) -> F64:
            total = np.bincount(index, weight)
            columns = values.reshape(len(values), -1).T
            return np.stack([np.bincount(index, weight * c) for c in columns], -1) / total[:, None]

        approach = np.zeros(len(keys))
        np.maximum.at(approach, index, meeting)
        strongest = np.lexsort((force, index))[np.cumsum(np.bincount(index)) - 1]
        middle = mean(normal)
        length = np.linalg.norm(middle, axis=1, keepdims=True)
        middle = np.where(length > 0.2, middle / np.maximum(length, 1e-9), normal[strongest])
        averages = mean(speeds)
        code = keys % self.count**2
        self.done.append(
            Contacts(
                moment=keys // self.count**2,
                bodies=np.stack([code // self.count, code % self.count], 1),
                place=mean(place),
                normal=middle,
                impulse=np.asarray(np.bincount(index, force) * self.step, np.float64),
                approach=approach,
                sliding=averages[:, 1],
                rolling=averages[:, 2],
            )
        )

    def _meeting(self, pair: I64, steps: I64, speed: F64) -> F64:
        """Keep the speed of meeting where a pair had not touched for a while; 0 elsewhere."""
        order = np.lexsort((steps, pair))
        p, s = pair[order], steps[order]
        before = np.empty(len(p), np.int64)
        new = np.r_[True, p[1:] != p[:-1]]
        before[1:] = s[:-1]
        before[new] = [self.last.get(int(q), -(10**9)) for q in p[new]]
        same = ~new & (before == s)
        # Several touches of one pair in one step share what came before.
        start = np.maximum.accumulate(np.where(same, 0, np.arange(len(p))))
        fresh = s - before[start] > PAUSE_S / self.step
        ends = np.r_[p[1:] != p[:-1], True]
        self.last.update(zip(p[ends].tolist(), s[ends].tolist(), strict=True))
        kept = np.zeros(len(p))
        kept[order] = np.where(fresh, np.maximum(speed[order], 0), 0)
        return kept

    def take(self) -> Contacts:
        """Return all merged touches and forget them."""
        self.merge()
        parts, self.done = self.done, []
        return join(parts)


FIELDS = ("moment", "bodies", "place", "normal", "impulse", "approach", "sliding", "rolling")


def join(parts: Sequence[Contacts]) -> Contacts:
    """Put contacts of consecutive times behind each other."""
    if not parts:
        none = np.zeros(0)
        number = np.zeros(0, np.int64)
        return Contacts(
            moment=number,
            bodies=np.zeros((0, 2), np.int64),
            place=np.zeros((0, 3)),
            normal=np.zeros((0, 3)),
            impulse=none,
            approach=none,
            sliding=none,
            rolling=none,
        )
    return Contacts(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS})
