"""Plans of training runs on video: TAPIR, TAPNext, BootsTAP and encoders of long videos (`tapetum.bench.plans`)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.account.plan import StepCost, measure_step
from tapetum.bench.baselines import check_tapnext, is_tapnext
from tapetum.bench.plan_types import Phase, Plan, unpublished_values
from tapetum.hub.registry import entry_of
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.language import ByteLanguage
from tapetum.systems.longvideo.recipes import UNPUBLISHED as LONG_VIDEO_UNPUBLISHED
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.run import longvideo_config
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.longvideo.video_text_config import BYTE_DECODER, CaptionerConfig
from tapetum.systems.tap.bootstrap.config import UNPUBLISHED as BOOTSTRAP_UNPUBLISHED
from tapetum.systems.tap.bootstrap.config import BootstrapRun
from tapetum.systems.tap.bootstrap.run import bootstrap_config
from tapetum.systems.tap.config import ARCHITECTURES, NANO, TapirConfig
from tapetum.systems.tap.model import Tapir, places_of
from tapetum.systems.tap.recipes import MATCHING_WEIGHT, TapKubric, TapNano
from tapetum.systems.tap.recipes import UNPUBLISHED as TAP_UNPUBLISHED
from tapetum.systems.tap.run import kubric_config
from tapetum.systems.tap.task import TrackingTask, at_size, tracking_losses
from tapetum.systems.tap.tracking import tracker as tapir_tracker
from tapetum.systems.tap.types import Trajectories
from tapetum.systems.tapnext import tracker as tapnext_tracker
from tapetum.systems.tapnext.config import ARCHITECTURES as TAPNEXT_ARCHITECTURES
from tapetum.systems.tapnext.family import TapNextFamily
from tapetum.systems.tapnext.model import TapNext
from tapetum.systems.tapnext.recipes import UNPUBLISHED as TAPNEXT_UNPUBLISHED
from tapetum.systems.tapnext.recipes import TapNextRun
from tapetum.systems.tapnext.run import loop_settings
from tapetum.systems.tapnext.task import TapNextTask
from tapetum.tracks.training.data import TapSample, empty_clips
from tapetum.tracks.training.recipes import changed_phases
from tapetum.tracks.training.tracker_task import add_terms, mean_terms
from tapetum.train import StepContext
from tapetum.train.launch_config import Launch
from tapetum.train.phases import phase_config


def plan_kubric(run: TapKubric, launch: Launch) -> Plan:
    config = at_size(_tapir_config(run.start, ARCHITECTURES[run.model]), run.size)
    step = _tapir_step(run, config, run.bf16, refine_with_gradient=run.refine_with_gradient)
    return Plan(
        phases=(Phase(config=kubric_config(run, launch, scored=False), step=step),),
        examples_are=f"clips of {run.frames} frames of {run.size}x{run.size}, {run.points} points",
        unpublished=unpublished_values(run, TAP_UNPUBLISHED.get(run.preset, {})),
    )


def plan_tap_nano(run: TapNano, launch: Launch) -> Plan:
    phases = []
    for phase in changed_phases(run, run.phases):
        sized = replace(at_size(run.model, phase.size), iterations=phase.iterations)
        step = _tapir_step(phase, sized, run.bf16, matching_weight=MATCHING_WEIGHT)
        phases.append(Phase(name=phase.name, config=phase_config(phase, launch, run.seed), step=step))
    return Plan(phases=tuple(phases), examples_are="clips")


def _tapir_config(start: str | None, otherwise: TapirConfig) -> TapirConfig:
    """Look up the network of named weights without reading them; read that of a file."""
    if start is None:
        return otherwise
    entry = entry_of(start)
    known = ARCHITECTURES.get(start if entry is None else entry.architecture)
    return known or tapir_tracker.load(start).model.config


def _tapir_step(clips: Any, config: TapirConfig, bf16: bool, **settings: Any) -> StepCost:
    task = TrackingTask(clips.size, clips.points, **settings)  # pyright: ignore[reportAbstractUsage]
    with torch.device("meta"):
        model, sample = Tapir(config).train(), empty_clips(1, clips.frames, clips.size, clips.points)
    return measure_step(lambda: task.loss(model, sample, StepContext())[0], {"model": model}, bf16=bf16)


def plan_tapnext(run: TapNextRun, launch: Launch) -> Plan:
    phases = changed_phases(run, run.phases)
    network = tapnext_tracker.load(run.start).model.config if run.start else run.model
    network = replace(network, video_size=(phases[-1].size,) * 2)
    planned = []
    for phase in phases:
        task = TapNextTask(run, phase, network, (), lambda: (), None)  # pyright: ignore[reportArgumentType]
        with torch.device("meta"):
            model, clips = TapNext(network).train(), empty_clips(1, phase.frames, phase.size, phase.points)
        step = measure_step(partial(_first_of, task.loss, model, clips, StepContext()), {"model": model}, bf16=run.bf16)
        config = phase_config(phase, launch, run.seed, **loop_settings(run, phases))
        planned.append(Phase(name=phase.name if len(phases) > 1 else "", config=config, step=step))
    last = phases[-1]
    return Plan(
        phases=tuple(planned),
        examples_are=f"clips, at the end of {last.frames} frames of {last.size}x{last.size}, {last.points} points",
        unpublished=unpublished_values(run, TAPNEXT_UNPUBLISHED.get(run.preset, {})),
    )


def _first_of(function: Callable[..., tuple[Tensor, Any]], *args: Any) -> Tensor:
    return function(*args)[0]


def plan_bootstrap(run: BootstrapRun, launch: Launch) -> Plan:
    """In each step the student learns from footage and synthetic clips, and the teacher tracks the footage.

    The teacher is assumed to see its maximum number of frames, when the student sees every n-th one.
    """
    settings = run.settings
    if is_tapnext(run.model):
        check_tapnext(run)
        student, teacher, learn, teach = _tapnext_pair(run.model)
    else:
        student, teacher, learn, teach = _tapir_pair(run)
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
    return Plan(
        phases=(Phase(config=bootstrap_config(run, launch), step=step),),
        examples_are=f"{kinds}, {run.frames} frames of {run.size}x{run.size}, {settings.points} points",
        unpublished=unpublished_values(run, BOOTSTRAP_UNPUBLISHED.get(run.preset, {})),
    )


Pair = tuple[nn.Module, nn.Module, Callable[[TapSample], Tensor], Callable[[TapSample], object]]
"""Student, teacher, the student's loss on clips, and what makes the teacher track clips."""


