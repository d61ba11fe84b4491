"""The training runs of TAPIR: the bundled trackers on synthetic scenes, the official architectures on Kubric.

Source: TAPIR (arXiv 2306.08637, section 3.3 and appendix); BootsTAPIR's architecture is trained the same way, to start BootsTAP
(arXiv 2402.00847).

Kubric differs from the paper: the data are CoTracker3's (120 frames, of which 24 are used) instead of panning MOVi-E; gains and
offsets of the instance norms don't decay; features are not recomputed in the backward pass.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.systems.tap.config import ARCHITECTURES
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.recipes import MATCHING_WEIGHT, TapirPhase, TapKubric, TapNano
from tapetum.systems.tap.task import TrackingTask, at_size, save_finished
from tapetum.systems.tap.tracking import tracker
from tapetum.tracks.training.clips import JoinedClips, TrackedClip, check_run, open_clips, scored_clips
from tapetum.tracks.training.data import FEW_CLIPS, PAPER, TapSamples
from tapetum.tracks.training.image_clips import ImageClips
from tapetum.tracks.training.recipes import changed_phases
from tapetum.tracks.training.tracker_task import describe_phase, first_frames, split_sequences
from tapetum.train import TrainConfig, fit
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.phases import fit_phases

_NOT_LEARNED = "name", "phases", "steps", "batch_size", "size", "bf16", "cache", "checks"
"""Fields of `TapNano` that do not decide what a phase learns, or are in it, or in the loop's own config."""


class TapSceneTask(TrackingTask):
    """One phase of `TapNano`: a network, clips of scenes, the losses of the paper and of matching."""

    def __init__(self, run: TapNano, phase: TapirPhase, start: Path | None):
        super().__init__(phase.size, phase.points, matching_weight=MATCHING_WEIGHT)
        self.run, self.phase, self.start = run, phase, start
        self.config = replace(at_size(run.model, phase.size), iterations=phase.iterations)

    def model(self) -> nn.Module:
        """Make the network, with the weights of the previous phase or of `TapNano.start`, if there are any."""
        model = Tapir(self.config)
        if self.start is not None:
            model.load_state_dict(load_file(no_pipe(self.start)))
        elif self.run.start is not None:
            try:
                model.load_state_dict(tracker.load(self.run.start).model.state_dict())
            except RuntimeError:
                raise BadInput(f"{self.run.start} has other sizes than {self.run.name}; expected weights of the same") from None
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def dataset(self) -> TapSamples:
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
        return scored_clips(self.run, frames=self._drawn_frames())

    def _drawn_frames(self) -> int:
        """Count the frames of scenes, the same in all phases so that they share a cache."""
        return max(24, *(phase.frames for phase in (*self.run.phases, self.phase)))

    def describe(self) -> Mapping[str, Any]:
        return describe_phase(self.run, self.phase, _NOT_LEARNED)


def train_tap_nano(run: TapNano, launch: Launch) -> Path | None:
    """Train through all phases in the folder `launch.out`; the same call resumes a stopped run. Returns the file of the
    finished float16 weights, or None if there is more to do."""
    phases = changed_phases(run, run.phases)
    check_run(run)
    start = fit_phases(phases, lambda phase, start: TapSceneTask(run, phase, start), launch, run.seed, bf16=run.bf16)
    return start and save_finished(run.model, start, launch.out / f"{run.name}.safetensors", torch.float16)


class KubricTask(TrackingTask):
    """A network, clips of Kubric, the losses of the paper."""

    def __init__(self, run: TapKubric):
        super().__init__(run.size, run.points, refine_with_gradient=run.refine_with_gradient)
        self.run = run
        self.clips, self.held_out = split_sequences(run.data, run.checks)
        if run.start is None and run.model not in ARCHITECTURES:
            raise BadInput(f"there is no architecture named {run.model!r}; known names are {', '.join(ARCHITECTURES)}")
        self.architecture = tracker.load(run.start).model.config if run.start else ARCHITECTURES[run.model]
        self.config = at_size(self.architecture, run.size)

    def model(self) -> nn.Module:
        """Make the network, with the weights of `TapKubric.start` if it names any."""
        model = Tapir(self.config)
        if self.run.start is not None:
            model.load_state_dict(tracker.load(self.run.start).model.state_dict())
        return model

    def dataset(self) -> TapSamples:
        run = self.run
        return TapSamples(self.clips, size=run.size, points=run.points, seed=run.seed, frames=run.frames, alterations=PAPER)

    def checks(self) -> list[TrackedClip]:
        return first_frames(self.held_out, self.run.frames)

    def describe(self) -> Mapping[str, Any]:
        run = {k: v for k, v in asdict(self.run).items() if k not in ("data", "preset", "micro_batch")}
        return json.loads(json.dumps({**run, "start": run["start"] and Path(run["start"]).name, "sequences": len(self.clips)}))


def train_tap_kubric(run: TapKubric, launch: Launch) -> Path | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. Returns the file of the finished weights, or None
    if there is more to do. Raises BadInput if the data folder lacks something or a sequence is damaged."""
    task = KubricTask(run)
    result = fit(task, kubric_config(run, launch, len(task.held_out) > 0), launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    target = launch.out / f"{run.model if run.start is None else Path(run.start).stem}.safetensors"
    return save_finished(task.architecture, result.weights / "model.safetensors", target, torch.float32)


def kubric_config(run: TapKubric, launch: Launch, scored: bool) -> TrainConfig:
    save_every = launch.save_every or 500
    return train_config(
        run,
        launch,
        micro_batch=run.micro_batch,
        workers=min(4, os.cpu_count() or 1),
        warmup_steps=min(run.warmup_steps, run.steps // 10),
        clip_norm=None,
        max_skips=5,
        eval_every=10 * save_every if scored else 0,
        checkpoint_every=save_every,
    )
