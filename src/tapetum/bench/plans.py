"""Plans of training runs (`--dry`): steps, warm-up, parameters, FLOPs, memory and price, before any data or weights are there.

Each function below builds the networks of a recipe on "meta" and the loss of one example or two, which `account.plan` measures.
Steps, batches, optimiser and averages are those of the loop's own config, so a plan is of the run that the command would make.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.account.plan import Memory, StepCost, measure_step, process_memory
from tapetum.bench.baselines import check_tapnext, is_tapnext
from tapetum.core.addresses import is_address
from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import architecture, changed, names
from tapetum.encoders.factory import make
from tapetum.encoders.features import Encoder
from tapetum.encoders.references import load as load_encoder
from tapetum.encoders.vit import ViT
from tapetum.hub.registry import entry_of
from tapetum.systems.adapters.adapted import Adapted
from tapetum.systems.adapters.recipes import UNPUBLISHED as ADAPT_UNPUBLISHED
from tapetum.systems.adapters.recipes import AdaptRun
from tapetum.systems.adapters.run import trunk_maker
from tapetum.systems.adapters.task import Headed, make_head
from tapetum.systems.hip.config import Modality
from tapetum.systems.hip.data import image_size
from tapetum.systems.hip.model import Hip
from tapetum.systems.hip.recipes import UNPUBLISHED as HIP_UNPUBLISHED
from tapetum.systems.hip.recipes import HipRun
from tapetum.systems.hip.run import hip_config
from tapetum.systems.hip.task import HipClassifier, masked_losses, unused
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.language import ByteLanguage
from tapetum.systems.longvideo.recipes import UNPUBLISHED as LONG_VIDEO_UNPUBLISHED
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.run import longvideo_config
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.longvideo.video_text_config import BYTE_DECODER, CaptionerConfig
from tapetum.systems.odin.losses import detcon, detcon_s
from tapetum.systems.odin.masks import pool_masks
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.recipes import UNPUBLISHED as ODIN_UNPUBLISHED
from tapetum.systems.odin.recipes import OdinRun
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.paligemma import weights as paligemma_weights
from tapetum.systems.paligemma.config import NAMED, PaliGemmaConfig, named
from tapetum.systems.paligemma.masks.config import SIDE, MaskCodecRun
from tapetum.systems.paligemma.masks.task import LearningCodec
from tapetum.systems.paligemma.recipes import UNPUBLISHED as PALIGEMMA_UNPUBLISHED
from tapetum.systems.paligemma.recipes import PaliGemmaStage, PaliGemmaTransfer
from tapetum.systems.paligemma.run import stage_config, vision_encoder_config
from tapetum.systems.paligemma.transfer.run import samples_of, transfer_config, unmade_model
from tapetum.systems.paligemma.transfer.tasks import task_named
from tapetum.systems.perception_test.localiser.config import LocaliserRun
from tapetum.systems.perception_test.localiser.model import Localiser, anchors
from tapetum.systems.pretraining.cost import CLASSES, blank_source, step_on_meta
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.methods import task_of
from tapetum.systems.pretraining.recipes import UNPUBLISHED as PRETRAIN_UNPUBLISHED
from tapetum.systems.pretraining.recipes import ImageRun, PretrainRun
from tapetum.systems.pretraining.run import loop_config, source_of
from tapetum.systems.pretraining.task import Preset, PretrainTask
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
from tapetum.train import StepContext, TrainConfig
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.phases import phase_config
from tapetum.transfer.coco import detector
from tapetum.transfer.config import CocoRun, FcnRun
from tapetum.transfer.fcn import transfer_config as fine_tuning_config
from tapetum.transfer.segmentation import Segmenter, pixel_loss

MACHINE = 8
"""Processes of the second figure of memory."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Part of a run in which every step costs the same."""

    name: str = ""
    """Empty for a run of one phase."""
    config: TrainConfig
    step: StepCost
    recomputes: bool = False
    """The recipe itself recomputes activations in the backward pass."""

    @property
    def micro_batch(self) -> int:
        """Count the examples that a process handles at a time."""
        return self.config.micro_batch(1)

    @property
    def examples(self) -> int:
        """Count the examples processed, including repeats."""
        return self.config.steps * self.config.batch_size

    @property
    def step_flops(self) -> float:
        """Compute the FLOPs of a step of all processes."""
        again = self.step.forward if self.recomputes or self.config.activation_checkpointing else 0
        return self.config.batch_size * (self.step.forward + self.step.backward + again)

    def memory(self, processes: int = 1) -> Memory:
        """Compute the memory of one of `processes` that shard the model, without recomputation of activations."""
        teachers = 0 if self.step.frozen else len(self.config.every_average)
        moments = 2 if self.config.optimizer == "adamw" else 1
        return process_memory(self.step, self.micro_batch, processes, moments=moments, averages=teachers)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole run."""

    phases: tuple[Phase, ...]
    examples_are: str
    """What an example is, such as "images of 224x224"."""
    data: str = ""
    """Size of the data set, where the steps follow from it."""
    unpublished: tuple[str, ...] = ()
    """Settings that the recipe's paper does not give, each with its value here."""

    @property
    def steps(self) -> int:
        """Count the optimiser steps of all phases."""
        return sum(phase.config.steps for phase in self.phases)

    @property
    def flops(self) -> float:
        """Compute the FLOPs of all phases."""
        return sum(phase.config.steps * phase.step_flops for phase in self.phases)


