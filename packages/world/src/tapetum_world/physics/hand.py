"""Actions of the hand: pick, place, push, put into, take out, cover, uncover, shuffle, spin, pour, drop, show.

Each method plans moves from the current state, simulates them and records an `Action`. It returns False without moving if it
finds no good grasp, and False after moving if the hand closed on nothing.
"""

import numpy as np

from tapetum.tracks.facets.types import F64
from tapetum_world.bodies.shapes import Cup
from tapetum_world.physics import hand_model
from tapetum_world.physics.hand_primitives import FIST, ClothHand, nearest, world_outline


class Hand(ClothHand):
    """Hand of a scripted simulation, with all its actions."""

    def pick(self, body: int, *, verb: str = "pick", target: int = -1, side: bool = False, lift: float = 0.06) -> bool:
        """Pick up a body."""
        start = self.stage.seconds
        grasp = self.grasp(body, side=side)
        if grasp is None or not self.seize(body, grasp):
            return False
        palm = self.stage.goal[:6].copy()
        palm[2] += lift
        self.stage.run_to(self.stage.plan_straight(palm, self.stage.now, speed=0.4))
        self.record(verb, body, start, target)
        return True

    def place(self, x: float, y: float, *, height: float | None = None, target: int = -1) -> bool:
        """Place the held body at x, y, on the support or at a height."""
        stage = self.stage
        body, start = stage.sim.carried, stage.seconds
        assert body is not None
        z = (self.support if height is None else height) + stage.hangs() + 0.0008
        self.carry(np.array([x, y, z + 0.03]))
        stage.wait_until_still((x, y))
        self.lower(np.array([x, y, z]))
        self.let_go()
        self.record("place", body, start, target)
        return True

    def put_into(self, hollow: int) -> bool:
        """Release the held body above a hollow one, so that it falls in."""
        stage = self.stage
        body, start = stage.sim.carried, stage.seconds
        assert body is not None
        poses = stage.sim.poses_now()
        points = world_outline(stage.sim, hollow, poses)
        middle = (points.min(0) + points.max(0)) / 2
        fingers = stage.palm_for(np.zeros(3))[2] * -1
        lowest = max(stage.hangs() - 0.02, 0.106 - fingers if fingers > 0 else 0.0)
        z = float(points[:, 2].max()) + max(lowest, 0.0) + 0.012
        self.carry(np.array([middle[0], middle[1], z + 0.02]))
        self.lower(np.array([middle[0], middle[1], z]))
        self.let_go()
        self.record("put-into", body, start, hollow)
        return True

    def drop(self, x: float, y: float, height: float) -> bool:
        """Drop the held body at x, y from a height above the support."""
        stage = self.stage
        body, start = stage.sim.carried, stage.seconds
        assert body is not None
        self.carry(np.array([x, y, self.support + height + stage.hangs()]))
        self.let_go(rise=False)
        self.record("drop", body, start)
        return True

    def take_out(self, body: int, hollow: int) -> bool:
        """Lift a body out of a hollow one."""
        return self.pick(body, verb="take-out", target=hollow, lift=0.12)

    def cover(self, cup: int, body: int) -> bool:
        """Cover a body with an upturned cup."""
        start = self.stage.seconds
        grasp = self.grasp(cup)
        if grasp is None or not self.seize(cup, grasp):
            return False
        spot = self.stage.sim.poses_now()[body, :2]
        self.place(spot[0], spot[1])
        self.stage.actions.pop()
        self.record("cover", body, start, cup)
        return True

    def uncover(self, cup: int, body: int, x: float, y: float) -> bool:
        """Lift an upturned cup off a body and put it down at x, y."""
        start = self.stage.seconds
        if not self.pick(cup):
            return False
        self.stage.actions.pop()
        self.place(x, y)
        self.stage.actions.pop()
        self.record("uncover", body, start, cup)
        return True

    def slide(self, body: int, x: float, y: float, *, bulge: float = 0.0, verb: str = "shuffle", target: int = -1) -> bool:
        """Slide a body, held from above, over the support to x, y, in an arc that is `bulge` metres off in y."""
        stage = self.stage
        start = stage.seconds
        grasp = self.grasp(body, yaws=[nearest(0.0, stage.goal[3]), nearest(np.pi / 2, stage.goal[3])])
        if grasp is None or not self.seize(body, grasp):
            return False
        at = stage.sim.poses_now()[body, :2]
        goal = stage.goal[:6].copy()
        total = stage.steps(0.3 + (abs(x - at[0]) + 2 * abs(bulge)) / 0.5)
        first, half = stage.now, total // 2
        stage.plan(0, goal[0] + x - at[0], first + int(total * 0.12), first + int(total * 0.88))
        if bulge:
            stage.plan(1, goal[1] + bulge, first, first + half)
        stage.plan(1, goal[1] + y - at[1], first + (half if bulge else 0), first + total)
        stage.run_to(first + total)
        self.let_go()
        self.record(verb, body, start, target)
        return True

    def push(self, body: int, angle: float, far: float, *, height: float | None = None, seconds: float | None = None) -> bool:
        """Push a body with the closed hand in a direction (radians from x) for some metres; `height`: of the fingertips.

        If something is in the hand's place, another direction is used.
        """
        stage = self.stage
        start = stage.seconds
        if not stage.wait_until_still(body):
            return False
        for turned in (0.0, 0.4, -0.4, 0.8, -0.8, 1.2, -1.2, 2.0, -2.0, 3.1):
            begin = self._push_from(body, angle + turned, height)
            if begin is not None:
                break
        else:
            return False
        hover = begin + np.array([0, 0, 0.1, 0, 0, 0])
        end = stage.plan_over(hover, stage.now)
        stage.plan_fingers(FIST, stage.now, (end - stage.now) * stage.step * 0.9)
        stage.run_to(end)
        begin = self._push_from(body, angle + turned, height) if stage.wait_until_still(body) else None
        if begin is None or np.linalg.norm(begin - hover) > 0.25:
            return False
        stage.run_to(stage.plan_over(begin, stage.now) if np.linalg.norm((begin - hover)[:2]) > 0.01
                     else stage.plan_straight(begin, stage.now, speed=0.45))  # fmt: skip
        way = np.array([np.cos(angle + turned), np.sin(angle + turned)])
        there = begin.copy()
        there[:2] += way * (far + 0.03)
        stage.run_to(stage.plan_straight(there, stage.now, seconds if seconds is not None else 0.45 + far / 0.35))
        self.record("push", body, start)
        self.rise()
        return True

    def _push_from(self, body: int, angle: float, height: float | None) -> F64 | None:
        """Find the palm (6,) from which the closed hand pushes a body; None if something blocks its way down."""
        stage = self.stage
        points = world_outline(stage.sim, body, stage.sim.poses_now())
        way = np.array([np.cos(angle), np.sin(angle)])
        middle = (points.min(0) + points.max(0)) / 2
        back = float((points[:, :2] @ way).min() - middle[:2] @ way)
        top = float(points[:, 2].max()) - self.support
        tip = -hand_model.tips(float(FIST[1]))[1] + 0.0085
        low = max(0.004, min(0.3 * top, 0.03)) if height is None else height
        spot = middle[:2] + way * (back - 0.055)
        palm = np.array([*spot, self.support + low + tip, nearest(angle, stage.goal[3], np.pi), 0, 0])
        self.feeler.look()
        for up in (0.0, 0.03, 0.06):
            fingers, flat, rest = self.feeler.gaps(palm + np.array([0, 0, up, 0, 0, 0]), FIST, body)
            if min(float(fingers.min()), flat, rest) < 0.0012:
                return None
        return palm

    def spin(self, body: int, turns_per_second: float) -> bool:
        """Spin a body: grasp it from above, twist it and release it while it rotates."""
        stage = self.stage
        start = stage.seconds
        grasp = self.grasp(body)
        if grasp is None or not self.seize(body, grasp):
            return False
        twist = np.copysign(2.4, turns_per_second)
        seconds = 1.875 * 2.4 / (2 * np.pi * abs(turns_per_second))
        first = stage.now
        total = stage.steps(seconds)
        stage.plan(3, stage.goal[3] + twist, first, first + total)
        stage.run_to(first + total // 2)
        assert self.grip
        self.grip.off = stage.now + 1
        stage.plan_fingers(np.maximum(grasp.open - 0.1, 0.0), stage.now + 1, 0.12)
        stage.run_to(max(first + total, stage.now + stage.steps(0.13)))
        self.grip = None
        self.rise()
        self.record("spin", body, start)
        return True

    def pour(self, cup: int, hollow: int, *, side: int = 1) -> bool:
        """Pour from a standing cup, grasped from the side, into a hollow body, then bring it upright; it stays in the hand."""
        stage = self.stage
        start = stage.seconds
        if stage.sim.carried != cup:
            grasp = self.grasp(cup, side=True)
            if grasp is None or not self.seize(cup, grasp):
                return False
        shape = stage.bodies[cup].shape
        assert isinstance(shape, Cup)
        points = world_outline(stage.sim, hollow, stage.sim.poses_now())
        rim, middle = float(points[:, 2].max()), (points.min(0) + points.max(0)) / 2
        tilt = 2.15 * side
        # When things flow, the lip (the top edge on the low side) is here, seen from the cup's middle: out to the side, up.
        # A positive roll leans the cup towards -x of the palm.
        yaw = stage.goal[3]
        across = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        lean = 1.9
        lip = np.array([np.sin(lean), np.cos(lean)]) * (shape.height / 2)
        lip += np.array([np.cos(lean), -np.sin(lean)]) * shape.radius_top
        spot = middle + across * (side * float(lip[0]))
        z = rim + 0.02 + max(float(-lip[1]), shape.radius_bottom + 0.02)
        above = np.array([spot[0], spot[1], max(z, rim + shape.height / 2 + 0.03)])
        self.carry(above, speed=0.4)
        for c, value in enumerate(stage.palm_for(np.array([spot[0], spot[1], z]))[:3]):
            stage.plan(c, value, stage.now, stage.now + stage.steps(0.5))
        end = stage.now + stage.steps(1.3)
        self._roll(tilt, np.array([spot[0], spot[1], z]), stage.now, end)
        stage.run_to(end + stage.steps(0.5))
        again = stage.now + stage.steps(0.8)
        self._roll(0.0, above, stage.now, again)
        stage.run_to(again)
        self.record("pour", cup, start, hollow)
        return True

    def _roll(self, roll: float, origin: F64, start: int, end: int) -> None:
        """Roll the palm about its own axis, which nearly passes through the middle of the held body."""
        stage = self.stage
        turn = np.array([stage.goal[3], stage.goal[4], roll])
        palm = stage.palm_for(origin, turn)
        for c in range(6):
            stage.plan(c, palm[c], start, end)

    def show(self, body: int, towards: F64) -> bool:
        """Lift a body to a position (3,) near the camera, turn it, and put it back."""
        stage = self.stage
        start, spot = stage.seconds, stage.sim.poses_now()[body].copy()
        if stage.sim.carried != body and not self.pick(body):
            return False
        if stage.actions and stage.actions[-1].verb == "pick":
            stage.actions.pop()
        self.carry(np.asarray(towards, float))
        for turn in (0.7, -0.5):
            palm = stage.palm_for(np.asarray(towards, float), stage.goal[3:6] + np.array([turn, 0, 0]))
            stage.run_to(stage.plan_straight(palm, stage.now, 0.6))
        self.record("show", body, start)
        self.place(spot[0], spot[1], height=float(self.support))
        return True
