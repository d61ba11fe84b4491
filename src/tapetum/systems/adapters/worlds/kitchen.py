"""Franka Kitchen (arXiv 1910.11956; gymnasium-robotics 1.4), with a scripted expert of ours, since none ships with it.

The expert moves the hand along waypoints beside handles, by the damped pseudo-inverse of the hand's Jacobian; an integral term
compensates for the arm's weight. It does the paper's five tasks: it opens the sliding door, the hinged door and the microwave,
and turns the light and a knob (the package's top burner) on. Of the two hinged doors it opens the right one, as the package
names it; the earlier work opened the left.

The package starts every episode identically. Here the seed moves the robot by up to 3 cm, since a fixed scene needs no vision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from tapetum.core.errors import BadInput
from tapetum.systems.adapters.worlds.rendering import SimulatorCamera, looking_at, simulator
from tapetum.systems.adapters.worlds.world import Observation

CAMERAS = {
    "left": ((-0.2, 0.5, 2.1), 2.0, 70.0, -30.0),
    "right": ((-0.2, 0.5, 2.1), 2.0, 110.0, -30.0),
    "top": ((-0.2, 0.5, 2.1), 2.0, 90.0, -60.0),
}
"""Where they look (metres), from how far, azimuth and elevation (degrees)."""
OPEN, CLOSED = 1.0, -1.0
MOVED, NEAR_GOAL = 0.03, 0.3
"""How far the robot is moved by a seed, and how near to its goal a thing must be, in metres or radians, as in the package."""
_FASTEST, _TURNING = 2.0, 1.5
"""Speed of a joint at action 1, and of the hand's turning, in radians a second."""
_GAIN, _SUM_GAIN, _SUM_NEAR, _SUM_MOST = 5.0, 2.0, 0.15, 0.25
_PATIENCE = 45
"""Steps after which a waypoint that is not reached is left."""


@dataclass(frozen=True, kw_only=True)
class Waypoint:
    """Where the hand goes next."""

    at: str | None = None
    """A site whose first place is the origin; None: that of the world."""
    offset: tuple[float, float, float]
    grip: float
    near: float = 0.03
    """Distance at which it is reached."""
    hold: int = 0
    """Steps that it takes at least."""
    speed: float = 0.8
    """Metres a second."""
    turn: float = 0.0
    """Angle of the hand about the vertical, in radians."""
    roll: float = 0.0
    """Angle about the way that the fingers point, as a knob is turned."""


def _along_arc(
    at: str,
    hinge: tuple[float, float],
    first: tuple[float, float],
    angles: Sequence[float],
    speed: float = 0.25,
    turn: float = 0.6,
) -> list[Waypoint]:
    """Follow a handle about a vertical hinge, turning the hand by a part of the angle; `first` is where the handle is."""
    radius = np.subtract(first, hinge)
    points = []
    for angle in angles:
        turned = [np.cos(angle) * radius[0] - np.sin(angle) * radius[1], np.sin(angle) * radius[0] + np.cos(angle) * radius[1]]
        x, y = np.add(turned, hinge) - np.array(first)
        points.append(Waypoint(at=at, offset=(x, y, 0.0), grip=CLOSED, near=0.05, speed=speed, turn=turn * angle))
    return points


@dataclass(frozen=True, kw_only=True)
class KitchenTask:
    """What is to be done."""

    key: str
    """The package's name."""
    joints: tuple[int, ...]
    """Numbers in qpos of what is to move."""
    goal: tuple[float, ...]
    path: tuple[Waypoint, ...]