def plan_run(recipe: Any, launch: Launch | None = None) -> Plan:
    """Plan a run of any recipe; of one in phases that are recipes themselves, phase by phase.

    Raises BadInput for settings that cannot run.
    """
    if callable(parts := getattr(recipe, "phases", None)):
        plans = {name: plan_run(part, launch) for name, part in parts().items()}
        phases = [replace(phase, name=name) for name, plan in plans.items() for phase in plan.phases]
        return Plan(phases=tuple(phases), examples_are=[*plans.values()][-1].examples_are)
    kind = next((kind for kind in PLANS if isinstance(recipe, kind)), None)
    if kind is None:
        raise BadInput(f"there is no plan of a {type(recipe).__name__}; give the recipe of a command that trains")
    return PLANS[kind](recipe, launch or Launch(out=Path()))


def unpublished_values(run: Any, notes: Mapping[str, str]) -> tuple[str, ...]:
    """List settings that no paper states, with their values and the basis for these.

    >>> from tapetum.systems.hip.config import Masked
    >>> unpublished_values(Masked(), {"ratio": "as its figures suggest"})
    ('ratio 0.85: as its figures suggest',)
    """

    def shown(value: Any) -> str:
        if isinstance(value, tuple):
            return f" {' '.join(map(str, value))}"
        return f" {value}" if isinstance(value, str | float | int) and value != "" else ""

    return tuple(f"{name.replace('_', '-')}{shown(getattr(run, name, None))}: {note}" for name, note in notes.items())


DATA_SETS: Mapping[tuple[Preset, bool], tuple[str, int]] = {
    **{(preset, False): ("ImageNet's", 1_281_167) for preset in ("resnet", "vit")},
    **{(preset, True): ("WebImageText's (CLIP, section 2.2)", 400_000_000) for preset in ("resnet", "vit")},
    **{("small", captions): ("as many as CIFAR-10's", 50_000) for captions in (False, True)},
}
"""Images assumed without data, by preset and whether the method learns from captions."""


def _images(run: ImageRun, preset: Preset, captions: bool = False) -> tuple[ImageSource, str]:
    """Read the images of a run, or assume those of its preset's data set; and what the steps follow from.

    Remote data are not looked at if the number of steps is known.
    """
    there = any(is_address(place) or Path(place).exists() for place in run.data)
    if there and not (run.steps and all(map(is_address, run.data))):
        source = source_of(run, captions=captions)
        return source, "" if run.steps else f"{len(source):,} images, of {', '.join(run.data)}"
    name, images = DATA_SETS[preset, captions]
    name += f"; {', '.join(run.data)} is not here" if run.data else ""
    return blank_source(images=images), "" if run.steps else f"{images:,} images, {name}"


