"""Stacking by colour, after RGB-Stacking (Lee et al. 2021, arXiv 2110.06192): the red block goes on the blue one. Needs MuJoCo.

The paper's environment is on no package index. Here a suction cup on three slides moves over a table with a red, a green and a
blue block, placed by the seed; each of the five triplets has different block sizes. Only colour determines which block goes on
which, and the green one is a distractor.

An episode has succeeded where the public environment's sparse reward is 1 (`SparseStack`): red lies over blue and touches it,
and touches neither the table nor the gripper.

Differs from RGB-Stacking: boxes instead of extruded shapes, suction instead of a Robotiq gripper, four action values (speeds
along x, y and z, and suction) at 10 steps per second, and a scripted expert.
"""

from typing import Any

import numpy as np
from jaxtyping import Float64

from tapetum.core.errors import BadInput
from tapetum.systems.adapters.worlds.rendering import SimulatorCamera, dim, looking_at, simulator
from tapetum.systems.adapters.worlds.world import Observation

CAMERAS = {"front": ((0.0, 0.0, 0.04), 0.62, 90.0, -35.0), "side": ((0.0, 0.0, 0.04), 0.62, 150.0, -35.0)}
"""Where they look (metres), from how far, azimuth and elevation (degrees)."""
TRIPLETS = {
    "triplet-1": (0.020, 0.020, 0.024),
    "triplet-2": (0.024, 0.020, 0.020),
    "triplet-3": (0.018, 0.022, 0.026),
    "triplet-4": (0.022, 0.026, 0.020),
    "triplet-5": (0.020, 0.024, 0.022),
}
"""Half sides of the red, green and blue block, in metres."""
COLOURS = ("0.85 0.15 0.15 1", "0.2 0.7 0.25 1", "0.15 0.3 0.85 1")
_REACH, _APART, _TABLE = 0.12, 0.08, 0.16
"""How far from the middle blocks and cup go, and blocks lie apart at first."""
_SPEED, _STEPS, _HIGH = 0.25, 50, 0.14
"""Metres a second at action 1; steps of the simulation in one of control; height of the cup between its ways."""
_NEAR, _CUP = 0.012, 0.006
_ALIGNED, _ABOVE, _TOUCHING = 0.05, 0.02, 0.002
"""Metres: how far red may be from blue sideways and must be above it, as in RGB-Stacking; a cup that is nearer touches."""


def _model(sizes: tuple[float, float, float], shift: float) -> str:
    blocks = "".join(
        f'<body name="block{k}" pos="0 0 {side}"><freejoint/><geom name="block{k}" type="box" size="{side} {side} {side}" '
        f'rgba="{colour}" density="500" friction="1 0.01 0.001"/></body>'
        for k, (side, colour) in enumerate(zip(sizes, COLOURS, strict=True))
    )
    slides = "".join(
        f'<joint name="{axis}" type="slide" axis="{direction}" damping="20" range="{low} {high}"/>'
        for axis, direction, low, high in (
            ("x", "1 0 0", -_TABLE, _TABLE),
            ("y", "0 1 0", -_TABLE, _TABLE),
            ("z", "0 0 1", -0.13, 0.03),
        )
    )
    drives = "".join(f'<position joint="{axis}" kp="400" dampratio="1"/>' for axis in "xyz")
    holds = "".join(
        f'<weld name="hold{k}" body1="cup" body2="block{k}" active="false" solref="0.005 1"/>' for k in range(len(sizes))
    )
    checks = (
        f'<asset><texture name="checks" type="2d" builtin="checker" width="64" height="64" rgb1="0.75 0.7 0.62" '
        f'rgb2="{0.75 - 0.5 * shift} {0.7 - 0.3 * shift} {0.62 - 0.5 * shift}"/>'
        '<material name="table" texture="checks" texrepeat="5 5"/></asset>'
    )
    table = 'material="table"' if shift else 'rgba="0.75 0.7 0.62 1"'
    return f"""<mujoco><option timestep="0.002" integrator="implicitfast"/>{checks if shift else ""}
<visual><headlight ambient="0.5 0.5 0.5" diffuse="0.5 0.5 0.5"/></visual>
<worldbody><light pos="0 -0.3 0.6" dir="0 0.4 -1"/>
<geom name="table" type="plane" size="0.3 0.3 0.01" {table} friction="1 0.01 0.001"/>{blocks}
<body name="cup" pos="0 0 {_HIGH}" gravcomp="1">{slides}<geom type="cylinder" size="{_CUP} 0.02" pos="0 0 0.02" mass="0.3"
rgba="0.2 0.2 0.2 1" contype="0" conaffinity="0"/></body></worldbody>
<equality>{holds}</equality><actuator>{drives}</actuator></mujoco>"""


