"""Plan of a training run of a point tracker (`tapetum train tap-kubric --dry` and the like)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.hub.registry import entry_of
from tapetum.systems.tap.config import ARCHITECTURES, TapirConfig
from tapetum.systems.tap.network.model import Tapir
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.training.recipes import MATCHING_WEIGHT, UNPUBLISHED, TapKubric, TapNano
from tapetum.systems.tap.training.task import TrackingTask
from tapetum.tracks.training.data import empty_clips
from tapetum.tracks.training.recipes import changed_phases
from tapetum.train import StepContext
from tapetum.train.measure_step import measure_step


def plan_run(run: TapKubric | TapNano) -> RunPlan:
    """Plan a run on Kubric, or all phases of one on scenes."""
    if isinstance(run, TapKubric):
        task = _tracking(run.size, run.points, refine_with_gradient=run.refine_with_gradient)
        loss, parts = clip_loss(task, _at_size(network_of(run.start, ARCHITECTURES[run.model]), run.size), run.frames)
        step = measure_step(loss, parts, bf16=run.bf16)
        phase = PhasePlan(steps=run.steps, batch_size=run.batch_size, micro_batch=run.micro_batch, step=step)
        return RunPlan(
            phases=(phase,),
            examples_are=f"clips of {run.frames} frames of {run.size}x{run.size}, {run.points} points",
            unpublished=unpublished_values(run, UNPUBLISHED.get(run.preset, {})),
        )
    phases = []
    for phase in changed_phases(run, run.phases):
        sized = replace(_at_size(run.model, phase.size), iterations=phase.iterations)
        task = _tracking(phase.size, phase.points, matching_weight=MATCHING_WEIGHT)
        step = measure_step(*clip_loss(task, sized, phase.frames), bf16=run.bf16)
        phases.append(
            PhasePlan(name=phase.name, steps=phase.steps, batch_size=phase.batch_size, micro_batch=phase.micro_batch, step=step)
        )
    return RunPlan(phases=tuple(phases), examples_are="clips")


def network_of(start: str | None, otherwise: TapirConfig) -> TapirConfig:
    """Look up the sizes of the network that named weights are of, without reading these; of a file, read them."""
    if start is None:
        return otherwise
    entry = entry_of(start)
    known = ARCHITECTURES.get(start if entry is None else entry.architecture)
    return known or tracker.load(start).model.config


def _tracking(size: int, points: int, **settings: Any) -> TrackingTask:
    """Make a task of which the loss alone is computed."""
    return TrackingTask(size, points, **settings)  # pyright: ignore[reportAbstractUsage]


def _at_size(config: TapirConfig, side: int) -> TapirConfig:
    """Make the config of a network that learns from clips of so many pixels."""
    return replace(config, initial_resolution=(side, side), refine_at_least=None, second_pass=False)


def clip_loss(task: TrackingTask, config: TapirConfig, frames: int) -> tuple[Callable[[], Tensor], Mapping[str, nn.Module]]:
    """Make the loss of one clip of exact tracks, and the network, on "meta"."""
    with torch.device("meta"):
        model = Tapir(config).train()
        sample = empty_clips(1, frames, task.size, task.points)
    return lambda: task.loss(model, sample, StepContext())[0], {"model": model}