def _pretraining(run: PretrainRun, launch: Launch) -> Plan:
    method = task_of(run.method)
    source, data = _images(run, run.preset, method.captions)
    classes = len(source.classes) or CLASSES
    task: PretrainTask = method(run, source)
    config, phases = loop_config(task, launch), []
    for first, end in pairwise((0, *task.cost_changes, config.steps)):
        loss, parts = step_on_meta(run, 2, classes, first)
        step = measure_step(loss, parts, 2, bf16=run.bf16)
        warmup = 0 if first else config.warmup_steps
        own = replace(config, steps=end - first, warmup_steps=warmup) if task.cost_changes else config
        phases.append(Phase(name=f"from step {first + 1:,}" if task.cost_changes else "", config=own, step=step))
    views = ", ".join(f"{run.views.count(side)} of {side}x{side}" for side in dict.fromkeys(run.views))
    notes = unpublished_values(run, PRETRAIN_UNPUBLISHED.get((run.method, run.preset), {}))
    return Plan(phases=tuple(phases), examples_are=f"images, in views: {views}", data=data, unpublished=notes)


_SEGMENTS = 16
"""Masks of an image where their number depends on it."""


def _odin(run: OdinRun, launch: Launch) -> Plan:
    """Every mask is assumed to be in both views."""
    settings, images = run.settings(), 2
    source, data = _images(run, "small" if run.preset == "small" else "resnet")
    clustered = settings.source in ("features", "projections")
    with torch.device("meta"):
        networks = {"online": Odin(settings, make(run.architecture)).train()}
        teachers = (["target"] if settings.form == "b" else []) + (["discovery"] if clustered else [])
        for name in teachers:
            networks[name] = Odin(settings, make(run.architecture)).train().requires_grad_(False)
        view = torch.empty(images, 3, run.size, run.size)
        side = -(-run.size // networks["online"].stride)
        regions = settings.sampled or (settings.clusters if settings.source != "segments" else _SEGMENTS)
        ids = torch.zeros(images, side, side, dtype=torch.int64)
        labels = torch.zeros(images, regions, dtype=torch.int64)
    how: dict[str, Any] = {"temperature": settings.temperature, "local_negatives": settings.local_negatives}

    def project(network: Odin) -> list[Tensor]:
        return [network.project(pool_masks(network(view), ids, regions)[0]) for _ in range(2)]

    def loss() -> Tensor:
        if clustered:
            with torch.no_grad():
                networks["discovery"](view)
        projections = project(networks["online"])
        if settings.form == "s":
            return detcon_s(*projections, labels, labels, **how)
        with torch.no_grad():
            targets = project(networks["target"])
        predictions = [networks["online"].predict(each) for each in projections]
        return detcon(*predictions, *targets, labels, labels, labels, labels, **how)  # pyright: ignore[reportCallIssue]

    step = measure_step(loss, networks, images, bf16=run.bf16)
    return Plan(
        phases=(Phase(config=loop_config(OdinTask(run, source), launch), step=step),),
        examples_are=f"images, in two views of {run.size}x{run.size} and one that spans them",
        data=data,
        unpublished=unpublished_values(run, ODIN_UNPUBLISHED.get(run.preset, {})),
    )


def _kubric(run: TapKubric, launch: Launch) -> Plan:
    config = at_size(_tapir_config(run.start, ARCHITECTURES[run.model]), run.size)
    step = _tapir_step(run, config, run.bf16, refine_with_gradient=run.refine_with_gradient)
    return Plan(
        phases=(Phase(config=kubric_config(run, launch, scored=False), step=step),),
        examples_are=f"clips of {run.frames} frames of {run.size}x{run.size}, {run.points} points",
        unpublished=unpublished_values(run, TAP_UNPUBLISHED.get(run.preset, {})),
    )


def _tap_nano(run: TapNano, launch: Launch) -> Plan:
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


def _tapnext(run: TapNextRun, launch: Launch) -> Plan:
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


def _bootstrap(run: BootstrapRun, launch: Launch) -> Plan:
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


HIP_CLASSES: Mapping[str, int] = {"imagenet": 1000, "audioset": 527, "voc": 21, "modelnet40": 40, "kinetics": 700}
"""Classes of the paper's data sets; others are assumed to have 10."""


def _hip(run: HipRun, launch: Launch) -> Plan:
    modalities = hip_modalities(run)
    with torch.device("meta"):
        inputs = {name: torch.zeros(1, m.length, m.channels) for name, m in modalities.items()}
    phases = []
    if run.mae_steps:
        with torch.device("meta"):
            model = Hip(run.config, modalities).train()
        step = measure_step(
            lambda: torch.stack([*masked_losses(model, inputs, run.masked).values()]).sum(), {"hip": model}, bf16=run.bf16
        )
        config = hip_config(run, launch, run.mae_steps)
        phases.append(Phase(name="masked auto-encoding", config=config, step=step, recomputes=run.checkpointing))
    if run.steps:
        elements, classes = "image" if run.layout == "voc" else None, HIP_CLASSES.get(run.layout, 10)
        with torch.device("meta"):
            classifier = HipClassifier(Hip(run.config, modalities), classes, elements).train()
        for part in unused(classifier):
            part.requires_grad_(False)

        def class_loss() -> Tensor:
            logits = classifier(inputs).flatten(0, -2)
            return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device="meta"))

        step = measure_step(class_loss, {"hip": classifier}, bf16=run.bf16)
        phases.append(Phase(name="classes", config=hip_config(run, launch, run.steps), step=step, recomputes=run.checkpointing))
    if not phases:
        raise BadInput("a run has no steps of either kind; give it some")
    shapes = ", ".join(f"{name} of {m.length:,} x {m.channels}" for name, m in modalities.items())
    notes = unpublished_values(run, HIP_UNPUBLISHED) if run.layout in HIP_CLASSES else ()
    return Plan(phases=tuple(phases), examples_are=f"examples ({shapes})", unpublished=notes)


