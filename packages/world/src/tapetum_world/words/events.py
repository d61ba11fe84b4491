"""Events of an episode: manipulations, hits, falls, containment; and of the same episode without a body.

Thresholds leave a gap: between "it stayed" (under 1 cm) and "it moved" (over 3 cm) no question is asked.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tapetum.tracks.facets.types import F64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Action, Episode
from tapetum_world.bodies.shapes import Cone, Cup, Cylinder, RoundedBox, Sheet
from tapetum_world.physics import resimulate
from tapetum_world.words.graph import ObjectNode, SceneGraph, movable_bodies, scene_graph

STAYED, MOVED = 0.01, 0.03
"""Metres."""
UPRIGHT, TIPPED = 0.35, 1.0
"""Radians between where an axis pointed and points: standing up to, fallen over from."""
DROPPED = 0.3
"""Metres of height lost by which a thing has left the table."""
HARD = 0.05
"""Metres per second of meeting from which on one thing hits another."""
SNAPSHOTS = 5
"""Frames, evenly spread, in which visibility is looked at."""


@dataclass(frozen=True, kw_only=True)
class Manipulation:
    """One whole action of the hand: what was picked up and put down again is one."""

    verb: str
    """place, stack, drop, put-into, push, spin, cover, uncover, pour, shuffle, show; hold where the episode ends too soon."""
    body: int
    """The body that the hand took or pushed."""
    target: int
    """What it was put into, on or over, or -1."""
    start_s: float
    end_s: float
    picked_s: float | None
    """When it was lifted, of what is picked up."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Two things met."""

    time_s: float
    bodies: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A thing came into, or out of, another one."""

    time_s: float
    body: int
    before: int
    after: int


class EpisodeEvents:
    """An episode's events, computed on demand."""

    def __init__(self, episode: Episode):
        """Prepare."""
        self.episode = episode
        self.objects = movable_bodies(episode)
        self.hand = [j for j, b in enumerate(episode.bodies) if b.group == "hand"]
        self.step = episode.time(1)

    @cached_property
    def snapshots(self) -> list[SceneGraph]:
        """Build the scene graphs of `SNAPSHOTS` frames, including the first and last."""
        frames = sorted({round(f) for f in np.linspace(0, self.episode.frames - 1, SNAPSHOTS)})
        return [scene_graph(self.episode, f, look=64) for f in frames]

    @cached_property
    def all_objects(self) -> SceneGraph:
        """Build a graph of all movable objects as if all were visible: names unique in it are unique throughout the episode."""
        first = self.snapshots[0]
        shown = [self._shown(t) for t in first.objects]
        return SceneGraph(frame=0, objects=tuple(shown), hand=bool(self.hand), upturned=first.upturned)

    def shown(self, body: int) -> bool:
        """Check whether a body is clear in some snapshot."""
        return any(t.clear for look in self.snapshots for t in look.objects if t.number == body)

    @cached_property
    def manipulations(self) -> list[Manipulation]:
        """List the manipulations of the hand in order."""
        merged: list[Manipulation] = []
        actions = sorted(self.episode.actions, key=lambda action: action.start_s)
        i = 0
        while i < len(actions):
            action = actions[i]
            after = actions[i + 1] if i + 1 < len(actions) else None
            if action.verb in ("pick", "take-out"):
                ends = after is not None and after.body == action.body and after.verb in ("place", "drop", "put-into", "show")
                merged.append(_lifted(action, after if ends else None))
                i += 2 if ends else 1
                continue
            i += 1
            if action.verb == "place":
                continue
            cover = action.verb in ("cover", "uncover") and action.target >= 0
            body, target = (action.target, action.body) if cover else (action.body, action.target)
            merged.append(
                Manipulation(
                    verb=action.verb, body=body, target=target, start_s=action.start_s, end_s=action.end_s, picked_s=None
                )
            )
        return merged

    @cached_property
    def hits(self) -> list[Hit]:
        """List contacts of two moving objects, in order; one each time that they meet."""
        contacts = self.episode.contacts
        loose = np.isin(contacts.bodies, self.objects).all(1) & (contacts.approach > HARD)
        rows = zip(contacts.moment[loose].tolist(), contacts.bodies[loose].tolist(), strict=True)
        return [Hit(time_s=m * self.step, bodies=(int(a), int(b))) for m, (a, b) in rows]

    @cached_property
    def changes(self) -> list[Change]:
        """List the changes of containment that last at least a quarter of a second, in order."""
        least = max(1, round(0.25 / self.step))
        changes: list[Change] = []
        for j in self.objects:
            holder = self.episode.inside[:, j]
            edges = np.flatnonzero(np.diff(holder)) + 1
            before = int(holder[0])
            for start, end in zip(edges, np.append(edges, len(holder))[1:], strict=True):
                after = int(holder[start])
                if after != before and end - start >= min(least, len(holder) - start):
                    changes.append(Change(time_s=start * self.step, body=j, before=before, after=after))
                    before = after
        return sorted(changes, key=lambda c: (c.time_s, c.body))

    def contents(self, moment: int) -> dict[int, list[int]]:
        """List the contents of each holder at a moment."""
        contents: dict[int, list[int]] = {}
        for j in self.objects:
            if self.episode.inside[moment, j] >= 0:
                contents.setdefault(int(self.episode.inside[moment, j]), []).append(j)
        return contents

    def places(self, body: int) -> F64:
        """Compute the positions (k, 3) of a body at all moments; for a sheet its middle."""
        if body in self.episode.sheets:
            return self.episode.sheets[body].mean((1, 2))
        return self.episode.poses[:, body, :3]

    def outcome(self, body: int, start: int = 0) -> str:
        """Classify what happens to a body from a moment on: stays, moves, falls over, leaves; empty if unclear."""
        path = self.places(body)[start:]
        if path[-1, 2] < path[0, 2] - DROPPED:
            return "leaves"
        far = float(np.linalg.norm(path[-1] - path[0]))
        most = float(np.linalg.norm(path - path[0], axis=1).max())
        tilt = self.tilt(body)[start:]
        if tall(self.episode.bodies[body].shape):
            if tilt[0] < UPRIGHT and tilt[-1] > TIPPED:
                return "falls over"
            if tilt[0] > UPRIGHT or tilt[-1] > UPRIGHT:
                return ""
        if far > MOVED:
            return "moves"
        return "stays" if most < STAYED else ""

    def tilt(self, body: int) -> F64:
        """Compute the angle (k,) in radians between the current and initial directions of the body's z axis."""
        if isinstance(self.episode.bodies[body].shape, Sheet):
            return np.zeros(len(self.episode.poses))
        axis = quaternions.rotate(self.episode.poses[:, body, 3:], np.array([0.0, 0.0, 1.0]))
        return np.arccos(np.clip(axis @ axis[0], -1, 1))

    def handled(self, body: int, start: int = 0) -> bool:
        """Check whether the hand touches a body, or holds it, from a moment on."""
        contacts = self.episode.contacts
        late = contacts.moment >= start
        touched = (contacts.bodies == body).any(1) & np.isin(contacts.bodies, self.hand).any(1) & late
        since = start * self.step
        return bool(touched.any()) or any(body in (a.body, a.target) and a.end_s > since for a in self.episode.actions)

    def motion_cause(self, body: int) -> str:
        """Classify what first sets a body in motion: start, hand, hit, never; empty if unclear."""
        path = self.places(body)
        far = np.linalg.norm(path - path[0], axis=1)
        if far.max() < STAYED:
            return "never"
        first = int(np.argmax(far > 0.006))
        early = max(1, round(0.1 / self.step))
        if far[min(early, len(far) - 1)] > 0.004:
            return "start"
        contacts = self.episode.contacts
        near = (contacts.moment > first - 0.3 / self.step) & (contacts.moment <= first) & (contacts.bodies == body).any(1)
        by_hand = near & np.isin(contacts.bodies, self.hand).any(1)
        struck = near & np.isin(contacts.bodies, self.objects).all(1) & (contacts.approach > HARD)
        lifted = any(body in (a.body, a.target) and a.start_s <= first * self.step <= a.end_s for a in self.episode.actions)
        if (by_hand.any() or lifted) and not struck.any():
            return "hand"
        return "hit" if struck.any() and not by_hand.any() and not lifted else ""

    def _shown(self, thing: ObjectNode) -> ObjectNode:
        return replace(thing, visible_share=1.0, area=1.0)


