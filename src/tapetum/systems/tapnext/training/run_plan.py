"""Plan of a training run of TAPNext (`tapetum train tapnext --dry`)."""

from dataclasses import replace
from typing import Any

import torch

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.systems.tapnext import tracker
from tapetum.systems.tapnext.model import TapNext
from tapetum.systems.tapnext.training.recipes import UNPUBLISHED, TapNextRun
from tapetum.systems.tapnext.training.task import TapNextTask
from tapetum.tracks.training.data import empty_clips
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
        bf16=run.bf16,
        unpublished=unpublished_values(run, UNPUBLISHED.get(run.preset, {})),
    )
