"""Simulation of an episode from a seed, and resimulation with a change."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F64
from tapetum_world.bodies.episode import Action, Camera, Episode, Light
from tapetum_world.physics.builder import SceneBuilder, draw_camera, draw_light
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
    seed: int,
    story: str | None = None,
    *,
    seconds: float = 8.0,
    size: tuple[int, int] = (256, 256),
    frame_rate: float = 24.0,
    moments_per_frame: int | None = None,
) -> Episode:
    """Simulate the episode of a seed: identical bit for bit at every call on one platform.

    `story`: one of `STORIES`, or None to draw one; `moments_per_frame`: None for about 240 moments a second. All poses stay in
    memory: about 0.3 MB a second with a hand and ten objects; `episode_parts` uses less. Raises BadInput.
    """
    frames = _frames(seconds, frame_rate, size)
    return next(_begin(seed, story, frames, size, frame_rate, moments_per_frame).parts(frames))


def episode_parts(
    seed: int,
    story: str | None = None,
    *,
    seconds: float,
    part_seconds: float = 60.0,
    size: tuple[int, int] = (256, 256),
    frame_rate: float = 24.0,
    moments_per_frame: int | None = None,
) -> Iterator[Episode]:
    """Simulate a long episode part by part: each starts where the last ended, so memory use is independent of length.

    A part is an Episode (its times start at 0; `settings["starts_s"]` gives its start), cut at the first frame after
    `part_seconds` at which the hand is empty and idle. After a cut it differs from the output of `make_episode`.
    """
    frames, part = _frames(seconds, frame_rate, size), _frames(part_seconds, frame_rate, size)
    yield from _begin(seed, story, frames, size, frame_rate, moments_per_frame).parts(part)


def _frames(seconds: float, frame_rate: float, size: tuple[int, int]) -> int:
    frames = round(seconds * frame_rate) if frame_rate > 0 else 0
    if frames < 1 or min(size) < 1:
        raise BadInput(
            f"an episode of {seconds} s at {frame_rate} frames per second and {size} pixels; wanted one frame or more"
        )
    return frames


def _begin(
    seed: int, story: str | None, frames: int, size: tuple[int, int], frame_rate: float, per_frame: int | None
) -> "_EpisodeRun":
    if story is not None and story not in STORIES:
        raise BadInput(f"there is no story {story!r}; take one of {', '.join(STORIES)}")
    names = list(STORIES)
    chosen = story or names[int(np.random.default_rng((seed, 77)).integers(len(names)))]
    for attempt in range(TRIES):
        run = _EpisodeRun(seed, attempt, chosen, frames, size, frame_rate, per_frame)
        if run.stage.overlap() <= OVERLAP:
            return run
    raise BadInput(f"story {chosen!r} found no start for seed {seed} in {TRIES} tries; take another seed")


class _EpisodeRun:
    """A running story, part after part."""

    def __init__(
        self, seed: int, attempt: int, story: str, frames: int, size: tuple[int, int], frame_rate: float, per_frame: int | None
    ):
        self.seed, self.key, self.story = seed, (seed, attempt, *story.encode()), story
        self.size, self.frame_rate = size, frame_rate
        self.rng = np.random.default_rng(self.key)
        self.scene = SceneBuilder(self.rng)
        self.act = STORIES[story](self.scene)
        self.home = self.scene.give_hand()
        self.per_frame, self.per_moment, self.step = fineness(frame_rate, per_frame)
        self.total, self.done = frames, 0
        self.velocities = np.stack(self.scene.velocities)
        self.sheets: dict[int, F64] = {}
        self.stage = self._stage(np.stack(self.scene.poses), self.scene.script)

    def _stage(self, poses: F64, script: HandScript | None) -> ScriptedSimulation:
        stage = ScriptedSimulation(
            self.scene.bodies, poses, self.velocities, step=self.step, steps_per_moment=self.per_moment, script=script
        )
        stage.end = (self.total - self.done) * self.per_frame * self.per_moment
        return stage

    def parts(self, part: int) -> Iterator[Episode]:
        """Simulate the story; a part has `part` frames or somewhat more."""
        self.pause = float(self.rng.uniform(0.1, 0.5))
        while self.done < self.total:
            frames = self._tell(part)
            self.stage.close()
            end, pixel_motion = self.stage.sim.poses_now(), self.stage.sim.velocities_now()
            goal = self.stage.goal
            episode = self._episode(frames)
            self.done += frames
            if self.done < self.total:
                assert self.scene.script
                self.sheets = {j: points[-1] for j, points in episode.sheets.items()}
                self.velocities = pixel_motion
                self.stage = self._stage(end, HandScript(start=goal.tolist(), shoulder=self.scene.script.shoulder))
            yield episode

    def _tell(self, part: int) -> int:
        """Run one part; return its frames."""
        stage, frame = self.stage, self.per_frame * self.per_moment
        hand = Hand(stage, self.home)
        try:
            stage.wait(self.pause)
            idle = 0
            while stage.sim.carried is not None or stage.now < part * frame:
                before = stage.now
                self.act(hand)
                idle = idle + 1 if stage.now == before else 0
                if idle > 3:
                    hand.rest()
                    stage.wait(0.5)
            stage.run_to(-(-stage.now // frame) * frame)
        except EpisodeEnd:
            pass
        return stage.now // frame

    def _episode(self, frames: int) -> Episode:
        times = moment_times(self.frame_rate, frames, self.per_frame) + self.done / self.frame_rate
        whole, scene = self.total / self.frame_rate, self.scene
        views = np.random.default_rng((*self.key, 1))
        return episode_of(
            self.stage,
            seed=self.seed,
            size=self.size,
            frame_rate=self.frame_rate,
            frames=frames,
            moments_per_frame=self.per_frame,
            camera=draw_camera(views, times, self.size, whole=whole, azimuth=scene.azimuth, target=scene.target, **scene.view),
            light=draw_light(views, times),
            velocities=self.velocities,
            story=self.story,
            sheets=self.sheets,
            extra={"starts_s": self.done / self.frame_rate} if self.done else None,
        )


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
    _, _, step = fineness(episode.frame_rate, episode.moments_per_frame)
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


def fineness(frame_rate: float, moments_per_frame: int | None) -> tuple[int, int, float]:
    """Choose moments per frame, steps per moment and seconds per step for a frame rate."""
    moments = moments_per_frame or max(1, round(MOMENTS_A_SECOND / frame_rate))
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
