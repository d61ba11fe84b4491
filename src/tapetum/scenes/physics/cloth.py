"""What a hand does with a cloth: takes it by its middle, lets it down over a thing, takes it off again."""

import numpy as np

from tapetum.scenes.bodies.shapes import Sheet
from tapetum.scenes.physics import hand_model
from tapetum.scenes.physics.grasp import world_outline
from tapetum.scenes.physics.reach import FIST, Reach
from tapetum.scenes.physics.script import Grip
from tapetum.scenes.types import F64


class ClothHand(Reach):
    """A hand that handles sheets."""

    def cover_with(self, sheet: int, body: int) -> bool:
        """Take a sheet by its middle and let it down over a body."""
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
        """Take a sheet off the body that it covers and let it fall at x, y."""
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
        """Carry the pinched sheet high, lower the pinch to a place, let go."""
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