_MICROWAVE, _DOOR, _KNOB = "microhandle_site", "hinge_site2", "knob4_site"
TASKS: dict[str, KitchenTask] = {
    "slide-door": KitchenTask(
        key="slide cabinet",
        joints=(19,),
        goal=(0.37,),
        path=(
            Waypoint(offset=(-0.3, 0.25, 2.3), grip=OPEN, near=0.08),
            Waypoint(at="slide_site", offset=(-0.06, -0.12, 0.0), grip=OPEN),
            Waypoint(at="slide_site", offset=(-0.06, 0.0, 0.0), grip=OPEN),
            Waypoint(at="slide_site", offset=(0.40, 0.0, 0.0), grip=OPEN),
        ),
    ),
    "light": KitchenTask(
        key="light switch",
        joints=(17, 18),
        goal=(-0.69, -0.05),
        path=(
            Waypoint(offset=(-0.3, 0.25, 2.2), grip=CLOSED, near=0.08),
            Waypoint(at="light_site", offset=(0.07, -0.10, 0.0), grip=CLOSED),
            Waypoint(at="light_site", offset=(0.07, 0.0, 0.0), grip=CLOSED),
            Waypoint(at="light_site", offset=(-0.15, 0.0, 0.0), grip=CLOSED),
            Waypoint(at="light_site", offset=(-0.12, -0.15, 0.0), grip=CLOSED),
        ),
    ),
    "knob": KitchenTask(
        key="top burner",
        joints=(15, 16),
        goal=(-0.92, -0.01),
        path=(
            Waypoint(offset=(-0.35, 0.25, 2.3), grip=OPEN, near=0.08),
            Waypoint(at=_KNOB, offset=(0.0, -0.1, 0.0), grip=OPEN, near=0.015),
            Waypoint(at=_KNOB, offset=(0.0, -0.03, 0.0), grip=OPEN),
            Waypoint(at=_KNOB, offset=(0.0, -0.03, 0.0), grip=CLOSED, near=0.1, hold=6),
            Waypoint(at=_KNOB, offset=(0.0, -0.03, 0.0), grip=CLOSED, near=0.1, hold=8, roll=0.45),
            Waypoint(at=_KNOB, offset=(0.0, -0.03, 0.0), grip=CLOSED, near=0.1, hold=12, roll=0.9),
            Waypoint(at=_KNOB, offset=(0.0, -0.03, 0.0), grip=OPEN, near=0.1, hold=4, roll=0.9),
            Waypoint(at=_KNOB, offset=(0.0, -0.15, 0.0), grip=OPEN, roll=0.9),
        ),
    ),
    "hinge-door": KitchenTask(
        key="hinge cabinet",
        joints=(20, 21),
        goal=(0.0, 1.45),
        path=(
            Waypoint(offset=(-0.45, 0.25, 2.45), grip=OPEN, near=0.08),
            Waypoint(at=_DOOR, offset=(0.0, -0.12, 0.0), grip=OPEN, near=0.02),
            Waypoint(at=_DOOR, offset=(0.0, 0.02, 0.0), grip=OPEN, near=0.02),
            Waypoint(at=_DOOR, offset=(0.0, 0.02, 0.0), grip=CLOSED, near=0.1, hold=8),
            *_along_arc(_DOOR, (-0.224, 0.71), (-0.526, 0.583), np.arange(0.15, 1.36, 0.15).tolist(), speed=0.8, turn=0.0),
        ),
    ),
    "microwave": KitchenTask(
        key="microwave",
        joints=(22,),
        goal=(-0.75,),
        path=(
            Waypoint(offset=(-0.45, 0.2, 1.95), grip=OPEN, near=0.08),
            Waypoint(at=_MICROWAVE, offset=(0.01, -0.12, 0.0), grip=OPEN, near=0.02),
            Waypoint(at=_MICROWAVE, offset=(0.01, 0.02, 0.0), grip=OPEN, near=0.02, speed=0.3),
            Waypoint(at=_MICROWAVE, offset=(0.01, 0.02, 0.0), grip=CLOSED, near=0.1, hold=5, speed=0.3),
            *_along_arc(_MICROWAVE, (-1.128, 0.455), (-0.642, 0.493), (-0.15, -0.3, -0.45, -0.6, -0.75, -0.85)),
        ),
    ),
}


