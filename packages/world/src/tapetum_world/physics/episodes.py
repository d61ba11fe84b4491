"""Simulation of an episode from a seed, and resimulation with a change."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F64
from tapetum_world.bodies.episode import Action, Camera, Episode, Light
from tapetum_world.physics.builder import Act, SceneBuilder, draw_camera, draw_light
from tapetum_world.physics.hand import Hand
from tapetum_world.physics.hand_model import HandScript, arm
from tapetum_world.physics.model import mujoco
from tapetum_world.physics.scripted import EpisodeEnd, ScriptedSimulation, containment
from tapetum_world.physics.sheets import drape
from tapetum_world.physics.stories import STORIES

TRIES = 6
OVERLAP = 0.0025
"""Metres that bodies may be in each other at the start."""


def make_episode(
    seed: int, story: str | None = None, *, seconds: float = 8.0, size: tuple[int, int] = (256, 256), frame_rate: float = 24.0
) -> Episode:
    """Simulate the episode of a seed: identical bit for bit at every call on one platform.

    `story`: one of `STORIES`, or None to draw one. All poses stay in memory: about 0.3 MB a second with a hand and ten objects.
    Raises BadInput.
    """
    frames = round(seconds * frame_rate) if frame_rate > 0 else 0
    if frames < 1 or min(size) < 1:
        raise BadInput(
            f"an episode of {seconds} s at {frame_rate} frames per second and {size} pixels; wanted one frame or more"
        )
    if story is not None and story not in STORIES:
        raise BadInput(f"there is no story {story!r}; take one of {', '.join(STORIES)}")
    names = list(STORIES)
    chosen = story or names[int(np.random.default_rng((seed, 77)).integers(len(names)))]
    per_frame, per_moment, step = fineness(frame_rate)
    for attempt in range(TRIES):
        key = (seed, attempt, *chosen.encode())
        rng = np.random.default_rng(key)
        scene = SceneBuilder(rng)
        act = STORIES[chosen](scene)
        home = scene.give_hand()
        velocities = np.stack(scene.velocities)
        stage = ScriptedSimulation(
            scene.bodies, np.stack(scene.poses), velocities, step=step, steps_per_moment=per_moment, script=scene.script
        )
        if stage.overlap() <= OVERLAP:
            break
    else:
        raise BadInput(f"story {chosen!r} found no start for seed {seed} in {TRIES} tries; take another seed")
    _act_until(frames * per_frame * per_moment, stage, Hand(stage, home), act, float(rng.uniform(0.1, 0.5)))
    stage.close()
    times = moment_times(frame_rate, frames, per_frame)
    views = np.random.default_rng((*key, 1))
    whole = frames / frame_rate
    return episode_of(
        stage,
        seed=seed,
        size=size,
        frame_rate=frame_rate,
        frames=frames,
        moments_per_frame=per_frame,
        camera=draw_camera(views, times, size, whole=whole, azimuth=scene.azimuth, target=scene.target, **scene.view),
        light=draw_light(views, times),
        velocities=velocities,
        story=chosen,
    )


def _act_until(end: int, stage: ScriptedSimulation, hand: Hand, act: Act, pause: float) -> None:
    """Let the hand act until step `end`, when the episode's time is over."""
    stage.end = end
    try:
        stage.wait(pause)
        idle = 0
        while stage.sim.carried is not None or stage.now < end:
            before = stage.now
            act(hand)
            idle = idle + 1 if stage.now == before else 0
            if idle > 3:
                hand.rest()
                stage.wait(0.5)
    except EpisodeEnd:
        pass


def resimulate(episode: Episode, *, without: str | int | None = None) -> Episode:
    """Rerun an episode from the same start and hand script, without one body (its name or number) if one is named.

    Bodies keep their names, not their numbers. The hand makes the same moves at the same times and holds whatever it finds
    where it expects it; actions whose body or target is missing, or whose grip failed, are omitted. Without a change, the same
    episode results, bit for bit.
    """
    if "steps_per_moment" not in episode.settings or "velocities" not in episode.settings:
        raise BadInput("this episode was not simulated (its settings lack a start); make it with make_episode")
    gone = None if without is None else _number(episode, without)
    keep = [j for j in range(len(episode.bodies)) if j != gone]
    if gone is not None and episode.bodies[gone].group == "hand":
        keep = [j for j in keep if episode.bodies[j].group != "hand"]
    velocities = np.array(episode.settings["velocities"], float)[keep]
    steps = int(episode.settings["steps_per_moment"])
    script = episode.settings.get("script")
    step = 1.0 / (episode.frame_rate * episode.moments_per_frame * steps)
    stage = ScriptedSimulation(
        [episode.bodies[j] for j in keep],
        episode.poses[0, keep],
        velocities,
        step=step,
        steps_per_moment=steps,
        script=HandScript.from_json(script) if script else None,
    )
    stage.run_to(episode.frames * episode.moments_per_frame * steps)
    stage.close()
    stage.actions = _surviving(episode, stage, {j: i for i, j in enumerate(keep)})
    extra: dict[str, Any] = {"again": True, "without": episode.bodies[gone].name if gone is not None else None}
    return episode_of(
        stage,
        seed=episode.seed,
        size=episode.size,
        frame_rate=episode.frame_rate,
        frames=episode.frames,
        moments_per_frame=episode.moments_per_frame,
        camera=episode.camera,
        light=episode.light,
        velocities=velocities,
        story=str(episode.settings.get("story", "")),
        sheets={i: episode.sheets[j][0] for i, j in enumerate(keep) if j in episode.sheets},
        extra=extra,
    )


def _number(episode: Episode, key: str | int) -> int:
    names = [b.name for b in episode.bodies]
    if isinstance(key, str) and key in names:
        return names.index(key)
    if isinstance(key, int) and 0 <= key < len(names):
        return key
    raise BadInput(f"the episode has no body {key!r}; it has {', '.join(names)}")


def _surviving(episode: Episode, stage: ScriptedSimulation, new: dict[int, int]) -> list[Action]:
    missed = {g.action for i, g in enumerate(stage.script.grips) if i in stage.failed} if stage.script else set()
    return [
        replace(a, body=new[a.body], target=new[a.target] if a.target >= 0 else -1)
        for i, a in enumerate(episode.actions)
        if a.body in new and (a.target < 0 or a.target in new) and i not in missed
    ]


STEPS_A_SECOND = 720
MOMENTS_A_SECOND = 240


def fineness(frame_rate: float) -> tuple[int, int, float]:
    """Choose moments per frame, steps per moment and seconds per step for a frame rate."""
    moments = max(1, round(MOMENTS_A_SECOND / frame_rate))
    steps = max(1, round(STEPS_A_SECOND / (frame_rate * moments)))
    return moments, steps, 1.0 / (frame_rate * moments * steps)


def episode_of(
    stage: ScriptedSimulation,
    *,
    seed: int,
    size: tuple[int, int],
    frame_rate: float,
    frames: int,
    moments_per_frame: int,
    camera: Camera,
    light: Light,
    velocities: F64,
    story: str,
    sheets: Mapping[int, F64] | None = None,
    extra: dict[str, Any] | None = None,
) -> Episode:
    """Build an episode from the record of a closed stage; `sheets`: where their points start, if not flat."""
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
        frame_rate=frame_rate,
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


def moment_times(frame_rate: float, frames: int, moments_per_frame: int) -> F64:
    """List the times (k,) of all moments, ending one frame after the last frame's start, for blur and sound."""
    return np.arange(frames * moments_per_frame + 1) / (frame_rate * moments_per_frame)
