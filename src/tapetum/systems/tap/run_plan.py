"""Plans of training runs of TAPIR, and of self-training (`tapetum train tap-kubric --dry`, `tapetum bootstrap --dry`)."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.account.run_plan import MeasuredStep, PhasePlan, RunPlan, unpublished_values
from tapetum.hub.registry import entry_of
from tapetum.systems.tap.bootstrap.config import UNPUBLISHED as UNPUBLISHED_BOOTSTRAP
from tapetum.systems.tap.bootstrap.config import BootstrapRun
from tapetum.systems.tap.config import ARCHITECTURES, NANO, TapirConfig
from tapetum.systems.tap.model import Tapir, places_of
from tapetum.systems.tap.recipes import MATCHING_WEIGHT, UNPUBLISHED, TapirPhase, TapKubric, TapNano
from tapetum.systems.tap.task import TrackingTask, at_size, tracking_losses
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.types import Trajectories
from tapetum.tracks.training.data import TapSample, empty_clips
from tapetum.tracks.training.recipes import changed_phases
from tapetum.tracks.training.tracker_task import add_terms, mean_terms
from tapetum.train import StepContext
from tapetum.train.measure_step import measure_step


def plan_run(run: TapKubric | TapNano | BootstrapRun) -> RunPlan:
    """Plan a run on Kubric, all phases of one on scenes, or the self-training of a TAPIR (see `plan_networks`)."""
    if isinstance(run, BootstrapRun):
        return _plan_self_training(run)
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
    """Look up the sizes of the network of named weights without reading the weights; for a file, read them from it."""
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


def _plan_self_training(run: BootstrapRun) -> RunPlan:
    settings, size = run.settings, (run.size, run.size)
    config = network_of(run.model, NANO)
    config = replace(
        config,
        initial_resolution=size,
        iterations=run.iterations or config.iterations,
        extra_convs=config.extra_convs if run.extra_convs is None else run.extra_convs,
        refine_at_least=None,
        second_pass=config.second_pass and settings.second_pass,
    )
    with torch.device("meta"):
        student, teacher = Tapir(config).train(), Tapir(config).eval().requires_grad_(False)
    return plan_networks(run, student, teacher, partial(_tracking_loss, student), partial(_passes, teacher))


def plan_networks(
    run: BootstrapRun,
    student: nn.Module,
    teacher: nn.Module,
    learn: Callable[[TapSample], Tensor],
    teach: Callable[[TapSample], object],
) -> RunPlan:
    """Plan a run: in each step the student learns from footage and synthetic clips, and the teacher tracks the footage.

    The teacher is assumed to see its maximum number of frames, when the student sees every n-th one.

    Args:
        run: settings.
        student: network on the device "meta".
        teacher: the same, frozen.
        learn: computes the student's loss on clips.
        teach: makes the teacher track the points of clips.
    """
    settings = run.settings
    with torch.device("meta"):
        clips = empty_clips(1, run.frames, run.size, settings.points)
        shown = empty_clips(1, settings.length(run.frames), run.size, settings.points)

    def loss() -> Tensor:
        total = torch.zeros((), device="meta")
        if settings.synthetic:
            total = total + learn(clips)
        if settings.weight:
            with torch.no_grad():
                teach(shown)
            total = total + learn(clips)
        return total

    step = measure_step(loss, {"student": student, "teacher": teacher}, bf16=run.bf16)
    kinds = "pairs of a clip of footage and a synthetic one" if settings.synthetic else "clips of footage"
    return RunPlan(
        phases=(PhasePlan(steps=run.steps, batch_size=run.clips, micro_batch=1, step=step),),
        examples_are=f"{kinds}, {run.frames} frames of {run.size}x{run.size}, {settings.points} points",
        unpublished=unpublished_values(run, UNPUBLISHED_BOOTSTRAP.get(run.preset, {})),
    )


def _passes(model: Tapir, clips: TapSample) -> list[Trajectories]:
    """Track like `track_passes`, without the features that a second pass averages, since their number depends on the tracks."""
    features = model.features(clips.video)
    points, known = model.query_features(features, clips.queries), places_of(clips.queries, clips.video.shape[1])
    return [model.trajectories(features, points, known) for _ in range(1 + model.config.second_pass)]


def _tracking_loss(model: Tapir, clips: TapSample) -> Tensor:
    size = (clips.video.shape[2], clips.video.shape[3])
    return add_terms(mean_terms([tracking_losses(one, clips.xy, clips.occluded, size) for one in _passes(model, clips)]))[0]
