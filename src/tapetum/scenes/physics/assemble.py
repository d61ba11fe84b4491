"""Assembly of an `Episode` from a simulation that has run; its settings hold all that a second run needs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tapetum.scenes.bodies.episode import Body, Camera, Episode, Light
from tapetum.scenes.bodies.shapes import Sheet
from tapetum.scenes.physics.containment import containment
from tapetum.scenes.physics.hand_model import arm
from tapetum.scenes.physics.model import mujoco
from tapetum.scenes.physics.scripted import Stage
from tapetum.scenes.physics.sheets import drape
from tapetum.scenes.types import F64

STEPS_A_SECOND = 720
MOMENTS_A_SECOND = 240


def fineness(rate: float, moments_per_frame: int | None) -> tuple[int, int, float]:
    """Choose moments per frame, steps per moment and seconds per step for a frame rate."""
    moments = moments_per_frame or max(1, round(MOMENTS_A_SECOND / rate))
    steps = max(1, round(STEPS_A_SECOND / (rate * moments)))
    return moments, steps, 1.0 / (rate * moments * steps)


def episode_of(
    stage: Stage,
    *,
    seed: int,
    size: tuple[int, int],
    rate: float,
    frames: int,
    moments_per_frame: int,
    camera: Camera,
    light: Light,
    velocities: F64,
    story: str,
    sheets: Mapping[int, F64] | None = None,
    extra: dict[str, Any] | None = None,
) -> Episode:
    """Take what a closed stage recorded and make an episode of it; `sheets`: where their points start, if not flat."""
    poses, contacts, energy = stage.sim.take()
    script = stage.script
    if stage.hand and script:
        forearm, upper = arm(poses[:, stage.hand.palm], np.array(script.shoulder))
        poses[:, stage.hand.forearm], poses[:, stage.hand.upper] = forearm, upper
    draped = drape(
        stage.bodies, poses, script, stage.hand, per_moment=stage.sim.per_moment, step=stage.step, start=sheets or {}
    )
    return Episode(
        seed=seed,
        size=size,
        rate=rate,
        frames=frames,
        moments_per_frame=moments_per_frame,
        bodies=tuple(stage.bodies),
        poses=poses,
        sheets=draped,
        camera=camera,
        light=light,
        contacts=contacts,
        actions=tuple(stage.actions),
        inside=containment(stage.bodies, poses, draped),
        energy=energy,
        settings={
            "story": story,
            "mujoco": str(mujoco().__version__),
            "steps_per_moment": stage.sim.per_moment,
            "velocities": np.asarray(velocities).tolist(),
            "script": script.to_json() if script else None,
            **(extra or {}),
        },
    )


def moment_times(rate: float, frames: int, moments_per_frame: int) -> F64:
    """List the times (k,) of all moments: one frame's worth after the last frame's start, for blur and sound."""
    return np.arange(frames * moments_per_frame + 1) / (rate * moments_per_frame)


def movable(bodies: Sequence[Body]) -> list[int]:
    """List the numbers of rigid bodies that move by themselves."""
    return [j for j, b in enumerate(bodies) if not b.fixed and b.group != "hand" and not isinstance(b.shape, Sheet)]
