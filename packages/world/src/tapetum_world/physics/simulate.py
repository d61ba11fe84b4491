"""Simulation of a model and its record: poses at moments, contacts merged by moment, energy of floating bodies.

A moment is `steps_per_moment` steps. The hand, if present, is moved from outside: its coordinates and speeds are set before
every step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F64, I64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Body, Contacts
from tapetum_world.physics.hand_model import HandParts
from tapetum_world.physics.model import GRAVITY, Model, build, mujoco

FLUSH = 64
"""Moments between merges of touches."""


class Simulation:
    """Bodies in motion, and their recorded data."""

    def __init__(
        self,
        bodies: Sequence[Body],
        poses: F64,
        velocities: F64 | None = None,
        *,
        step: float = 1 / 720,
        steps_per_moment: int = 3,
        hand: HandParts | None = None,
    ):
        """Start from poses (n, 7) and velocities (n, 6): metres per second of the origin in the world, then radians per second
        about the body's own axes."""
        self.mujoco = mujoco()
        self.bodies, self.hand = tuple(bodies), hand
        self.step, self.per_moment = step, steps_per_moment
        self.model: Model = build(bodies, poses, step=step, hand=hand)
        self.data: Any = self.mujoco.MjData(self.model.mj)
        self.start = np.array(poses, float)
        self.qpos_index = self.model.qpos[:, None] + np.arange(7)
        self.qvel_index = self.model.qvel[:, None] + np.arange(6)
        self.data.qpos[self.qpos_index] = self.start[self.model.free]
        if velocities is not None:
            self.data.qvel[self.qvel_index] = np.asarray(velocities)[self.model.free]
        self.count = 0
        self.carried: int | None = None
        self.gatherer = ContactAccumulator(len(self.bodies), step, steps_per_moment)
        self._poses: list[F64] = []
        self._qvel: list[F64] = []
        self._in_model = np.flatnonzero(self.model.ids >= 0)
        self._root = self.model.mj.body_rootid[np.maximum(self.model.ids, 0)]

    @property
    def time(self) -> float:
        """Compute the seconds since the start."""
        return self.count * self.step

    def advance(self, steps: int, hand: tuple[F64, F64] | None = None) -> None:
        """Simulate steps; `hand`: coordinates (steps, 15) and speeds (steps, 14) at the start of each."""
        data, mj, model = self.data, self.mujoco, self.model.mj
        q, v = self.model.hand_qpos, self.model.hand_qvel
        for i in range(steps):
            if hand is not None:
                data.qpos[q], data.qvel[v] = hand[0][i], hand[1][i]
            if self.count % self.per_moment == 0:
                self._record()
            mj.mj_step(model, data)
            if data.ncon:
                self._gather()
            self.count += 1

    def close(self, hand: tuple[F64, F64] | None = None) -> None:
        """Record the moment at the end of the last step; `hand`: coordinates (15,) and speeds (14,) then."""
        if hand is not None:
            self.set_hand(hand)
        self._record()
        self.gatherer.merge()

    def set_hand(self, hand: tuple[F64, F64]) -> None:
        """Set the hand to coordinates (15,) with speeds (14,)."""
        self.data.qpos[self.model.hand_qpos], self.data.qvel[self.model.hand_qvel] = hand

    def poses_now(self) -> F64:
        """Compute the current poses (n, 7) of all bodies; sheets and the arm at their start."""
        poses = self.start.copy()
        if self.hand:
            self.mujoco.mj_kinematics(self.model.mj, self.data)
            ids = [self.model.ids[j] for j in self.hand.model]
            poses[list(self.hand.model), :3] = self.data.xpos[ids]
            poses[list(self.hand.model), 3:] = self.data.xquat[ids]
        poses[self.model.free] = self.data.qpos[self.qpos_index]
        length = np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)
        poses[:, 3:] = np.where(np.abs(length - 1) > 1e-12, poses[:, 3:] / length, poses[:, 3:])
        return poses

    def velocities_now(self) -> F64:
        """Compute the current velocities (n, 6), in the format of the start."""
        pixel_motion = np.zeros((len(self.bodies), 6))
        pixel_motion[self.model.free] = self.data.qvel[self.qvel_index]
        return pixel_motion

    def grip(self, body: int) -> None:
        """Weld a body to the palm in its current pose."""
        assert self.hand is not None
        poses = self.poses_now()
        rel = quaternions.relative(poses[self.hand.palm], poses[body])
        weld = self.model.welds[body]
        self.model.mj.eq_data[weld] = [0, 0, 0, *rel, 1.0]
        self.data.eq_active[weld] = 1
        self.carried = body

    def release(self) -> None:
        """Release the held body, if any."""
        if self.carried is not None:
            self.data.eq_active[self.model.welds[self.carried]] = 0
        self.carried = None

    def take(self) -> tuple[F64, Contacts, F64]:
        """Pop what was recorded: poses (k, n, 7), contacts, energy (k,) in joules."""
        poses, pixel_motion = np.stack(self._poses), np.stack(self._qvel)
        self._poses, self._qvel = [], []
        return poses, self.gatherer.take(), energy(self.bodies, self.model.free, poses, pixel_motion)

    def _record(self) -> None:
        if len(self._poses) % FLUSH == 0:
            self.gatherer.merge()
            if not np.isfinite(self.data.qpos).all():
                raise BadInput(f"bodies flew apart after {self.time:.2f} s; start them without overlap and slower")
        self._poses.append(self.poses_now())
        self._qvel.append(self.data.qvel[self.qvel_index])

    def _gather(self) -> None:
        data = self.data
        contact = data.contact
        address = contact.efc_address
        live = np.flatnonzero(address >= 0)
        if not len(live):
            return
        force = data.efc_force[address[live]]
        pushing = force > 0
        live, force = live[pushing], force[pushing]
        if not len(live):
            return
        bodies = self.model.geom_body[contact.geom[live]]
        place, normal = contact.pos[live], contact.frame[live, :3]
        ids, roots = self.model.ids[bodies], self._root[bodies]
        spin = data.cvel[ids]
        arm = place[:, None] - data.subtree_com[roots]
        turn, shift = spin[..., :3], spin[..., 3:]
        point = shift + quaternions.cross(turn, arm)
        over = point[:, 1] - point[:, 0]
        rolling = turn[:, 1] - turn[:, 0]
        meeting = (over * normal).sum(1)
        sliding = np.sqrt(((over - meeting[:, None] * normal) ** 2).sum(1))
        about = (rolling * normal).sum(1)[:, None] * normal
        rolled = np.sqrt(((rolling - about) ** 2).sum(1))
        self.gatherer.add(self.count, bodies, place, normal, force, np.stack([-meeting, sliding, rolled], 1))