def tall(shape: object) -> bool:
    """Check whether a shape can fall over: higher than it is wide, or a cup."""
    match shape:
        case Cylinder(radius=r, height=h) | Cone(radius=r, height=h):
            return h > 2 * r
        case RoundedBox(size=size):
            return size[2] > 1.2 * min(size[:2])
        case Cup(radius_top=r, height=h):
            return h > 2 * r
    return False


def _lifted(pick: Action, after: Action | None) -> Manipulation:
    verb = "hold" if after is None else "stack" if after.verb == "place" and after.target >= 0 else after.verb
    return Manipulation(
        verb=verb,
        body=pick.body,
        target=-1 if after is None else after.target,
        start_s=pick.start_s,
        end_s=pick.end_s if after is None else after.end_s,
        picked_s=pick.end_s,
    )


class CounterfactualEvents(EpisodeEvents):
    """Events of an episode rerun with a change."""

    def number(self, name: str) -> int:
        """Find the number here of a body by its name."""
        return [b.name for b in self.episode.bodies].index(name)


class Counterfactuals:
    """Reruns an episode without its hand, or without one object; each once, on demand."""

    def __init__(self, episode: Episode, seed: int):
        """Prepare; the seed determines which object is left out."""
        self.episode, self.seed = episode, seed

    def hand(self) -> CounterfactualEvents | None:
        """Simulate the episode without the hand; None if there is none."""
        return self._no_hand

    def thing(self, events: EpisodeEvents) -> tuple[int | None, CounterfactualEvents | None]:
        """Draw an object that took part in the episode, and simulate the episode without it; None if none did."""
        if "_thing" not in self.__dict__:
            self.__dict__["_thing"] = self._draw(events)
        return self.__dict__["_thing"]

    @cached_property
    def _no_hand(self) -> CounterfactualEvents | None:
        hands = [b.name for b in self.episode.bodies if b.group == "hand"]
        return CounterfactualEvents(resimulate(self.episode, without=hands[0])) if hands else None

    def _draw(self, events: EpisodeEvents) -> tuple[int | None, CounterfactualEvents | None]:
        parts = {x for h in events.hits for x in h.bodies}
        picked = [d.body for d in events.manipulations if d.picked_s is not None][:1]
        rng = np.random.default_rng((self.seed & 0xFFFFFFFF, 93))
        pool = picked if picked and rng.random() < 0.4 else sorted(parts)
        if not pool:
            return None, None
        gone = int(rng.choice(pool))
        return gone, CounterfactualEvents(resimulate(self.episode, without=gone))