def hip_modalities(run: HipRun) -> dict[str, Modality]:
    """List the inputs of a layout at the sizes of a run; images for layouts that may hold anything."""
    sizes, size = run.sizes, image_size(run.layout, run.sizes)
    video, audio = Modality((sizes.frames, *size), 3), Modality((sizes.samples,), 1)
    return {
        "audioset": {"video": video, "audio": audio},
        "kinetics": {"video": video},
        "modelnet40": {"points": Modality((sizes.points,), 3)},
    }.get(run.layout, {"image": Modality(size, 3)})


TEXT, SUFFIX = 128, 32
"""Tokens of a text where a recipe does not say, and of its end, which is learned."""
_EXAMPLES = 10_000
"""Examples assumed of a transfer whose data are not there."""


def _paligemma_transfer(run: PaliGemmaTransfer, launch: Launch) -> Plan:
    entry = entry_of(run.start)
    config = NAMED.get(entry.architecture if entry else run.start) or paligemma_weights.load(run.start).config
    if run.image_size is not None:
        config = replace(config, vision_encoder=replace(config.vision_encoder, image_size=(run.image_size,) * 2))
    length = run.learning.length or TEXT
    task = task_named(run.task) if run.task else None
    published = task is not None and task.examples is not None
    examples = (task.examples if task else None) or _EXAMPLES
    source = "of the task (arXiv 2407.07726, table 1)" if published else "assumed"
    if run.data and Path(run.data).exists():
        examples, source = len(samples_of(run, config, masks=False)), f"of {run.data}"
    elif run.data:
        source += f"; {run.data} is not here"
    step = measure_text_step(config, length, min(length, SUFFIX), run.bf16, run)
    return Plan(
        phases=(Phase(config=transfer_config(run, launch, examples), step=step),),
        examples_are=f"images of {config.image_size}x{config.image_size}, texts of {length} tokens",
        data="" if run.steps else f"{examples:,} examples, {source}",
    )


def measure_text_step(
    config: PaliGemmaConfig, length: int, suffix: int, bf16: bool, transfer: PaliGemmaTransfer | None = None
) -> StepCost:
    """Measure the loss of an image and a text with `suffix` learned tokens; the rest is the prefix, at least one."""
    side = config.image_size
    model = unmade_model(transfer or PaliGemmaTransfer(), replace(config, prefix_mask="full"))
    with torch.device("meta"):
        pixels = torch.zeros(1, 1, 3, side, side)
        before, after = (torch.ones(1, n, dtype=torch.int64) for n in (max(1, length - suffix), suffix))

    def loss() -> Tensor:
        logits = model.language.logits(model.read(model.embed_images(pixels), before, after))
        return F.cross_entropy(logits.float().flatten(0, 1), after.flatten())

    return measure_step(loss, {"paligemma": model}, bf16=bf16)


