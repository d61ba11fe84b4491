"""Plan of a training run of TAPNext (`tapetum train tapnext --dry`), and its part in that of self-training."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.hub.registry import entry_of
from tapetum.systems.tapnext import tracker
from tapetum.systems.tapnext.config import ARCHITECTURES
from tapetum.systems.tapnext.family import TapNextFamily
from tapetum.systems.tapnext.model import TapNext
from tapetum.systems.tapnext.recipes import UNPUBLISHED, TapNextRun
from tapetum.systems.tapnext.task import TapNextTask
from tapetum.tracks.training.data import TapSample, empty_clips
from tapetum.tracks.training.recipes import changed_phases
from tapetum.train import StepContext
from tapetum.train.measure_step import measure_step


def plan_run(run: TapNextRun) -> RunPlan:
    """Plan all phases of a run."""
    phases = changed_phases(run, run.phases)
    config = tracker.load(run.start).model.config if run.start else run.model
    config = replace(config, video_size=(phases[-1].size,) * 2)
    planned = []
    for phase in phases:
        task = TapNextTask(run, phase, config, (), lambda: (), None)  # pyright: ignore[reportArgumentType]
        with torch.device("meta"):
            model, clips = TapNext(config).train(), empty_clips(1, phase.frames, phase.size, phase.points)
        step = measure_step(
            lambda: task.loss(model, clips, StepContext())[0],  # noqa: B023  # called at once
            {"model": model},
            bf16=run.bf16,
        )
        name = phase.name if len(phases) > 1 else ""
        sizes: dict[str, Any] = {"steps": phase.steps, "batch_size": phase.batch_size, "micro_batch": phase.micro_batch}
        planned.append(PhasePlan(name=name, step=step, **sizes))
    last = phases[-1]
    return RunPlan(
        phases=tuple(planned),
        examples_are=f"clips, at the end of {last.frames} frames of {last.size}x{last.size}, {last.points} points",
        unpublished=unpublished_values(run, UNPUBLISHED.get(run.preset, {})),
    )


def self_training_networks(model: str) -> tuple[TapNext, TapNext, Callable[[TapSample], Tensor], Callable[[TapSample], object]]:
    """Build what `tapetum.systems.tap.run_plan.plan_networks` measures, for the weights `model`.

    Named weights are not read, but for those of a file.
    """
    entry, family = entry_of(model), TapNextFamily(model)
    config = ARCHITECTURES.get(entry.architecture) if entry else None
    config = config or family.start().config
    with torch.device("meta"):
        student, teacher = TapNext(config).train(), TapNext(config).eval().requires_grad_(False)
    return (
        student,
        teacher,
        lambda clips: family.clip_loss(student, clips)[0],
        lambda clips: family.estimate(teacher, clips.video, clips.queries),
    )
