"""Tasks of Meta-World (arXiv 1910.10897), version 3, with three upright cameras, scripted experts and a seed for an episode.

The cameras of earlier work on these tasks (left_cap2, right_cap2, top_cap2) exist only in a fork of an old version; left, right
and top here have similar views. Four of the package's own cameras are mounted upside down and are rotated here.

The package draws fifty start states at a time, with different object positions: the episode of seed s uses number s modulo 50
of those drawn with seed s // 50, so no two seeds below a million share one. Proprioception is the first four numbers of the
state: the gripper's position, and how far it is open.
"""

from functools import cache, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float64

from tapetum.core.errors import BadInput
from tapetum.systems.adapters.worlds.rendering import SimulatorCamera, dim, looking_at, simulator
from tapetum.systems.adapters.worlds.world import Observation

CAMERAS = {
    "left": ((0.0, 0.65, 0.12), 1.15, 25.0, -30.0),
    "right": ((0.0, 0.65, 0.12), 1.15, 155.0, -30.0),
    "top": ((0.0, 0.6, 0.1), 1.25, 90.0, -75.0),
}
"""Where they look (metres), from how far, azimuth and elevation (degrees)."""
UPSIDE_DOWN = ("corner", "corner2", "corner3", "corner4")
"""Cameras of the package that are mounted so."""
OWN_SIZE, STARTS = 4, 50


@cache
def tasks() -> tuple[str, ...]:
    """List the names of all tasks, without the version. Raises MissingExtra if Meta-World is not installed."""
    simulator("metaworld")
    from metaworld.policies import ENV_POLICY_MAP  # pyright: ignore[reportMissingImports]

    return tuple(sorted(name.removesuffix("-v3") for name in ENV_POLICY_MAP))


@lru_cache(maxsize=8)
def _starts(task: str, seed: int) -> Any:
    return simulator("metaworld").MT1(f"{task}-v3", seed=seed).train_tasks


class MetaWorld:
    """A task of Meta-World with one camera."""

    action_size = 4
    own_size = OWN_SIZE

    def __init__(self, task: str, camera: str | None = None, pixels: int = 64, horizon: int = 200, shift: float = 0.0):
        """Make a task such as drawer-open.

        The camera is left (by default), right, top, or one of the package's, such as corner2. With `shift`, 0 to 1, the image
        is altered: the light is weaker and of another colour, and left, right and top are moved by up to 8 degrees. The experts
        need up to 156 steps. Raises BadInput for an unknown camera and a horizon above 500, and MissingExtra if Meta-World is
        not installed.
        """
        metaworld = simulator("metaworld")
        from metaworld.policies import ENV_POLICY_MAP  # pyright: ignore[reportMissingImports]

        if not 1 <= horizon <= 500 or not 0 <= shift <= 1:
            raise BadInput(f"an episode of {horizon} steps with shift {shift}; Meta-World plays 1 to 500, shift is 0 to 1")
        self.name, self.camera, self.horizon = task, camera or "left", horizon
        self._env: Any = metaworld.MT1(f"{task}-v3", seed=0).train_classes[f"{task}-v3"]()
        self._policy: Any = ENV_POLICY_MAP[f"{task}-v3"]()
        own = [self._env.model.camera(i).name for i in range(self._env.model.ncam)]
        if self.camera not in (*CAMERAS, *own):
            raise BadInput(f"{task} has no camera {self.camera!r}; it has {', '.join((*CAMERAS, *own))}")
        view: Any = self.camera
        if self.camera in CAMERAS:
            point, distance, azimuth, elevation = CAMERAS[self.camera]
            view = looking_at(point, distance, azimuth + 8 * shift, elevation)
        dim(self._env.model, shift)
        self._camera = SimulatorCamera(self._env.model, pixels, view)
        self._done = False

    def reset(self, seed: int) -> Observation:
        self._env.set_task(_starts(self.name, seed // STARTS)[seed % STARTS])
        self._state, _ = self._env.reset(seed=seed)
        self._done = False
        return self._observe()

    def step(self, action: Float64[np.ndarray, "4"]) -> Observation:
        """Move the gripper (x, y, z) and open or close it, each -1..1."""
        self._state, _, _, _, info = self._env.step(np.clip(action, -1, 1).astype(np.float32))
        self._done = bool(info["success"])
        return self._observe()

    @property
    def success(self) -> bool:
        """Check whether the task is done in this state, by the package's criterion."""
        return self._done

    def expert(self) -> Float64[np.ndarray, "4"]:
        """Compute the action of the package's scripted expert, clipped to -1..1."""
        return np.clip(np.asarray(self._policy.get_action(self._state), np.float64), -1, 1)

    def close(self) -> None:
        self._camera.close()

    def _observe(self) -> Observation:
        frame = self._camera.render(self._env.data)
        if self.camera in UPSIDE_DOWN:
            frame = np.ascontiguousarray(frame[::-1, ::-1])
        return Observation(frame, self._state[:OWN_SIZE].astype(np.float32))
