"""Makes an episode of a seed, and runs one again with something changed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tapetum.errors import BadInput
from tapetum.scenes.bodies.body import Body
from tapetum.scenes.bodies.episode import Action, Episode
from tapetum.scenes.physics.assemble import episode_of, fineness, moment_times
from tapetum.scenes.physics.hand import Hand
from tapetum.scenes.physics.script import Script
from tapetum.scenes.physics.setting import Setting
from tapetum.scenes.physics.stage import Curtain, Stage
from tapetum.scenes.physics.stories import STORIES
from tapetum.scenes.physics.views import draw_camera, draw_light
from tapetum.scenes.types import F64

TRIES = 6


def make_episode(
    seed: int,
    story: str | None = None,
    *,
    seconds: float = 8.0,
    size: tuple[int, int] = (256, 256),
    rate: float = 24.0,
    moments_per_frame: int | None = None,
) -> Episode:
    """Simulate the episode of a seed: bit for bit the same at every call on one platform.

    `story`: one of `STORIES`, or None to draw one; `moments_per_frame`: None for about 240 moments a second. Keeps all poses:
    about 0.3 MB a second with a hand and ten things. Raises BadInput, and MissingExtra without MuJoCo.
    """
    if story is not None and story not in STORIES:
        raise BadInput(f"there is no story {story!r}; take one of {', '.join(STORIES)}")
    frames = round(seconds * rate) if rate > 0 else 0
    if frames < 1 or min(size) < 1:
        raise BadInput(f"an episode of {seconds} s at {rate} frames per second and {size} pixels; wanted one frame or more")
    names = list(STORIES)
    chosen = story or names[int(np.random.default_rng((seed, 77)).integers(len(names)))]
    for attempt in range(TRIES):
        made = _attempt(seed, attempt, chosen, frames, size, rate, moments_per_frame)
        if made is not None:
            return made
    raise BadInput(f"story {chosen!r} found no start for seed {seed} in {TRIES} tries; take another seed")


def _attempt(
    seed: int, attempt: int, story: str, frames: int, size: tuple[int, int], rate: float, per_frame: int | None
) -> Episode | None:
    """One draw; None where bodies overlapped at the start or flew apart."""
    rng = np.random.default_rng((seed, attempt, *story.encode()))
    scene = Setting(rng)
    act = STORIES[story](scene)
    if any(j < 0 for j in range(len(scene.bodies))):
        return None
    home = scene.give_hand() if act else None
    moments, steps, step = fineness(rate, per_frame)
    velocities = np.stack(scene.velocities)
    stage = Stage(scene.bodies, np.stack(scene.poses), velocities, step=step, steps_per_moment=steps, script=scene.script)
    stage.end = frames * moments * steps
    if stage.overlap() > 0.0025:
        return None
    try:
        if act and home is not None:
            hand = Hand(stage, home)
            stage.wait(float(rng.uniform(0.1, 0.5)))
            idle = 0
            while True:
                before = stage.now
                act(hand)
                idle = idle + 1 if stage.now == before else 0
                if idle > 3:
                    hand.rest()
                    stage.wait(0.5)
        stage.run_to(stage.end)
    except Curtain:
        pass
    stage.close()
    times = moment_times(rate, frames, moments)
    camera = draw_camera(rng, times, size, azimuth=scene.azimuth, target=scene.target, **scene.view)
    return episode_of(
        stage,
        seed=seed,
        size=size,
        rate=rate,
        frames=frames,
        moments_per_frame=moments,
        camera=camera,
        light=draw_light(rng, times),
        velocities=velocities,
        story=story,
    )


def resimulate(
    episode: Episode,
    *,
    without: str | int | None = None,
    changed: Mapping[str | int, Body] | None = None,
    moved: Mapping[str | int, F64] | None = None,
    velocities: Mapping[str | int, F64] | None = None,
) -> Episode:
    """Run an episode again from the same start under the same script of the hand, but with something changed.

    `without`: a body (its name or number) that is not there; `changed`: other bodies in the place of some (of another material,
    mass or shape); `moved`: other start poses (7,); `velocities`: other start velocities (6,). Bodies keep their names, not
    their numbers. The hand does the same moves at the same times and holds what it finds where it expects it; actions whose body or
    target is missing, or whose grip failed, are left out. With nothing changed, the same episode comes out, bit for bit.
    """
    if "steps_per_moment" not in episode.settings or "velocities" not in episode.settings:
        raise BadInput("this episode was not simulated (its settings lack a start); make it with make_episode")
    gone = None if without is None else _number(episode, without)
    keep = [j for j in range(len(episode.bodies)) if j != gone]
    if gone is not None and episode.bodies[gone].group == "hand":
        keep = [j for j in keep if episode.bodies[j].group != "hand"]
    bodies, poses = list(episode.bodies), episode.poses[0].copy()
    speeds = np.array(episode.settings["velocities"], float)
    for key, body in (changed or {}).items():
        bodies[_number(episode, key)] = replace(body, name=episode.bodies[_number(episode, key)].name)
    for key, pose in (moved or {}).items():
        poses[_number(episode, key)] = pose
    for key, speed in (velocities or {}).items():
        speeds[_number(episode, key)] = speed
    steps = int(episode.settings["steps_per_moment"])
    found = episode.settings.get("script")
    _, _, step = fineness(episode.rate, episode.moments_per_frame)
    stage = Stage(
        [bodies[j] for j in keep],
        poses[keep],
        speeds[keep],
        step=step,
        steps_per_moment=steps,
        script=Script.from_json(found) if found else None,
    )
    stage.run_to(episode.frames * episode.moments_per_frame * steps)
    stage.close()
    stage.actions = _surviving(episode, stage, {j: i for i, j in enumerate(keep)})
    extra: dict[str, Any] = {"again": True, "without": episode.bodies[gone].name if gone is not None else None}
    return episode_of(
        stage,
        seed=episode.seed,
        size=episode.size,
        rate=episode.rate,
        frames=episode.frames,
        moments_per_frame=episode.moments_per_frame,
        camera=episode.camera,
        light=episode.light,
        velocities=speeds[keep],
        story=str(episode.settings.get("story", "")),
        extra=extra,
    )


def _number(episode: Episode, key: str | int) -> int:
    names = [b.name for b in episode.bodies]
    if isinstance(key, str) and key in names:
        return names.index(key)
    if isinstance(key, int) and 0 <= key < len(names):
        return key
    raise BadInput(f"the episode has no body {key!r}; it has {', '.join(names)}")


def _surviving(episode: Episode, stage: Stage, new: dict[int, int]) -> list[Action]:
    missed = {g.action for i, g in enumerate(stage.script.grips) if i in stage.failed} if stage.script else set()
    return [
        replace(a, body=new[a.body], target=new[a.target] if a.target >= 0 else -1)
        for i, a in enumerate(episode.actions)
        if a.body in new and (a.target < 0 or a.target in new) and i not in missed
    ]