def _paligemma_stage(run: PaliGemmaStage, launch: Launch) -> Plan:
    vision = vision_encoder_config(run)
    examples = f"images of {run.image_size}x{run.image_size}"
    if run.stage == "0":
        with torch.device("meta"):
            encoder, pixels = ViT(vision).train(), torch.zeros(1, 3, run.image_size, run.image_size)
        step = measure_step(lambda: encoder(pixels).pooled.square().mean(), {"vision_encoder": encoder}, bf16=run.bf16)
    else:
        length = run.learning.length or TEXT
        step = measure_text_step(replace(named(run.model), vision_encoder=vision), length, length, run.bf16)
        examples += f", texts of {length} tokens"
    return Plan(
        phases=(Phase(config=stage_config(run, launch), step=step),),
        examples_are=examples,
        unpublished=unpublished_values(run, PALIGEMMA_UNPUBLISHED.get(run.stage, {})) if run.preset == "paper" else (),
    )


def _mask_codec(run: MaskCodecRun, launch: Launch) -> Plan:
    with torch.device("meta"):
        model, masks = LearningCodec(run), torch.zeros(2, SIDE, SIDE)
    model.eval()  # codes stay where they are, which costs next to nothing

    def loss() -> Tensor:
        decoded, distance, _ = model(masks)
        return decoded.square().mean() + distance

    config = train_config(run, launch, micro_batch=run.micro_batch, weight_decay=0.0)
    phase = Phase(config=config, step=measure_step(loss, {"codec": model}, 2))
    return Plan(phases=(phase,), examples_are=f"masks of {SIDE}x{SIDE}")


def _long_video(run: VideoTextRun, launch: Launch) -> Plan:
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


_ACTIONS, _STATE = 4, 4
"""Numbers of an action and of the robot's own state: Meta-World's."""


def _adapt(run: AdaptRun, launch: Launch) -> Plan:
    """The cache of features below the lowest adapter is left out."""
    if run.task not in ("classify", "segment", "clone"):
        raise BadInput(f"a task of your own, {run.task}, cannot be planned; give classify, segment or clone")
    entry = entry_of(run.trunk)
    name = run.trunk if entry is None else entry.architecture
    trunk = make(architecture(name)) if name in names() else trunk_maker(run, None)()  # adapters are fitted by a forward pass
    about: dict[str, Any] = {"task": run.task, "classes": [str(k) for k in range(10)]}
    about |= {"channels": list(trunk.map_channels)} if run.task == "segment" else {"width": trunk.width}
    if run.task == "clone":
        hidden = [256, 256] if run.head == "mlp" else []
        about |= {"actions": _ACTIONS, "own": _STATE if run.own == "concat" else 0, "hidden": hidden}
        del about["classes"]
    side, columns = run.pixels or trunk.preprocessing.size[0], run.pixels or trunk.preprocessing.size[1]
    network: Any = trunk
    if run.regime != "full":
        adapted = Adapted(trunk)
        if run.regime == "adapters":
            adapted.add(run.name, run.config, run.seed)
        network = adapted.network(run.name if run.regime == "adapters" else None)
    with torch.device("meta"):
        model = Headed(network.to("meta"), make_head(about), about).train()
        images = torch.zeros(2, 3, side, columns)
        state = torch.zeros(2, _STATE) if run.task == "clone" and run.own == "concat" else None
    step = measure_step(lambda: model(images, state).square().mean(), {"headed": model}, 2)
    return Plan(
        phases=(Phase(config=train_config(run, launch, micro_batch=run.batch_size), step=step),),
        examples_are=f"images of {side}x{columns}",
        unpublished=unpublished_values(run, ADAPT_UNPUBLISHED) if run.suite != "own" else (),
    )


_CHANNELS, _ACTION_CLASSES = 1280, 63
"""Of a localiser's features and segments, without data: EfficientNet-Lite's, and the benchmark's actions."""


