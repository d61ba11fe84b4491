"""Grasp planning: tries palm poses around a body in a copy of the model and measures distances to it.

The copy's hand has a wide margin, so MuJoCo's collision step reports distances before contact. A grasp is good if the thumb and
a finger touch the body, the closed fingers touch nothing else, and the open hand is clear on its whole way in.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tapetum.world.bodies import quaternions
from tapetum.world.physics import hand_model
from tapetum.world.physics.simulate import Simulation
from tapetum.world.types import F64, I64

MARGIN = 0.016
CLEAR = 0.0015
ROOM = (0.009, 0.004)
"""Metres between an open finger and the body; less where there is no more, as in a bowl."""
THUMB = 3
TRIES = 90
"""Palm poses looked at before giving up."""
LIMIT = 0.62
"""Fingers shut no further."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grasp:
    """A palm pose and fingers before and after they close."""

    palm: F64
    """(6,) channels x, y, z, yaw, pitch, roll."""
    open: F64
    """(4,)"""
    shut: F64
    """(4,)"""

    @property
    def approach(self) -> F64:
        """Compute the direction in which fingers point, a unit vector (3,)."""
        return quaternions.rotate(hand_model.palm_quaternion(*self.palm[3:6]), np.array([0.0, 0.0, -1.0]))