def _tapir_pair(run: BootstrapRun) -> Pair:
    config = _tapir_config(run.model, NANO)
    config = replace(
        config,
        initial_resolution=(run.size, run.size),
        iterations=run.iterations or config.iterations,
        extra_convs=config.extra_convs if run.extra_convs is None else run.extra_convs,
        refine_at_least=None,
        second_pass=config.second_pass and run.settings.second_pass,
    )
    with torch.device("meta"):
        student, teacher = Tapir(config).train(), Tapir(config).eval().requires_grad_(False)

    def passes(model: Tapir, clips: TapSample) -> list[Trajectories]:
        """Track without the features that a second pass averages, since their number depends on the tracks."""
        features = model.features(clips.video)
        points, known = model.query_features(features, clips.queries), places_of(clips.queries, clips.video.shape[1])
        return [model.trajectories(features, points, known) for _ in range(1 + model.config.second_pass)]

    def learn(clips: TapSample) -> Tensor:
        size = (run.size, run.size)
        terms = [tracking_losses(one, clips.xy, clips.occluded, size) for one in passes(student, clips)]
        return add_terms(mean_terms(terms))[0]

    return student, teacher, learn, partial(passes, teacher)


def _tapnext_pair(model: str) -> Pair:
    entry, family = entry_of(model), TapNextFamily(model)
    config = TAPNEXT_ARCHITECTURES.get(entry.architecture) if entry else None
    config = config or family.start().config
    with torch.device("meta"):
        student, teacher = TapNext(config).train(), TapNext(config).eval().requires_grad_(False)

    def learn(clips: TapSample) -> Tensor:
        return family.clip_loss(student, clips)[0]

    return student, teacher, learn, lambda clips: family.estimate(teacher, clips.video, clips.queries)


def plan_long_video(run: VideoTextRun, launch: Launch) -> Plan:
    """The network is that of `run.model`, whatever weights it starts from; similarities among clips cost next to nothing."""
    loss, parts = {"language": _language, "video-to-text": _video_to_text}.get(run.stage, _contrastive)(run)
    step = measure_step(loss, parts, bf16=run.bf16)
    frames = 1 if run.stage == "images" else run.frames
    return Plan(
        phases=(Phase(config=longvideo_config(run, launch), step=step, recomputes=run.checkpointing),),
        examples_are="texts" if run.stage == "language" else f"clips of {frames} frames of {run.size}x{run.size}",
        unpublished=unpublished_values(run, LONG_VIDEO_UNPUBLISHED[run.stage]) if run.preset == "paper" else (),
    )


Measured = tuple[Callable[[], Tensor], Mapping[str, nn.Module]]


def _contrastive(run: VideoTextRun) -> Measured:
    config = run.config
    with torch.device("meta"):
        model = VideoText(replace(config, video=replace(config.video, checkpoint_segments=False))).train()
        video = torch.zeros(1, run.frames, run.size, run.size, 3)
        ids = torch.ones(1, config.text.length, dtype=torch.int64)

    def loss() -> Tensor:
        total = torch.zeros((), device="meta")
        if run.stage in ("images", "short"):
            total = total + (model.embed_images(video[:, 0]) * model.embed_texts(ids)).sum()
        if run.stage != "images":
            total = total + (model.embed_videos(video) * model.embed_texts(ids)).sum()
        return total * model.scale()

    return loss, {"video": model.video, "text": model}


def _language(run: VideoTextRun) -> Measured:
    length = CaptionerConfig.__dataclass_fields__["length"].default
    with torch.device("meta"):
        model, ids = ByteLanguage(BYTE_DECODER).train(), torch.ones(1, length, dtype=torch.int64)
    return lambda: model(ids[:, :-1]).float().logsumexp(-1).mean(), {"language": model}


def _video_to_text(run: VideoTextRun) -> Measured:
    changes = {"mask_always": run.mask_ratio > 0, "checkpoint_segments": False}
    config = CaptionerConfig(video=replace(run.config.video, **changes))
    with torch.device("meta"):
        model = Captioner(config).train()
        video = torch.zeros(1, run.frames, run.size, run.size, 3)
        ids = torch.ones(1, config.length, dtype=torch.int64)
    return lambda: model(ids[:, :-1], model.encode(video)).float().logsumexp(-1).mean(), {"captioner": model}
