"""Plan of a training run of HiP (`tapetum train hip --dry`); `plan` is that of a network."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.account.run_plan import MeasuredStep, PhasePlan, RunPlan, unpublished_values
from tapetum.core.errors import BadInput
from tapetum.systems.hip.config import Modality
from tapetum.systems.hip.data import image_size
from tapetum.systems.hip.model import Hip
from tapetum.systems.hip.recipes import UNPUBLISHED, HipRun
from tapetum.systems.hip.task import HipClassifier, masked_losses, unused
from tapetum.train.measure_step import measure_step

CLASSES: Mapping[str, int] = {"imagenet": 1000, "audioset": 527, "voc": 21, "modelnet40": 40, "kinetics": 700}
"""Of the data sets of the paper; 10 are taken of others."""


def plan_run(run: HipRun) -> RunPlan:
    """Plan both phases of a run, as many as it has."""
    modalities = modalities_of(run)
    phases: list[PhasePlan] = []
    kinds: tuple[tuple[str, int, Callable[[HipRun, Mapping[str, Modality]], MeasuredStep]], ...] = (
        ("masked auto-encoding", run.mae_steps, _masked_step),
        ("classes", run.steps, _class_step),
    )
    for name, steps, measure in kinds:
        if steps:
            sizes: dict[str, Any] = {"batch_size": run.batch_size, "micro_batch": run.micro_batch}
            step = measure(run, modalities)
            phases.append(PhasePlan(name=name, steps=steps, checkpointing=run.checkpointing, step=step, **sizes))
    if not phases:
        raise BadInput("a run has no steps of either kind; give it some")
    shapes = ", ".join(f"{name} of {m.length:,} x {m.channels}" for name, m in modalities.items())
    return RunPlan(
        phases=tuple(phases),
        examples_are=f"examples ({shapes})",
        unpublished=unpublished_values(run, UNPUBLISHED) if run.layout in CLASSES else (),
    )


def modalities_of(run: HipRun) -> dict[str, Modality]:
    """List the inputs of a layout at the sizes of a run; of `parquet`, `shards` and `classes` images are taken."""
    sizes, size = run.sizes, image_size(run.layout, run.sizes)
    image, points = Modality(size, 3), Modality((sizes.points,), 3)
    video, audio = Modality((sizes.frames, *size), 3), Modality((sizes.samples,), 1)
    return {
        "audioset": {"video": video, "audio": audio},
        "kinetics": {"video": video},
        "modelnet40": {"points": points},
    }.get(run.layout, {"image": image})


def _inputs(modalities: Mapping[str, Modality]) -> dict[str, Tensor]:
    return {name: torch.zeros(1, m.length, m.channels) for name, m in modalities.items()}


def _masked_step(run: HipRun, modalities: Mapping[str, Modality]) -> MeasuredStep:
    with torch.device("meta"):
        model, inputs = Hip(run.config, modalities).train(), _inputs(modalities)

    def loss() -> Tensor:
        return torch.stack([*masked_losses(model, inputs, run.masked).values()]).sum()

    return measure_step(loss, {"hip": model}, bf16=run.bf16)


def _class_step(run: HipRun, modalities: Mapping[str, Modality]) -> MeasuredStep:
    elements, classes = "image" if run.layout == "voc" else None, CLASSES.get(run.layout, 10)
    with torch.device("meta"):
        model, inputs = HipClassifier(Hip(run.config, modalities), classes, elements).train(), _inputs(modalities)
    for part in unused(model):
        part.requires_grad_(False)

    def loss() -> Tensor:
        logits = model(inputs).flatten(0, -2)
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device="meta"))

    return measure_step(loss, {"hip": model}, bf16=run.bf16)
