"""Motion primitives of the hand: find a grasp, reach, grasp, carry, release, drape a cloth. Each simulates what it plans.

A grasp is found by trying palm poses around a body in a copy of the model and measuring distances to it.
The copy's hand has a wide margin, so MuJoCo's collision step reports distances before contact. A grasp is good if the thumb and
a finger touch the body, the closed fingers touch nothing else, and the open hand is clear on its whole way in.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tapetum.tracks.facets.types import F64, I64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Action
from tapetum_world.bodies.shapes import Sheet
from tapetum_world.physics import hand_model
from tapetum_world.physics.hand_model import Grip
from tapetum_world.physics.scripted import ScriptedSimulation
from tapetum_world.physics.simulate import Simulation

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


RELAXED = np.array([0.3, 0.3, 0.3, 0.3])
FIST = np.full(4, hand_model.PINCH)
BACK_OFF = 0.09
"""Metres before a grasp at which the hand looks again."""


class HandPrimitives:
    """A hand that reaches, grasps and carries; `home`: the palm (6,) where it waits, out of view."""

    def __init__(self, stage: ScriptedSimulation, home: F64, support: float = 0.0):
        self.stage, self.home, self.support = stage, np.asarray(home, float), support
        self.feeler = GraspPlanner(stage.sim)
        self.grip: Grip | None = None
        self.roomy = RELAXED
        """(4,) how far fingers are shut with some room around what they hold: they open no further to let it go."""

    def grasp(self, body: int, *, side: bool = False, yaws: Sequence[float] | None = None) -> Grasp | None:
        """Find a grasp of a body in its current pose."""
        if not self.stage.wait_until_still(body):
            return None
        points = world_outline(self.stage.sim, body, self.stage.sim.poses_now())
        near = float(self.stage.goal[3])
        if side:
            sides = list(yaws if yaws is not None else near + np.array([0, 0.3, -0.3, 0.6, -0.6, 0.9, -0.9, 1.3, -1.3]))
            good = self.feeler.find(body, from_side(points, sides), self._arm_is_clear)
            return good or self.feeler.find(body, from_side(points, sides))
        turned = sorted((near + np.arange(-6, 6) * (np.pi / 12)), key=lambda y: abs(y - near))
        return self.feeler.find(
            body, from_above(points, list(yaws) if yaws is not None else turned, support=self.support), self._arm_is_clear
        )

    def _arm_is_clear(self, palm: F64, body: int) -> bool:
        """Check whether the arm behind a palm (6,) stays out of other bodies, there and on the way in."""
        stage = self.stage
        assert stage.script
        turn = hand_model.palm_quaternion(*palm[3:6])
        back = quaternions.rotate(turn, np.array([0.0, 0.0, 1.0])) * BACK_OFF
        palms = np.stack([np.concatenate([palm[:3] + share * back, turn]) for share in (0.0, 0.5, 1.0)])
        forearm, _ = hand_model.arm(palms, np.array(stage.script.shoulder))
        points = quaternions.place(
            forearm[:, None], np.linspace(-0.5, 0.4, 13)[:, None] * np.array([0, 0, hand_model.BONES[1]])
        )
        poses = stage.sim.poses_now()
        return all(
            other.shape.distance(np.moveaxis(quaternions.unplace(poses[j][None, None], points), -1, 0)).min() > 0.03
            for j, other in enumerate(stage.bodies)
            if j not in (body, stage.sim.carried) and other.group != "hand"
        )

    def reaches(self, x: float, y: float) -> bool:
        """Check whether the arm stays clear of other bodies when the held body is put down at x, y."""
        body = self.stage.sim.carried
        if body is None:
            return True
        return self._arm_is_clear(self.stage.palm_for(np.array([x, y, self.support + self.stage.hangs()])), body)

    def seize(self, body: int, grasp: Grasp) -> bool:
        """Move to a grasp, check that the body is still there, close the fingers and grip."""
        stage = self.stage
        self.roomy = grasp.open
        before = grasp.palm.copy()
        before[:3] -= BACK_OFF * grasp.approach
        start, expected = stage.now, stage.sim.poses_now()[body]
        end = stage.plan_over(before, start)
        stage.plan_fingers(grasp.open, start, max((end - start) * stage.step * 0.8, 0.1))
        stage.run_to(end)
        if not stage.wait_until_still(body) or np.linalg.norm(stage.sim.poses_now()[body, :3] - expected[:3]) > 0.006:
            return False
        end = stage.plan_straight(grasp.palm, stage.now, speed=0.42)
        end = stage.plan_fingers(grasp.shut, end, 0.22)
        poses = stage.sim.poses_now()
        palm = np.concatenate([grasp.palm[:3], hand_model.palm_quaternion(*grasp.palm[3:6])])
        self.grip = Grip(
            body=stage.bodies[body].name,
            on=end,
            expected=quaternions.relative(palm, poses[body]).tolist(),
            action=len(stage.actions),
        )
        assert stage.script
        stage.script.grips.append(self.grip)
        stage.run_to(end + stage.steps(0.05))
        if stage.sim.carried == body:
            return True
        self.grip = None
        self.rise(grasp.open)
        return False

    def let_go(self, rise: bool = True) -> None:
        """Open the fingers and back off opposite to their direction."""
        stage = self.stage
        assert self.grip
        self.grip.off = stage.now + 1
        end = stage.plan_fingers(np.minimum(self.roomy, stage.goal[6:10]), stage.now + 1, 0.18)
        stage.run_to(end)
        self.grip = None
        if rise:
            self.rise()

    def rise(self, closure: F64 | None = None) -> None:
        """Move back along the fingers."""
        stage = self.stage
        way = quaternions.rotate(hand_model.palm_quaternion(*stage.goal[3:6]), np.array([0.0, 0.0, -1.0]))
        palm = stage.goal[:6].copy()
        palm[:3] -= way * BACK_OFF
        end = stage.plan_straight(palm, stage.now)
        if closure is not None:
            stage.plan_fingers(closure, stage.now, 0.2)
        stage.run_to(end)

    def rest(self) -> None:
        """Move to the rest position."""
        stage = self.stage
        end = stage.plan_over(self.home, stage.now, speed=0.8)
        stage.plan_fingers(RELAXED, stage.now, (end - stage.now) * stage.step)
        stage.run_to(end)

    def record(self, verb: str, body: int, start: float, target: int = -1) -> None:
        """Record an action that ends now."""
        action = Action(verb=verb, body=body, target=target, start_s=start, end_s=self.stage.seconds)
        self.stage.actions.append(action)

    def carry(self, origin: F64, turn: F64 | None = None, speed: float = 0.5) -> None:
        """Move the held body's origin to a position, over everything in between."""
        stage = self.stage
        stage.run_to(stage.plan_over(stage.palm_for(origin, turn), stage.now, speed=speed))

    def lower(self, origin: F64, speed: float = 0.3) -> None:
        """Move the held body's origin straight to a position."""
        stage = self.stage
        stage.run_to(stage.plan_straight(stage.palm_for(origin), stage.now, speed=speed))


