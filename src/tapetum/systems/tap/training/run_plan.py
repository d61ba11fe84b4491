"""Plan of a training run of a point tracker (`tapetum train tap-kubric --dry` and the like)."""

from dataclasses import replace
from typing import Any

import torch

from tapetum.account.run_plan import MeasuredStep, PhasePlan, RunPlan, unpublished_values
from tapetum.hub.registry import entry_of
from tapetum.systems.tap.config import ARCHITECTURES, TapirConfig
from tapetum.systems.tap.network.model import Tapir
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.training.recipes import MATCHING_WEIGHT, UNPUBLISHED, TapirPhase, TapKubric, TapNano
from tapetum.systems.tap.training.task import TrackingTask, at_size
from tapetum.tracks.training.data import empty_clips
from tapetum.tracks.training.recipes import changed_phases
from tapetum.train import StepContext
from tapetum.train.measure_step import measure_step


def plan_run(run: TapKubric | TapNano) -> RunPlan:
    """Plan a run on Kubric, or all phases of one on scenes."""
    if isinstance(run, TapKubric):
        config = at_size(network_of(run.start, ARCHITECTURES[run.model]), run.size)
        step = _measure(run, run, config, refine_with_gradient=run.refine_with_gradient)
        phase = PhasePlan(steps=run.steps, batch_size=run.batch_size, micro_batch=run.micro_batch, step=step)
        return RunPlan(
            phases=(phase,),
            examples_are=f"clips of {run.frames} frames of {run.size}x{run.size}, {run.points} points",
            unpublished=unpublished_values(run, UNPUBLISHED.get(run.preset, {})),
        )
    phases = []
    for phase in changed_phases(run, run.phases):
        sized = replace(at_size(run.model, phase.size), iterations=phase.iterations)
        step = _measure(run, phase, sized, matching_weight=MATCHING_WEIGHT)
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


def _measure(run: TapKubric | TapNano, clips: TapKubric | TapirPhase, config: TapirConfig, **settings: Any) -> MeasuredStep:
    task = TrackingTask(clips.size, clips.points, **settings)  # pyright: ignore[reportAbstractUsage]
    with torch.device("meta"):
        model = Tapir(config).train()
        sample = empty_clips(1, clips.frames, clips.size, clips.points)
    return measure_step(lambda: task.loss(model, sample, StepContext())[0], {"model": model}, bf16=run.bf16)