def energy(bodies: Sequence[Body], free: I64, poses: F64, pixel_motion: F64) -> F64:
    """Compute kinetic and potential energy (k,) in joules of the floating bodies, from poses (k, n, 7) and speeds (k, f, 6)."""
    if not len(free):
        return np.zeros(len(poses))
    known = [bodies[j].shape.mass_properties for j in free]
    mass = np.array([bodies[j].mass for j in free])
    inertia = mass[:, None] * np.array([m[2] for m in known])
    centre = np.array([[0, 0, m[1]] for m in known])
    pose, spin = poses[:, free], pixel_motion[..., 3:]
    shift = pixel_motion[..., :3] + quaternions.rotate(pose[..., 3:], np.cross(spin, centre))
    height = quaternions.place(pose, centre)[..., 2]
    kinetic = 0.5 * mass * (shift**2).sum(-1) + 0.5 * (inertia * spin**2).sum(-1)
    return (kinetic + mass * GRAVITY * height).sum(-1)


PAUSE_S = 0.012
"""Seconds without touch after which a touch counts as a new one."""


class ContactAccumulator:
    """Stores raw touches of steps until `merge`; all pairs' last touches indefinitely."""

    def __init__(self, count: int, step: float, steps_per_moment: int):
        self.count, self.step, self.per_moment = count, step, steps_per_moment
        self.last: dict[int, int] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.done: list[Contacts] = []

    def add(self, number: int, bodies: I64, place: F64, normal: F64, force: F64, pixel_motion: F64) -> None:
        """Add touches of step `number`: pairs (c, 2), places (c, 3), normals first to second (c, 3), forces (c,) in newtons,
        and (c, 3): speeds of meeting, sliding, rolling."""
        self.rows.append((np.full(len(force), number), bodies, place, normal, force, pixel_motion))

    def merge(self) -> None:
        """Merge everything gathered since the last merge; only at the start of a moment."""
        if not self.rows:
            return
        steps, bodies, place, normal, force, pixel_motion = (np.concatenate(column) for column in zip(*self.rows, strict=True))
        self.rows = []
        swap = bodies[:, 0] > bodies[:, 1]
        normal = np.where(swap[:, None], -normal, normal)
        pair = bodies.min(1) * self.count + bodies.max(1)
        meeting = self._meeting(pair, steps.astype(np.int64), pixel_motion[:, 0])
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
        averages = mean(pixel_motion)
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
        """Keep the approach speed where a pair had not touched for a while; 0 elsewhere."""
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
        """Pop all merged contacts."""
        self.merge()
        parts, self.done = self.done, []
        return join(parts)


EMPTY = Contacts(
    **dict.fromkeys(("impulse", "approach", "sliding", "rolling"), np.zeros(0)),
    **dict.fromkeys(("place", "normal"), np.zeros((0, 3))),
    moment=np.zeros(0, np.int64),
    bodies=np.zeros((0, 2), np.int64),
)


def join(parts: Sequence[Contacts]) -> Contacts:
    """Concatenate contacts of consecutive times."""
    return Contacts(**{name: np.concatenate([getattr(part, name) for part in (EMPTY, *parts)]) for name in vars(EMPTY)})
