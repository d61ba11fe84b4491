"""A simulation whose hand follows a script, live (each action planned when it begins) or replayed; and what holds what.

Containment: a body is inside a hollow one while its origin is in the cavity, below the rim (above it, if upturned).

An upturned cup holds what it covers, by the same rule. A sheet holds what is under it: it must be above the body and most of a
ring around it, with its hem down beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tapetum.tracks.facets.types import F64, I64, Bool
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Action, Body
from tapetum_world.bodies.shapes import Sheet
from tapetum_world.physics import hand_model
from tapetum_world.physics.hand_model import SLACK, Grip, HandScript, find_hand
from tapetum_world.physics.simulate import Simulation


def containment(bodies: Sequence[Body], poses: F64, sheets: Mapping[int, F64] | None = None) -> I64:
    """Find for each moment and body (k, n) the innermost body that contains it; -1 for none.

    Poses (k, n, 7); sheets: (k, rows, columns, 3) by body. Fixed bodies and hands are never inside.
    """
    room = {j: b.shape.filled_volume for j, b in enumerate(bodies) if b.shape.opening}
    holders = sorted(room, key=lambda j: -room[j])
    movable = [j for j, b in enumerate(bodies) if not b.fixed and b.group != "hand" and not isinstance(b.shape, Sheet)]
    holder_of = np.full(poses.shape[:2], -1, np.int64)
    for sheet, points in (sheets or {}).items():
        for j in movable:
            holder_of[_under(points, poses[:, j], bodies[j]), j] = sheet
    for holder in holders:
        for j in movable:
            if j == holder or (j in holders and room[j] > room[holder]):
                continue
            place = quaternions.unplace(poses[:, holder], poses[:, j, :3])
            inside = bodies[holder].shape.in_cavity(place.T)
            if j in holders and room[j] == room[holder]:
                inside &= place[:, 2] > 0
            holder_of[inside, j] = holder
    return holder_of


def _under(points: F64, pose: F64, body: Body, chunk: int = 240) -> Bool:
    """Check for each moment (k,) whether a sheet's points (k, r, c, 3) cover a body at poses (k, 7)."""
    size = float(np.linalg.norm(body.shape.outline, axis=1).max())
    spacing = float(np.linalg.norm(points[0, 0, 1] - points[0, 0, 0])) * 1.1
    angles = np.arange(8) * (np.pi / 4)
    ring = np.concatenate([[[0, 0]], np.stack([np.cos(angles), np.sin(angles)], 1) * size * 0.8])
    return np.concatenate([_covers(points[i : i + chunk], pose[i : i + chunk], ring, size, spacing)
                           for i in range(0, len(points), chunk)])  # fmt: skip


def _covers(points: F64, pose: F64, ring: F64, size: float, spacing: float) -> Bool:
    flat = points.reshape(len(points), -1, 3)
    apart = flat[..., :2] - pose[:, None, :2]
    near = ((apart[:, :, None] - ring) ** 2).sum(-1) < spacing**2
    covered = (near & (flat[:, :, 2] > pose[:, None, 2])[..., None]).any(1)
    beside = (apart**2).sum(-1) < (size * 2 + 0.1) ** 2
    hem = np.where(beside, flat[..., 2], np.inf).min(1)
    return covered[:, 0] & (covered[:, 1:].sum(1) >= 6) & (hem < pose[:, 2])


SPEED = 0.62
"""Metres per second of an unhurried hand, about."""


class EpisodeEnd(Exception):
    """The episode's time is over."""


