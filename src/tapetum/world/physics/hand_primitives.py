"""Motion primitives of the hand: find a grasp, reach, grasp, carry, release, drape a cloth. Each simulates what it plans."""

from collections.abc import Sequence

import numpy as np

from tapetum.world.bodies import quaternions
from tapetum.world.bodies.episode import Action
from tapetum.world.bodies.shapes import Sheet
from tapetum.world.physics import hand_model
from tapetum.world.physics.grasp import Grasp, GraspPlanner, from_above, from_side, world_outline
from tapetum.world.physics.script import Grip
from tapetum.world.physics.scripted import ScriptedSimulation
from tapetum.world.types import F64

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