class Stacking:
    """A triplet with one camera; the speeds of the cup along x, y and z, and suction above 0."""

    action_size = 4
    own_size = 4

    def __init__(self, task: str, camera: str | None = None, pixels: int = 64, horizon: int = 100, shift: float = 0.0):
        """Make a task of TRIPLETS; cameras are front (by default) and side.

        With `shift`, 0 to 1, it looks otherwise: a checked table, weaker and yellower light, the camera 8 degrees aside.
        Raises BadInput, or MissingExtra without MuJoCo.
        """
        if not 0 <= shift <= 1:
            raise BadInput(f"shift is {shift}; give 0 to 1")
        if task not in TRIPLETS:
            raise BadInput(f"stacking has no task {task!r}; it has {', '.join(TRIPLETS)}")
        self.name, self.camera, self.horizon = task, camera or "front", horizon
        if self.camera not in CAMERAS:
            raise BadInput(f"{task} has no camera {self.camera!r}; it has {', '.join(CAMERAS)}")
        self._mujoco: Any = simulator("mujoco")
        self.sizes = TRIPLETS[task]
        self._model = self._mujoco.MjModel.from_xml_string(_model(self.sizes, shift))
        dim(self._model, shift)
        self._data = self._mujoco.MjData(self._model)
        self._red = self._model.geom("block0").id
        point, distance, azimuth, elevation = CAMERAS[self.camera]
        self._camera = SimulatorCamera(self._model, pixels, looking_at(point, distance, azimuth + 8 * shift, elevation))

    def reset(self, seed: int) -> Observation:
        """Start the episode of a seed, with blocks apart from each other."""
        generator, data = np.random.default_rng([seed, 0]), self._data
        self._mujoco.mj_resetData(self._model, data)
        places: list[np.ndarray] = []
        while len(places) < len(self.sizes):
            place = generator.uniform(-_REACH, _REACH, 2)
            if all(np.hypot(*(place - other)) > _APART for other in places):
                places.append(place)
        for k, (place, side) in enumerate(zip(places, self.sizes, strict=True)):
            data.joint(self._model.body(f"block{k}").jntadr[0]).qpos[:3] = (*place, side)
        self._goal, self._holding, self._released = np.zeros(3), None, 0
        self._mujoco.mj_forward(self._model, data)
        return self._observe()

    def step(self, action: Float64[np.ndarray, "4"]) -> Observation:
        """Move the cup, each value -1..1, and hold the block that it touches if the last value is above 0."""
        action = np.clip(action, -1.0, 1.0)
        low, high = self._model.jnt_range[-3:].T
        self._goal = np.clip(self._goal + _SPEED * action[:3] * _STEPS * self._model.opt.timestep, low, high)
        self._data.ctrl[:] = self._goal
        self._suck(bool(action[3] > 0))
        for _ in range(_STEPS):
            self._mujoco.mj_step(self._model, self._data)
        return self._observe()

    @property
    def success(self) -> bool:
        """Check whether red lies on blue, and the cup does not touch it."""
        gap = self._cup()[2] - self._block(0)[2] - self.sizes[0]
        return self._stacked() and bool(gap > _TOUCHING)

    def _stacked(self) -> bool:
        """Check whether red was let go, is over blue, and touches it and not the table."""
        way = self._block(0) - self._block(2)
        near = np.hypot(*way[:2]) < _ALIGNED and way[2] > _ABOVE
        touched = {
            self._model.geom(other).name for pair in self._data.contact.geom.tolist() for other in pair if self._red in pair
        }
        return bool(near and self._holding is None and "block2" in touched and "table" not in touched)

    def expert(self) -> Float64[np.ndarray, "4"]:
        """Go over the red block, lift it, carry it over the blue one, put it down, and go up."""
        cup, red, blue = self._cup(), self._block(0), self._block(2)
        if self._stacked():
            return self._towards(np.array([*cup[:2], _HIGH]), -1.0)
        if self._holding == 0:
            gap = red[2] - blue[2] - self.sizes[0] - self.sizes[2]
            goal = cup + np.array([*(blue - red)[:2], -gap])
            if np.hypot(*(red - blue)[:2]) > _NEAR:
                return self._towards(np.array([*goal[:2], _HIGH]), 1.0, level=_HIGH - 0.03)
            return self._towards(goal, -1.0 if gap < 0.004 else 1.0)
        over = np.array([*red[:2], red[2] + self.sizes[0]])
        if np.hypot(*(cup - over)[:2]) > _NEAR / 2:
            return self._towards(np.array([*over[:2], _HIGH]), -1.0)
        return self._towards(over, 1.0 if cup[2] - over[2] < 0.006 else -1.0)

    def close(self) -> None:
        self._camera.close()

    def _towards(self, goal: np.ndarray, suction: float, level: float | None = None) -> Float64[np.ndarray, "4"]:
        """The speeds that move the cup closer; below `level` it first goes up."""
        way = goal - (self._goal + np.array([0.0, 0.0, _HIGH]))
        if level is not None and self._cup()[2] < level:
            way[:2] = 0.0
        speeds = way / (_SPEED * _STEPS * self._model.opt.timestep)
        return np.append(speeds / max(1.0, float(np.abs(speeds).max())), suction)

    def _suck(self, on: bool) -> None:
        if not on and self._holding is not None:
            self._data.eq_active[self._holding] = 0
            self._holding = None
        if not on or self._holding is not None:
            return
        for k, side in enumerate(self.sizes):
            away = self._cup() - self._block(k)
            if np.hypot(*away[:2]) < side and abs(away[2] - side) < 0.008:
                self._weld(k)
                return

    def _weld(self, block: int) -> None:
        cup, body = self._model.body("cup").id, self._model.body(f"block{block}").id
        self._model.eq_data[block, 3:6] = self._data.xpos[body] - self._data.xpos[cup]
        self._model.eq_data[block, 6:10] = self._data.xquat[body]
        self._model.eq_data[block, :3] = 0.0
        self._data.eq_active[block] = 1
        self._holding = block

    def _cup(self) -> Float64[np.ndarray, "3"]:
        return self._data.xpos[self._model.body("cup").id].copy()

    def _block(self, k: int) -> Float64[np.ndarray, "3"]:
        return self._data.xpos[self._model.body(f"block{k}").id].copy()

    def _observe(self) -> Observation:
        own = np.array([*self._cup(), float(self._holding is not None)], np.float32)
        return Observation(self._camera.render(self._data), own)