def nearest(angle: float, to: float, period: float = np.pi) -> float:
    """Add periods to an angle to bring it nearest to another."""
    return float(angle + period * np.round((to - angle) / period))


class ClothHand(HandPrimitives):
    """A hand that handles sheets."""

    def cover_with(self, sheet: int, body: int) -> bool:
        """Drape a sheet, held in its middle, over a body."""
        start = self.stage.seconds
        shape = self.stage.bodies[sheet].shape
        assert isinstance(shape, Sheet)
        self._pinch(sheet, self.stage.sim.start[sheet, :3], _middle(shape))
        points = world_outline(self.stage.sim, body, self.stage.sim.poses_now())
        middle = (points.min(0) + points.max(0)) / 2
        self._drop_sheet(np.array([middle[0], middle[1], points[:, 2].max() + 0.017]), float(max(shape.size)) * 0.55)
        self.record("cover", body, start, sheet)
        return True

    def uncover_from(self, sheet: int, body: int, x: float, y: float) -> bool:
        """Lift a sheet off the body that it covers and drop it at x, y."""
        start = self.stage.seconds
        shape = self.stage.bodies[sheet].shape
        assert isinstance(shape, Sheet)
        points = world_outline(self.stage.sim, body, self.stage.sim.poses_now())
        middle = (points.min(0) + points.max(0)) / 2
        self._pinch(sheet, np.array([middle[0], middle[1], points[:, 2].max() + 0.014]), _middle(shape))
        self._drop_sheet(np.array([x, y, self.support + 0.02]), float(max(shape.size)) * 0.6)
        self.record("uncover", body, start, sheet)
        return True

    def _pinch(self, sheet: int, spot: F64, points: list[int]) -> None:
        stage = self.stage
        low = hand_model.tips(0.48)[1]
        z = max(spot[2] - hand_model.pinch_point()[2], self.support - low + 0.011)
        palm = np.array([spot[0], spot[1], z, stage.goal[3], 0.0, 0.0])
        end = stage.plan_over(palm + np.array([0, 0, 0.06, 0, 0, 0]), stage.now)
        stage.plan_fingers(np.full(4, 0.48), stage.now, (end - stage.now) * stage.step * 0.8)
        end = stage.plan_fingers(FIST, stage.plan_straight(palm, end, speed=0.3), 0.2)
        self.grip = Grip(body=stage.bodies[sheet].name, on=end, expected=[0.0] * 7, action=len(stage.actions), points=points)
        assert stage.script
        stage.script.grips.append(self.grip)
        self.roomy = np.full(4, 0.4)
        stage.run_to(end + stage.steps(0.05))

    def _drop_sheet(self, spot: F64, rise: float) -> None:
        """Carry the pinched sheet high, lower the pinch to a position, and release it."""
        stage = self.stage
        palm = stage.goal[:6].copy()
        palm[:3] = spot - hand_model.pinch_point()
        high = max(float(stage.goal[2]), palm[2]) + rise
        up = stage.goal[:6].copy()
        up[2] = high
        end = stage.plan_straight(up, stage.now)
        across = palm.copy()
        across[2] = high
        end = stage.plan_straight(palm, stage.plan_straight(across, end), speed=0.4)
        stage.run_to(end)
        self.let_go()


def _middle(shape: Sheet) -> list[int]:
    """Numbers of the points around the middle of a sheet."""
    rows, columns = shape.grid
    r, c = rows // 2, columns // 2
    return [i * columns + j for i in range(r - 2, r + 2) for j in range(c - 2, c + 2)]
