"""Plans of training runs (`--dry`): steps, warm-up, parameters, FLOPs, memory and price, before any data or weights are there.

Each function below builds the networks of a recipe on "meta" and the loss of one example or two, which `account.plan` measures.
Steps, batches, optimiser and averages are those of the loop's own config, so a plan is of the run that the command would make.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.account.plan import measure_step
from tapetum.bench.paligemma_plans import plan_mask_codec, plan_paligemma_stage, plan_paligemma_transfer
from tapetum.bench.plan_types import Phase, Plan, unpublished_values
from tapetum.bench.video_plans import plan_bootstrap, plan_kubric, plan_long_video, plan_tap_nano, plan_tapnext
from tapetum.core.addresses import is_address
from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import architecture, changed, names
from tapetum.encoders.factory import make
from tapetum.encoders.features import Encoder
from tapetum.encoders.references import load as load_encoder
from tapetum.hub.registry import entry_of
from tapetum.systems.adapters.adapted import Adapted
from tapetum.systems.adapters.data import listed
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
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.odin.losses import detcon, detcon_s
from tapetum.systems.odin.masks import pool_masks
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.recipes import UNPUBLISHED as ODIN_UNPUBLISHED
from tapetum.systems.odin.recipes import OdinRun
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.paligemma.masks.config import MaskCodecRun
from tapetum.systems.paligemma.recipes import PaliGemmaStage, PaliGemmaTransfer
from tapetum.systems.perception_test.localiser.config import LocaliserRun
from tapetum.systems.perception_test.localiser.model import Localiser, anchors
from tapetum.systems.pretraining.cost import CLASSES, blank_source, step_on_meta
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.methods import task_of
from tapetum.systems.pretraining.recipes import ImageRun, PretrainRun
from tapetum.systems.pretraining.run import loop_config, source_of
from tapetum.systems.pretraining.task import Preset, PretrainTask
from tapetum.systems.tap.bootstrap.config import BootstrapRun
from tapetum.systems.tap.recipes import TapKubric, TapNano
from tapetum.systems.tapnext.recipes import TapNextRun
from tapetum.train.launch_config import Launch, train_config
from tapetum.transfer.coco import detector
from tapetum.transfer.config import CocoRun, FcnRun
from tapetum.transfer.fcn import transfer_config as fine_tuning_config
from tapetum.transfer.segmentation import Segmenter, pixel_loss


def plan_run(recipe: Any, launch: Launch | None = None) -> Plan:
    """Plan a run of any recipe; of one in phases that are recipes themselves, phase by phase.

    Raises BadInput for settings that cannot run.
    """
    parts: Any = getattr(recipe, "phases", None)
    if callable(parts):
        named: Any = parts()
        plans = {name: plan_run(part, launch) for name, part in named.items()}
        phases = [replace(phase, name=name) for name, plan in plans.items() for phase in plan.phases]
        return Plan(phases=tuple(phases), examples_are=[*plans.values()][-1].examples_are)
    kind = next((kind for kind in PLANS if isinstance(recipe, kind)), None)
    if kind is None:
        raise BadInput(f"there is no plan of a {type(recipe).__name__}; give the recipe of a command that trains")
    return PLANS[kind](recipe, launch or Launch(out=Path()))


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
    notes = unpublished_values(run, task_of(run.method).unpublished.get(run.preset, {}))
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
            return detcon_s(*projections, labels, labels, **how)  # pyright: ignore[reportCallIssue]
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
    there = run.task != "clone" and Path(run.data or " ").exists()
    run = run.for_images(len(listed(Path(run.data), run.task, "train")) if there else sys.maxsize)
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
    TapKubric: plan_kubric,
    TapNano: plan_tap_nano,
    TapNextRun: plan_tapnext,
    BootstrapRun: plan_bootstrap,
    HipRun: _hip,
    PaliGemmaStage: plan_paligemma_stage,
    PaliGemmaTransfer: plan_paligemma_transfer,
    MaskCodecRun: plan_mask_codec,
    VideoTextRun: plan_long_video,
    AdaptRun: _adapt,
    LocaliserRun: _localiser,
    FcnRun: _segmenter,
    CocoRun: _detector,
}
"""What plans the recipes of a class; a package with recipes of its own adds them here."""
