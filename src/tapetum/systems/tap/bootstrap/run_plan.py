"""Plan of self-training of a tracker (`tapetum bootstrap --dry`)."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.systems.tap.bootstrap.config import UNPUBLISHED, BootstrapRun
from tapetum.systems.tap.config import NANO
from tapetum.systems.tap.network.model import Tapir, places_of
from tapetum.systems.tap.network.types import Trajectories
from tapetum.systems.tap.training.losses import tracking_losses
from tapetum.systems.tap.training.run_plan import network_of
from tapetum.tracks.training.data import TapSample, empty_clips
from tapetum.tracks.training.tracker_task import add_terms, mean_terms
from tapetum.train.measure_step import measure_step


def plan_run(run: BootstrapRun) -> RunPlan:
    """Plan the run of a TAPIR; see `plan_networks`."""
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
    """Plan a run: in a step the student learns from footage and from synthetic clips, and the teacher looks at the footage.

    The teacher is taken to see as many frames as it does at most, where the student sees every n-th one.

    Args:
        run: settings.
        student: network on the device "meta".
        teacher: the same, which learns nothing.
        learn: computes the student's loss of clips.
        teach: lets the teacher track the points of clips.
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
        unpublished=unpublished_values(run, UNPUBLISHED.get(run.preset, {})),
    )


def _passes(model: Tapir, clips: TapSample) -> list[Trajectories]:
    """Track as `track_passes` does, but for the features that a second pass averages, whose number depends on the tracks."""
    features = model.features(clips.video)
    points, known = model.query_features(features, clips.queries), places_of(clips.queries, clips.video.shape[1])
    return [model.trajectories(features, points, known) for _ in range(1 + model.config.second_pass)]


def _tracking_loss(model: Tapir, clips: TapSample) -> Tensor:
    size = (clips.video.shape[2], clips.video.shape[3])
    return add_terms(mean_terms([tracking_losses(one, clips.xy, clips.occluded, size) for one in _passes(model, clips)]))[0]
