"""Training of the bundled point trackers on synthetic scenes with the losses of TAPIR (arXiv 2306.08637, section 3.3).

What is trained, and how that differs from the paper, stands in `recipes`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from tapetum.core.reading import no_pipe
from tapetum.systems.tap.network.model import Tapir
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.training.growth import grow_network
from tapetum.systems.tap.training.recipes import MATCHING_WEIGHT, Phase, TapNano
from tapetum.systems.tap.training.task import TrackingTask, save_finished
from tapetum.tracks.training.clips import JoinedClips, TrackedClip, check_run, open_clips, scored_clips
from tapetum.tracks.training.data import FEW_CLIPS, TapSamples
from tapetum.tracks.training.image_clips import ImageClips
from tapetum.tracks.training.recipes import changed_phases, drop_later
from tapetum.train.launch_config import Launch
from tapetum.train.phases import fit_phases

_NOT_LEARNED = "name", "phases", "steps", "batch_size", "size", "bf16", "cache", "checks"
"""Fields of `TapNano` that do not decide what a phase learns, or are in it, or in the loop's own config."""
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
        """Make the network, with the weights of the phase before, or grown from those of `TapNano.start`, if there are any."""
        if self.start is None and self.run.start is not None:
            model = grow_network(tracker.load(self.run.start).model, self.config)
        else:
            model = Tapir(self.config)
        if self.start is not None:
            model.load_state_dict(load_file(no_pipe(self.start)))
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def dataset(self) -> TapSamples:
        """Open altered showings of the training scenes."""
        run, phase = self.run, self.phase
        scenes = open_clips(run, phase.clips, part="train", cache=run.cache, frames=self._drawn_frames())
        images = ImageClips(phase.image_clips, seed=run.seed, source=run.textures, part="train", frames=phase.frames)
        return TapSamples(
            JoinedClips(*scenes, images),
            size=phase.size,
            points=phase.points,
            seed=run.seed,
            frames=phase.frames,
            first=phase.first,
            alterations=replace(FEW_CLIPS, motion=phase.motion),
        )

    def checks(self) -> list[TrackedClip]:
        """Draw scenes with held-out textures."""
        return scored_clips(self.run, frames=self._drawn_frames())

    def _drawn_frames(self) -> int:
        """Count the frames of scenes, the same in all phases, so that these share a cache."""
        return max(24, *(phase.frames for phase in (*self.run.phases, self.phase)))

    def describe(self) -> Mapping[str, Any]:
        """Collect all that decides what is learned."""
        run = drop_later({k: v for k, v in asdict(self.run).items() if k not in _NOT_LEARNED})
        if self.run.world == "facets":
            del run["world"], run["episodes"]  # as runs were told before there were bodies
        run["model"] = {"second_look" if k == "second_pass" else k: v for k, v in run["model"].items()}
        for outside in {"start", "textures", "episodes"} & set(run):
            run[outside] = run[outside] and Path(run[outside]).name
        phase = {_SAVED_AS.get(k, k): v for k, v in asdict(self.phase).items() if k != "micro_batch"}
        return json.loads(json.dumps({"run": run, "phase": phase}))


def train_tap_nano(run: TapNano, launch: Launch) -> Path | None:
    """Train through all phases in the folder `launch.out`; the same call goes on after a stop.

    Returns the file of the finished float16 weights, or None if there is more to do.
    """
    phases = changed_phases(run, run.phases)
    check_run(run)
    start = fit_phases(phases, lambda phase, start: TapSceneTask(run, phase, start), launch, run.seed, bf16=run.bf16)
    return start and save_finished(run.model, start, launch.out / f"{run.name}.safetensors", torch.float16)