class ScriptedSimulation:
    """Runs a simulation to given steps, and moves the hand and grips on time."""

    def __init__(
        self,
        bodies: list[Body],
        poses: F64,
        velocities: F64 | None,
        *,
        step: float,
        steps_per_moment: int,
        script: HandScript | None = None,
    ):
        self.bodies = bodies
        hand = find_hand(bodies)
        self.script = script if hand else None
        if hand and self.script:
            poses = np.array(poses, float)
            palm = self.script.palm(self.script.values(np.arange(2)))[0]
            poses[hand.palm] = palm
        self.sim = Simulation(bodies, poses, velocities, step=step, steps_per_moment=steps_per_moment, hand=hand)
        self.hand, self.step = hand, step
        self.goal = np.array(self.script.start, float) if self.script else np.zeros(10)
        self.actions: list[Action] = []
        self.end: int | None = None
        """Step at which the episode ends: `run_to` goes no further and raises EpisodeEnd."""
        self.failed: set[int] = set()
        """Numbers of grips that closed on nothing."""
        self.names = {b.name: j for j, b in enumerate(bodies)}

    @property
    def now(self) -> int:
        """Count the steps made."""
        return self.sim.count

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return self.sim.time

    def steps(self, seconds: float) -> int:
        """Convert a time span to steps, one or more."""
        return max(1, round(seconds / self.step))

    def run_to(self, step: int) -> None:
        """Simulate until a step, including all grips on the way; raise EpisodeEnd at the end of the episode."""
        if self.end is not None and step > self.end:
            self.run_to(self.end)
            raise EpisodeEnd
        while self.now < step:
            stops = [s for g in (self.script.grips if self.script else ()) for s in (g.on, g.off) if self.now < s < step]
            self._grips()
            end = min([step, *stops])
            if self.script:
                self.sim.advance(end - self.now, self.script.states(self.now, end - self.now, self.step))
            else:
                self.sim.advance(end - self.now)
        self._grips()

    def overlap(self) -> float:
        """Measure the greatest current penetration between bodies, in metres."""
        mj, sim = self.sim.mujoco, self.sim
        mj.mj_forward(sim.model.mj, sim.data)
        depth = -float(sim.data.contact.dist.min(initial=0.0)) if sim.data.ncon else 0.0
        sim.data.qacc_warmstart[:] = 0
        return depth

    def wait(self, seconds: float) -> None:
        """Simulate for a while."""
        self.run_to(self.now + self.steps(seconds))

    def wait_until_still(self, spot: tuple[float, float] | int, radius: float = 0.12, longest: float = 1.5) -> bool:
        """Wait until nothing near a position or body, or on its way there, moves (objects in cups may roll); False if something
        still does after `longest` seconds."""
        for _ in range(int(longest / 0.1) + 1):
            before = self.sim.poses_now()
            self.wait(0.1)
            poses = self.sim.poses_now()
            pixel_motion = np.linalg.norm(poses[:, :3] - before[:, :3], axis=1) / 0.1
            middle = poses[spot, :2] if isinstance(spot, int) else np.array(spot)
            near = np.linalg.norm(poses[:, :2] - middle, axis=1) < radius + 1.5 * pixel_motion
            still = [j for j, b in enumerate(self.bodies) if b.fixed or b.group == "hand" or j == self.sim.carried]
            near &= containment(self.bodies, poses[None])[0] < 0
            near[still] = False
            if not (near & (pixel_motion > 0.01)).any():
                return True
        return False

    def close(self) -> None:
        """Record the last moment."""
        if self.script:
            q, v = self.script.states(self.now, 1, self.step)
            self.sim.close((q[0], v[0]))
        else:
            self.sim.close()

    def _grips(self) -> None:
        if not self.script:
            return
        due = [(i, g) for i, g in enumerate(self.script.grips) if self.now in (g.on, g.off)]
        for i, grip in sorted(due, key=lambda pair: pair[1].on == self.now):
            if grip.off == self.now:
                self.sim.release()
            elif self.sim.carried is None and not grip.points and i not in self.failed:
                self._take(i, grip)

    def _take(self, number: int, grip: Grip) -> None:
        body = self.names.get(grip.body)
        if body is None:
            self.failed.add(number)
            return
        assert self.script is not None
        assert self.hand is not None
        q, v = self.script.states(self.now, 1, self.step)
        self.sim.set_hand((q[0], v[0]))
        poses = self.sim.poses_now()
        pose = quaternions.relative(poses[self.hand.palm], poses[body])
        if np.linalg.norm(pose[:3] - np.array(grip.expected[:3])) > SLACK:
            self.failed.add(number)
        else:
            self.sim.grip(body)

    # Plans: nothing below simulates.

    def plan(self, channel: int, value: float, start: int, end: int) -> None:
        """Move a channel to a value between two steps, from its last planned value."""
        assert self.script
        delta = float(value - self.goal[channel])
        if delta != 0.0:
            self.script.moves.append((channel, start, end, delta))
            self.goal[channel] = self.goal[channel] + delta

    def plan_fingers(self, closure: F64, start: int, seconds: float) -> int:
        """Move the fingers; returns the last step."""
        end = start + self.steps(seconds)
        for f in range(4):
            self.plan(6 + f, closure[f], start, end)
        return end

    def plan_straight(self, palm: F64, start: int, seconds: float | None = None, speed: float = SPEED) -> int:
        """Move the palm (6 channels) straight; returns the last step."""
        far = float(np.linalg.norm(palm[:3] - self.goal[:3]))
        turn = float(np.abs(palm[3:6] - self.goal[3:6]).max())
        end = start + self.steps(seconds if seconds is not None else 0.14 + far / speed + 0.12 * turn)
        for c in range(6):
            self.plan(c, palm[c], start, end)
        return end

    def plan_over(self, palm: F64, start: int, speed: float = SPEED) -> int:
        """Move the palm in an arc that clears everything in between; returns the last step."""
        far = float(np.linalg.norm(palm[:2] - self.goal[:2]))
        if far < 0.004:
            return self.plan_straight(palm, start, speed=speed)
        top = max(self.safe_height(self.goal[:2], palm[:2], float(palm[4])), self.goal[2], palm[2])
        rise, fall = top - self.goal[2], top - palm[2]
        total = self.steps(0.22 + (far + 0.6 * (rise + fall)) / speed)
        turning = (start + int(0.15 * total), start + int(0.85 * total))
        if rise > 1e-6:
            self.plan(2, top, start, start + int(0.5 * total))
        ahead = int((0.22 if rise > 0.01 else 0.0) * total)
        behind = int((0.22 if fall > 0.01 else 0.0) * total)
        for c in (0, 1):
            self.plan(c, palm[c], start + ahead, start + total - behind)
        for c in (3, 4, 5):
            self.plan(c, palm[c], *turning)
        self.plan(2, palm[2], start + int(0.5 * total) + 1, start + total)
        return start + total

    def safe_height(self, start: F64, end: F64, pitch: float) -> float:
        """Compute the palm height at which the hand and the held body clear everything near the path between two positions."""
        poses = self.sim.poses_now()
        below = 0.112 * abs(np.cos(pitch)) + 0.05 * abs(np.sin(pitch))
        carried = self.sim.carried
        if carried is not None and self.hand:
            points = quaternions.place(poses[carried][None], self.bodies[carried].shape.outline)
            below = max(below, float(poses[self.hand.palm, 2] - points[:, 2].min()))
        top, inside = 0.0, containment(self.bodies, poses[None])[0]
        for j, body in enumerate(self.bodies):
            if j == carried or body.group == "hand" or body.noun in ("table", "floor") or isinstance(body.shape, Sheet):
                continue
            points = quaternions.place(poses[j][None], body.shape.outline)
            middle, radius = points.mean(0), float(np.ptp(points[:, :2], axis=0).max()) / 2
            if carried is not None and inside[j] == carried:
                continue
            if _near(middle[:2], start, end) < radius + 0.12:
                top = max(top, float(points[:, 2].max()))
        return top + below + 0.025

    def carried_pose(self) -> F64:
        """Compute the current pose (7,) of the held body in the palm."""
        assert self.hand is not None
        assert self.sim.carried is not None
        poses = self.sim.poses_now()
        return quaternions.relative(poses[self.hand.palm], poses[self.sim.carried])

    def palm_for(self, origin: F64, turn: F64 | None = None) -> F64:
        """Compute the palm (6,) that brings the held body's origin to a position (3,), at channels yaw, pitch, roll (3,)."""
        angles = self.goal[3:6] if turn is None else turn
        q = hand_model.palm_quaternion(*angles)
        return np.concatenate([origin - quaternions.rotate(q, self.carried_pose()[:3]), angles])

    def hangs(self) -> float:
        """Compute how far the held body's lowest point will be below its origin."""
        assert self.sim.carried is not None
        q = quaternions.multiply(hand_model.palm_quaternion(*self.goal[3:6]), self.carried_pose()[3:])
        return float(-quaternions.rotate(q[None], self.bodies[self.sim.carried].shape.outline)[:, 2].min())


def _near(point: F64, start: F64, end: F64) -> float:
    way = end - start
    share = np.clip((point - start) @ way / max(float(way @ way), 1e-12), 0, 1)
    return float(np.linalg.norm(point - start - share * way))
