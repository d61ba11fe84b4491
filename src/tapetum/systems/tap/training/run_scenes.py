"""Training of the bundled point trackers on synthetic scenes with the losses of TAPIR (arXiv 2306.08637, section 3.3).

What is trained, and how that differs from the paper, stands in `recipes`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.core.identity import source_label
from tapetum.core.reading import no_pipe
from tapetum.systems.tap.network.model import Tapir
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.training.clips import (
    ClipDataset,
    EpisodeClips,
    Joined,
    SceneClips,
    TrackedClip,
    check_episodes,
    open_textures,
)
from tapetum.systems.tap.training.data import FEW_CLIPS, TapSamples
from tapetum.systems.tap.training.image_clips import ImageClips
from tapetum.systems.tap.training.recipes import MATCHING_WEIGHT, Phase, TapNano
from tapetum.systems.tap.training.task import TrackingTask, save_finished
from tapetum.train import TrainConfig, fit
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.process_group import join_process_group

_NOT_LEARNED = "name", "phases", "steps", "batch_size", "size", "cache", "checks"
"""Fields of `TapNano` that do not decide what a phase learns, or are in it."""
_SAVED_AS = {"motion": "journey", "image_clips": "warped"}
"""Fields of `Phase` that have another name where runs are recorded."""


class TapSceneTask(TrackingTask):
    """One phase of `TapNano`: a network, clips of scenes, the losses of the paper and of matching."""

    def __init__(self, run: TapNano, phase: Phase, start: Path | None):
        super().__init__(phase.size, phase.points, matching_weight=MATCHING_WEIGHT)
        self.run, self.phase, self.start = run, phase, start
        self.config = replace(
            run.model,
            initial_resolution=(phase.size, phase.size),
            iterations=phase.iterations,
            refine_at_least=None,
            second_pass=False,
        )

    def model(self) -> nn.Module:
        """Make the network, with the weights of the phase before, or of `TapNano.start`, if there are any."""
        model = Tapir(self.config)
        if self.start is not None:
            model.load_state_dict(load_file(no_pipe(self.start)))
        elif self.run.start is not None:
            model.load_state_dict(tracker.load(self.run.start).model.state_dict())
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def dataset(self) -> TapSamples:
        """Open altered showings of the training scenes."""
        run, phase = self.run, self.phase
        scenes = world_clips(run, phase.clips, seed=run.seed, part="train", cache=run.cache)
        images = ImageClips(phase.image_clips, seed=run.seed, source=run.textures, part="train", frames=phase.frames)
        return TapSamples(
            Joined(*scenes, images),
            size=phase.size,
            points=phase.points,
            seed=run.seed,
            frames=phase.frames,
            first=phase.first,
            alterations=replace(FEW_CLIPS, motion=phase.motion),
        )

    def checks(self) -> list[TrackedClip]:
        """Draw scenes with held-out textures."""
        run = self.run
        content = source_label(run.textures), source_label(run.episodes)
        return [*_check_scenes(run.world, run.checks, run.seed + 1000, run.textures, run.episodes, content)]

    def describe(self) -> Mapping[str, Any]:
        """Collect all that decides what is learned."""
        run = {k: v for k, v in asdict(self.run).items() if k not in _NOT_LEARNED}
        if self.run.world == "facets":
            del run["world"], run["episodes"]  # as runs were told before there were bodies
        run["model"] = {"second_look" if k == "second_pass" else k: v for k, v in run["model"].items()}
        for outside in {"start", "textures", "episodes"} & set(run):
            run[outside] = run[outside] and Path(run[outside]).name
        phase = {_SAVED_AS.get(k, k): v for k, v in asdict(self.phase).items() if k != "micro_batch"}
        return json.loads(json.dumps({"run": run, "phase": phase}))


@lru_cache(maxsize=1)  # the phases of a run are checked on the same scenes
def _check_scenes(
    world: str, count: int, seed: int, textures: str | None, episodes: str | None, content: tuple[str | None, str | None]
) -> tuple[TrackedClip, ...]:
    """Draw scenes; `content` tells the folders of these names from those that were there before."""
    run = TapNano(world=world, textures=textures, episodes=episodes)  # pyright: ignore[reportArgumentType]
    clips = Joined(*world_clips(run, count, seed=seed, part="held-out"))
    return tuple(clips[k] for k in range(count))


def world_clips(run: TapNano, count: int, *, seed: int, part: str, cache: str | None = None) -> list[ClipDataset]:
    """Open `count` clips of facets, of bodies, or of both, as the run has it; of both, facets are first."""
    bodies = {"facets": 0, "bodies": count, "both": count // 2}[run.world]
    made: list[ClipDataset] = []
    if count > bodies:
        made.append(SceneClips(count - bodies, seed=seed, textures=run.textures, part=part, cache=cache))
    if bodies:
        kept = None if cache is None else Path(cache) / "bodies"
        made.append(EpisodeClips(bodies, seed=seed, episodes=run.episodes, textures=run.textures, part=part, cache=kept))
    return made


def changed_phase(run: TapNano, phase: Phase) -> Phase:
    """Build a phase as the run wants each of them: with its steps, batch size and size, where it says any."""
    changes = {name: getattr(run, name) for name in ("steps", "batch_size", "size")}
    changed = replace(phase, **{name: value for name, value in changes.items() if value is not None})
    if not 32 <= changed.size <= 1024 or changed.size % 8:
        raise BadInput(f"--size is {changed.size}; it must be a multiple of 8 from 32 to 1024")
    return replace(changed, micro_batch=math.gcd(changed.batch_size, phase.micro_batch))


def phase_config(run: TapNano, phase: Phase, launch: Launch) -> TrainConfig:
    """Make the config of one phase."""
    return train_config(
        phase,
        launch,
        micro_batch=phase.micro_batch,
        seed=run.seed,
        final_lr=phase.lr / 100,
        warmup_steps=min(100, phase.steps // 10),
        betas=(0.9, 0.95),
        weight_decay=1e-2,
        clip_norm=1.0,
        ema_decay=max(0.0, min(0.998, 1 - 5 / max(1, phase.steps))),
        bf16=True,
        prefetch=4,
        log_every=5,
        eval_every=250,
        checkpoint_every=100,
    )


def train_tap_nano(run: TapNano, launch: Launch) -> Path | None:
    """Train through all phases in the folder `launch.out`; the same call goes on after a stop.

    Returns the file of the finished float16 weights, or None if there is more to do.
    """
    if not run.phases:
        raise BadInput("the run has no phases: give at least one")
    check_fields(run, steps="[1, inf)", checks="[1, inf)", seed="[0, inf)")
    if run.textures is not None:
        for part in ("train", "held-out"):
            open_textures(run.textures, part)  # bad ones are refused before anything is written
    if run.world != "facets":
        check_episodes(run.episodes)
    elif run.episodes is not None:
        raise BadInput(f"--episodes {run.episodes} is not used where scenes are of facets alone; add --world bodies or both")
    phases = [changed_phase(run, phase) for phase in run.phases]
    configs = [phase_config(run, phase, launch) for phase in phases]  # what cannot be is refused before anything is done
    start: Path | None = None
    with join_process_group(launch.device):  # once for all phases: torchrun's processes cannot meet a second time
        for phase, config in zip(phases, configs, strict=True):
            result = fit(TapSceneTask(run, phase, start), config, launch.out / phase.name, began=launch.began)
            if result.state == "stopped":
                return None
            start = result.checkpoint / "ema.safetensors"
    assert start is not None
    return save_finished(run.model, start, launch.out / f"{run.name}.safetensors", torch.float16)
