"""The training of the official point trackers on Kubric: TAPIR (arXiv 2306.08637, section 3.3 and its appendix on training).

BootsTAPIR's architecture is trained likewise: that is where BootsTAP (arXiv 2402.00847) starts from.

Differs from the paper: the data are those of CoTracker3, 120 frames of which 24 are shown, instead of panning MOVi-E; gains and
offsets of the instance norms don't decay (in the public code they do, for their names are not among those it spares); features
are not computed a second time in the backward pass to save memory.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.systems.tap.network.model import Tapir
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.training.recipes import TapKubric
from tapetum.systems.tap.training.task import TrackingTask, save_finished
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.data import PAPER, TapSamples
from tapetum.tracks.training.kubric import KubricClips, kubric_sequences
from tapetum.train import TrainConfig, fit
from tapetum.train.launch_config import Launch, train_config


class KubricTask(TrackingTask):
    """A network, clips of Kubric, the losses of the paper."""

    def __init__(self, run: TapKubric):
        super().__init__(run.size, run.points, refine_with_gradient=run.refine_with_gradient)
        self.run = run
        names = kubric_sequences(run.data)
        holdout = min(run.checks, len(names) // 10)
        self.names, self.held_out = tuple(names[: len(names) - holdout]), tuple(names[len(names) - holdout :])
        if run.start is None and run.model not in tracker.ARCHITECTURES:
            raise BadInput(f"there is no architecture named {run.model!r}; known names are {', '.join(tracker.ARCHITECTURES)}")
        self.architecture = tracker.load(run.start).model.config if run.start else tracker.ARCHITECTURES[run.model]
        size = (run.size, run.size)
        self.config = replace(self.architecture, initial_resolution=size, refine_at_least=None, second_pass=False)

    def model(self) -> nn.Module:
        """Make the network, with the weights of `TapKubric.start` if it names any."""
        model = Tapir(self.config)
        if self.run.start is not None:
            model.load_state_dict(tracker.load(self.run.start).model.state_dict())
        return model

    def dataset(self) -> TapSamples:
        """Open showings of the sequences, altered as in the paper."""
        run = self.run
        clips = KubricClips(Path(run.data), self.names)
        return TapSamples(clips, size=run.size, points=run.points, seed=run.seed, frames=run.frames, alterations=PAPER)

    def checks(self) -> list[TrackedClip]:
        """Read the beginnings of the sequences that are kept for it."""
        clips, part = KubricClips(Path(self.run.data), self.held_out), slice(self.run.frames)
        return [TrackedClip(c.video[part], c.xy[:, part], c.visible[:, part]) for c in (clips[k] for k in range(len(clips)))]

    def describe(self) -> Mapping[str, Any]:
        """Collect all that decides what is learned; the folder may move."""
        run = {k: v for k, v in asdict(self.run).items() if k not in ("data", "preset", "micro_batch")}
        return json.loads(json.dumps({**run, "start": run["start"] and Path(run["start"]).name, "sequences": len(self.names)}))


def kubric_config(run: TapKubric, launch: Launch, scored: bool) -> TrainConfig:
    """Make the config of a run, which is scored on the way if there are clips for that."""
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


def train_tap_kubric(run: TapKubric, launch: Launch) -> Path | None:
    """Train in the folder `launch.out`; the same call goes on after a stop. By default four workers, or as many as cores.

    Returns the file of the finished weights, or None if there is more to do. BadInput when the data folder lacks something or a
    sequence is damaged.
    """
    task = KubricTask(run)
    result = fit(task, kubric_config(run, launch, bool(task.held_out)), launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    target = launch.out / f"{run.model if run.start is None else Path(run.start).stem}.safetensors"
    return save_finished(task.architecture, result.weights / "model.safetensors", target, torch.float32)