def _localiser(run: LocaliserRun, launch: Launch) -> Plan:
    """Features, which are computed once beforehand, are left out."""
    channels, positions = _CHANNELS * max(run.grid, 1) ** 2, len(anchors(run.network))
    with torch.device("meta"):
        model = Localiser(run.network, channels, _ACTION_CLASSES).train()
        features = torch.zeros(1, run.network.length, channels)
        targets, distances = torch.zeros(1, positions, _ACTION_CLASSES), torch.zeros(1, positions, 2)
    step = measure_step(lambda: model.loss(features, targets, distances)[0], {"localiser": model})
    config = train_config(run, launch, micro_batch=run.micro_batch, warmup_steps=run.steps // 10, ema_decay=0.99)
    videos = f"videos of {run.network.length} steps of {channels:,} features"
    return Plan(phases=(Phase(config=config, step=step),), examples_are=videos)


_PIXEL_CLASSES = {"voc": 21, "cityscapes": 19, "camvid": 11, "ade20k": 150}
_THINGS, _REGIONS, _MASKED = 80, 512, 128
"""Classes of COCO; regions of an image whose boxes, and whose masks, are learned at most (torchvision's defaults)."""


def _encoder(reference: str, side: int) -> Encoder:
    """Make the encoder with shapes only if its name determines it; load it if it is a file."""
    entry = entry_of(reference)
    name = reference.removeprefix("random:") if entry is None else entry.architecture
    if name not in names():
        return load_encoder(reference, text=False).to("meta")
    described = architecture(name)
    if hasattr(described.config, "image_size"):
        described = changed(described, {"image_size": (side, side)})
    with torch.device("meta"):
        return make(described)


def _segmenter(run: FcnRun, launch: Launch) -> Plan:
    with torch.device("meta"):
        model = Segmenter(_encoder(run.encoder, run.crop), _PIXEL_CLASSES[run.layout], run.head).train()
        images, truth = torch.zeros(2, 3, run.crop, run.crop), torch.zeros(2, run.crop, run.crop, dtype=torch.int64)
    model.encoder.requires_grad_(not run.freeze)
    step = measure_step(lambda: pixel_loss(model(images), truth), {"segmenter": model}, 2, bf16=run.bf16)
    phase = Phase(config=fine_tuning_config(run, launch), step=step)
    return Plan(phases=(phase,), examples_are=f"images of {run.crop}x{run.crop}")


def _detector(run: CocoRun, launch: Launch) -> Plan:
    """A detector's step on the largest image, with the maximum number of training regions."""
    rows, columns = (-(-side // 32) * 32 for side in (run.short_sides[-1], run.long_side))
    encoder = _encoder(run.encoder, rows)
    if hasattr(encoder.config, "image_size"):
        raise BadInput(f"a plan of a detector on {run.encoder}, which knows one size of images, cannot be made; give another")
    with torch.device("meta"):
        model: Any = detector(encoder, _THINGS, run).train()
        image = torch.zeros(1, 3, rows, columns)
        regions, masked = torch.zeros(_REGIONS, run.width, 7, 7), torch.zeros(_MASKED, run.width, 14, 14)
    encoder.requires_grad_(not run.freeze)
    heads = model.roi_heads

    def loss() -> Tensor:
        maps = [*model.backbone(image).values()]
        learned = regions + maps[0].mean()  # so that gradients go on to the maps
        outputs = [*(output for level in model.rpn.head(maps) for output in level)]
        outputs += heads.box_predictor(heads.box_head(learned))
        if run.masks:
            outputs.append(heads.mask_predictor(heads.mask_head(masked + maps[0].mean())))
        return torch.stack([output.float().square().mean() for output in outputs]).sum()

    step = measure_step(loss, {"detector": model}, bf16=run.bf16)
    phase = Phase(config=fine_tuning_config(run, launch), step=step)
    return Plan(phases=(phase,), examples_are=f"images of {run.short_sides[-1]}x{run.long_side}")


PLANS: dict[type, Callable[[Any, Launch], Plan]] = {
    PretrainRun: _pretraining,
    OdinRun: _odin,
    TapKubric: _kubric,
    TapNano: _tap_nano,
    TapNextRun: _tapnext,
    BootstrapRun: _bootstrap,
    HipRun: _hip,
    PaliGemmaStage: _paligemma_stage,
    PaliGemmaTransfer: _paligemma_transfer,
    MaskCodecRun: _mask_codec,
    VideoTextRun: _long_video,
    AdaptRun: _adapt,
    LocaliserRun: _localiser,
    FcnRun: _segmenter,
    CocoRun: _detector,
}
"""What plans the recipes of a class; a package with recipes of its own adds them here."""