class GraspPlanner:
    """Planner of grasps, which tries a hand in a copy of a simulation's model."""

    def __init__(self, sim: Simulation):
        assert sim.hand is not None
        self.sim, self.hand, self.mj = sim, sim.hand, sim.mujoco
        self.model = copy.deepcopy(sim.model.mj)
        parts = {j: i for i, j in enumerate(self.hand.model)}
        self.part = np.array([parts.get(int(j), -1) for j in sim.model.geom_body])
        self.model.geom_margin[self.part >= 0] = MARGIN
        self.data = self.mj.MjData(self.model)

    def look(self) -> None:
        """Copy the current state."""
        self.data.qpos[:] = self.sim.data.qpos

    def distances(self, palm: F64, closure: F64) -> tuple[I64, I64, F64]:
        """Compute for near pairs: part of the hand (0 the palm, then two links a finger), body, distance in metres."""
        q = np.concatenate([palm[:3], hand_model.palm_quaternion(*palm[3:6]), hand_model.angles(closure)])
        self.data.qpos[self.sim.model.hand_qpos] = q
        self.mj.mj_kinematics(self.model, self.data)
        self.mj.mj_comPos(self.model, self.data)
        self.mj.mj_collision(self.model, self.data)
        geoms = self.data.contact.geom
        if not len(geoms):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        part = self.part[geoms].max(1)
        other = self.sim.model.geom_body[np.where(self.part[geoms[:, 0]] >= 0, geoms[:, 1], geoms[:, 0])]
        keep = part >= 0
        return part[keep], other[keep], np.array(self.data.contact.dist)[keep]

    def gaps(self, palm: F64, closure: F64, body: int) -> tuple[F64, float, float]:
        """Compute distances of each finger to the body (4,), of the palm to it, and of the hand to all else; MARGIN if far."""
        part, other, distance = self.distances(palm, closure)
        fingers = np.full(4, MARGIN)
        mine = other == body
        np.minimum.at(fingers, (part[mine & (part > 0)] - 1) // 2, distance[mine & (part > 0)])
        flat = distance[mine & (part == 0)]
        rest = distance[~mine]
        return fingers, float(flat.min(initial=MARGIN)), float(rest.min(initial=MARGIN))

    def close(self, palm: F64, body: int, room: float = ROOM[0]) -> tuple[F64, F64, F64]:
        """Close each finger until it touches: closures (4,), which touch (4,), and closures (4,) with a gap to the body."""
        scan = np.linspace(0, LIMIT, 22)
        table = np.array([self.gaps(palm, np.full(4, c), body)[0] for c in scan])
        roomy, touch = np.zeros(4), np.zeros(4, bool)
        low, high = np.zeros(4), np.full(4, LIMIT)
        for f in range(4):
            hit = np.flatnonzero(table[:, f] <= 0)
            touch[f] = len(hit) > 0 and hit[0] > 0
            if touch[f]:
                low[f], high[f] = scan[hit[0] - 1], scan[hit[0]]
            near = np.flatnonzero(table[:, f] < room)
            roomy[f] = scan[max(near[0] - 1, 0)] if len(near) else 0.5
        for _ in range(9):
            middle = (low + high) / 2
            hit = self.gaps(palm, middle, body)[0] <= -0.0001
            low, high = np.where(hit, low, middle), np.where(hit, middle, high)
        shut = np.where(touch, low, np.minimum(roomy + 0.08, hand_model.PINCH))
        return shut, touch, roomy

    def find(self, body: int, palms: Iterable[F64], also: Callable[[F64, int], bool] = lambda palm, body: True) -> Grasp | None:
        """Find the first good grasp among palm poses (6,) that `also` allows."""
        self.look()
        for palm in itertools.islice(palms, TRIES):
            if not also(palm, body):
                continue
            shut, touch, roomy = self.close(palm, body)
            if not (touch[THUMB] and touch[:THUMB].any()):
                continue
            _, flat, rest = self.gaps(palm, shut, body)
            if rest < CLEAR or flat < CLEAR:
                continue
            for room in ROOM:
                grasp = Grasp(palm=palm, open=roomy if room == ROOM[0] else self.close(palm, body, room)[2], shut=shut)
                if self.way_is_clear(grasp, body):
                    return grasp
        return None

    def way_is_clear(self, grasp: Grasp, body: int) -> bool:
        """Check that the open hand touches nothing over the last 10 cm before the grasp."""
        for back in (0.0, 0.02, 0.045, 0.07, 0.1):
            palm = grasp.palm.copy()
            palm[:3] -= back * grasp.approach
            fingers, flat, rest = self.gaps(palm, grasp.open, body)
            if min(float(fingers.min()), flat, rest) < CLEAR:
                return False
        return True


def from_above(points: F64, yaws: Sequence[float], *, support: float) -> Iterable[F64]:
    """Propose palms (6,) over a body with outline (m, 3) in the world: across the narrow side first, low ones first."""
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2

    def width(yaw: float) -> float:
        return float(np.ptp(points @ np.array([np.cos(yaw), np.sin(yaw), 0])))

    least = min(width(y) for y in yaws)
    narrow = [y for y in yaws if width(y) <= least * 1.25 + 0.002]
    lowest = max(high[2] + 0.013 + 0.004, min(middle[2] + 0.07, high[2] + 0.045), support + 0.078)
    for aside in (0.0, 0.013, -0.013):
        for yaw in narrow if aside == 0 else narrow[::3]:
            for z in lowest + (np.arange(0, 0.034, 0.004) if aside == 0 else np.arange(0, 0.034, 0.008)):
                yield np.array([middle[0] - aside * np.sin(yaw), middle[1] + aside * np.cos(yaw), z, yaw, 0.0, 0.0])


def from_side(points: F64, yaws: Sequence[float]) -> Iterable[F64]:
    """Propose palms (6,) beside a standing body, fingers around it, at half its height and above."""
    low, high = points.min(0), points.max(0)
    middle, radius = (low + high) / 2, float(max(high[0] - low[0], high[1] - low[1]) / 2)
    for share in (0.5, 0.6, 0.7):
        z = max(low[2] + share * (high[2] - low[2]), low[2] + 0.048)
        for yaw in yaws:
            way = np.array([-np.sin(yaw), np.cos(yaw)])
            for gap in (0.006, 0.012, 0.02):
                x, y = middle[:2] - way * (radius + 0.013 + gap)
                yield np.array([x, y, z, yaw, np.pi / 2, 0.0])


def world_outline(sim: Simulation, body: int, poses: F64) -> F64:
    """List points (m, 3) of a body's hull in the world."""
    return quaternions.place(poses[body][None], sim.bodies[body].shape.outline)