class Kitchen:
    """A task of Franka Kitchen with one camera; nine numbers of action, the speeds of joints and fingers."""

    action_size = 9
    own_size = 9

    def __init__(self, task: str, camera: str | None = None, pixels: int = 64, horizon: int = 220):
        """Make the task; cameras are left (by default), right and top. Raises BadInput for others, MissingExtra without it."""
        mujoco = simulator("mujoco")
        robotics = simulator("gymnasium_robotics")
        import gymnasium  # pyright: ignore[reportMissingImports]

        if task not in TASKS:
            raise BadInput(f"the kitchen has no task {task!r}; it has {', '.join(TASKS)}")
        self.name, self.camera, self.horizon = task, camera or "left", horizon
        if self.camera not in CAMERAS:
            raise BadInput(f"{task} has no camera {self.camera!r}; it has {', '.join(CAMERAS)}")
        self.task, self._mujoco = TASKS[task], mujoco
        gymnasium.register_envs(robotics)
        whole: Any = gymnasium.make("FrankaKitchen-v1", tasks_to_complete=[self.task.key]).unwrapped
        self._robot = whole.robot_env
        self._model, self._data = self._robot.model, self._robot.data
        self._hand = self._model.site("end_effector").id
        self._base = self._model.body("panda0_link0").id
        self._stands = self._model.body_pos[self._base].copy()
        self._robot.reset(seed=0)
        self._sites = {self._model.site(i).name: self._data.site_xpos[i].copy() for i in range(self._model.nsite)}
        self._posture = self._data.site_xmat[self._hand].reshape(3, 3).copy()
        self._camera = SimulatorCamera(self._model, pixels, looking_at(*CAMERAS[self.camera]))

    def reset(self, seed: int) -> Observation:
        """Start the episode of a seed, which sets the robot's position."""
        generator = np.random.default_rng(seed)
        self._model.body_pos[self._base] = self._stands + np.array([*generator.uniform(-MOVED, MOVED, 2), 0.0])
        self._robot.reset(seed=seed)  # after the robot was moved: MuJoCo's solver starts from what it finds here
        self._next, self._waited, self._sum = 0, 0, np.zeros(3)
        return self._observe()

    def step(self, action: Float64[np.ndarray, "9"]) -> Observation:
        """Move seven joints and two fingers, each -1..1."""
        self._robot.step(np.clip(action, -1.0, 1.0))
        return self._observe()

    @property
    def success(self) -> bool:
        """Check whether the object to move is near its goal, by the package's criterion."""
        return bool(np.linalg.norm(self._data.qpos[list(self.task.joints)] - self.task.goal) < NEAR_GOAL)

    def expert(self) -> Float64[np.ndarray, "9"]:
        """Go to the next waypoint; stay at the last."""
        path = self.task.path
        target = self._place(path[self._next])
        away = np.linalg.norm(target - self._data.site_xpos[self._hand])
        if (
            self._next + 1 < len(path)
            and self._waited >= path[self._next].hold
            and (away < path[self._next].near or self._waited > _PATIENCE)
        ):
            self._next, self._waited = self._next + 1, 0
        self._waited += 1
        return self._towards(path[self._next])

    def close(self) -> None:
        self._camera.close()

    def _place(self, point: Waypoint) -> Float64[np.ndarray, "3"]:
        return np.array(point.offset) + (0.0 if point.at is None else self._sites[point.at])

    def _towards(self, point: Waypoint) -> Float64[np.ndarray, "9"]:
        """The joint speeds that move the hand towards a position and its posture."""
        data, model = self._data, self._model
        moving, turning = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        self._mujoco.mj_jacSite(model, data, moving, turning, self._hand)
        error = self._place(point) - data.site_xpos[self._hand]
        if np.linalg.norm(error) < _SUM_NEAR:
            self._sum = np.clip(self._sum + error, -_SUM_MOST, _SUM_MOST)
        speed = _limited(_GAIN * error + _SUM_GAIN * self._sum, point.speed)
        goal = _rotation(point.turn, 2) @ _rotation(point.roll, 1) @ self._posture
        left = goal @ data.site_xmat[self._hand].reshape(3, 3).T
        axis = 0.5 * np.array([left[2, 1] - left[1, 2], left[0, 2] - left[2, 0], left[1, 0] - left[0, 1]])
        weights = np.array([1.0, 1.0, 1.0, 0.3, 0.3, 0.3])
        jacobian = weights[:, None] * np.concatenate([moving, turning])[:, :7]
        velocity = weights * np.concatenate([speed, _limited(_GAIN * axis, _TURNING)])
        joints = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(6), velocity) / _FASTEST
        return np.concatenate([joints / max(1.0, np.abs(joints).max()), [point.grip] * 2])

    def _observe(self) -> Observation:
        return Observation(self._camera.render(self._data), self._data.qpos[:9].astype(np.float32))


def _rotation(angle: float, axis: int) -> Float64[np.ndarray, "3 3"]:
    cos, sin = np.cos(angle), np.sin(angle)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[one, one] = matrix[other, other] = cos
    matrix[one, other], matrix[other, one] = -sin, sin
    return matrix


def _limited(vector: Float64[np.ndarray, "3"], most: float) -> Float64[np.ndarray, "3"]:
    return vector * min(1.0, most / max(float(np.linalg.norm(vector)), 1e-9))
