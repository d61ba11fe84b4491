"""Plan of a pre-training run (`tapetum pretrain METHOD --dry`), and the cost of a step: without images, memory or arithmetic.

After "Where Should I Spend My FLOPs?" (arXiv 2209.15589), whose unit is the gradient step. `run.predict` counts the real step.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tapetum.account.closed_form import ClosedForm, closed_form
from tapetum.account.flops import Flops, by_part, count_flops
from tapetum.account.run_plan import PhasePlan, RunPlan, unpublished_values
from tapetum.core.addresses import is_address
from tapetum.core.errors import BadInput
from tapetum.encoders.factory import make
from tapetum.systems.pretraining.data import ImageSource, NoImages, TrainingImage
from tapetum.systems.pretraining.methods import METHODS, task_of
from tapetum.systems.pretraining.recipes import UNPUBLISHED, ImageRun, PretrainRun
from tapetum.systems.pretraining.run import source_of
from tapetum.systems.pretraining.task import Preset
from tapetum.train import StepContext
from tapetum.train.measure_step import measure_step

CLASSES = 1000
"""Of supervised, where no data say how many there are: ImageNet's."""


def account_step(run: PretrainRun, images: int | None = None, classes: int = CLASSES) -> ClosedForm:
    """Count the cost of a step on some images (by default the run's batch) in closed form.

    Raises BadInput if encoder and method do not fit together.
    """
    loss, parts = step_on_meta(run, run.batch_size if images is None else images, classes)
    with by_part(parts):
        return closed_form(loss)


def count_step(run: PretrainRun, images: int | None = None, classes: int = CLASSES) -> Flops:
    """Count the operations of the same step, as an independent check; that of your own method is really computed."""
    device = "meta" if run.method in METHODS else "cpu"
    loss, parts = step_on_meta(run, run.batch_size if images is None else images, classes, device=device)
    with by_part(parts):
        return count_flops(loss)


def parameters(run: PretrainRun, classes: int = CLASSES) -> dict[str, int]:
    """Count trainable parameters: of the encoder, and of its heads."""
    with torch.device("meta"):
        task = task_of(run.method)(run, blank_source(classes))
        model: Any = task.learner(make(run.architecture))
    encoder = sum(p.numel() for p in model.encoder.parameters())
    return {"encoder": encoder, "heads": sum(p.numel() for p in model.parameters()) - encoder}


def blank_source(classes: int = CLASSES) -> ImageSource:
    """Make a source with classes and no images."""
    return ImageSource(NoImages(0), np.zeros(1, np.int64), tuple(str(k) for k in range(classes)))


def step_on_meta(
    run: PretrainRun, images: int, classes: int = CLASSES, step: int = 0, device: str = "meta"
) -> tuple[Callable[[], torch.Tensor], dict[str, nn.Module]]:
    """Make the loss of a micro-batch, as a function without arguments, and the parts; models and inputs are shapes only.

    Steps differ in the sizes of their views, if at all (`PretrainTask.cost_changes`).
    """
    task = task_of(run.method)(run, blank_source(classes))
    with torch.device(device):
        encoders = (run.freeze(make(run.architecture)) for _ in range(1 + len(task.averages)))
        model, *teachers = (task.learner(encoder).train() for encoder in encoders)
        batch: dict[str, Any] = {"views": [torch.empty(images, 3, view.size, view.size) for view in task.views_at(step)]}
    number = step * run.batch_size
    extras = task.extras([TrainingImage(np.empty((1, 1, 3), np.uint8), number=number, index=0, damaged=())])
    batch |= {name: torch.zeros(images, *x.shape[1:], dtype=x.dtype, device=device) for name, x in extras.items()}
    named = {a.name: teacher.requires_grad_(False).eval() for a, teacher in zip(task.averages, teachers, strict=True)}
    context = StepContext(teachers=named)

    def loss() -> torch.Tensor:
        if run.method in METHODS or device != "meta":
            return task.method_loss(model, batch, context)[0]
        try:
            with torch.device(device):
                return task.method_loss(model, batch, context)[0]
        except (RuntimeError, NotImplementedError) as error:
            raise BadInput(
                f"{run.method} cannot be planned, because its loss reads values ({str(error).splitlines()[0]}), and a plan has "
                "shapes alone; use tensor operations on the batch's device in method_loss, or leave --dry out"
            ) from error

    return loss, {**task.cost_parts(model), **named}


_MEASURED = 2
"""Images of the step that is measured: similarities among those of a whole batch cost next to nothing."""

DATA_SETS: Mapping[tuple[Preset, bool], tuple[str, int]] = {
    **{(preset, False): ("ImageNet's", 1_281_167) for preset in ("resnet", "vit")},
    **{(preset, True): ("WebImageText's (CLIP, section 2.2)", 400_000_000) for preset in ("resnet", "vit")},
    **{("small", captions): ("as many as CIFAR-10's", 50_000) for captions in (False, True)},
}
"""By preset, and whether its method learns from captions: a data set and its images, from which epochs become steps where no
data are looked at."""


def plan_run(run: PretrainRun) -> RunPlan:
    """Plan a run on its images, or if they do not exist yet, on as many as its preset's data set has.

    Raises what the run would raise for existing images.
    """
    method = task_of(run.method)
    source = images_there(run, captions=method.captions)
    if source is not None:
        method(run, source)
    classes = len(source.classes) if source is not None and source.classes else CLASSES
    steps, data = planned_steps(run, source, run.preset, method.captions)
    run = replace(run, steps=steps)
    sizes: dict[str, Any] = {
        "batch_size": run.batch_size,
        "micro_batch": run.micro_batch,
        "negatives": method.negatives,
    }
    views = ", ".join(f"{run.views.count(side)} of {side}x{side}" for side in dict.fromkeys(run.views))
    changes = method(run, blank_source(classes)).cost_changes
    phases = []
    for first, end in pairwise((0, *changes, steps)):
        loss, parts = step_on_meta(run, _MEASURED, classes, first)
        step = measure_step(loss, parts, _MEASURED, bf16=run.bf16)
        name = f"from step {first + 1:,}" if changes else ""
        phases.append(PhasePlan(name=name, steps=end - first, step=step, **sizes))
    return RunPlan(
        phases=tuple(phases),
        examples_are=f"images, in views: {views}",
        data=data,
        unpublished=unpublished_values(run, UNPUBLISHED.get((run.method, run.preset), {})),
    )


def images_there(run: ImageRun, *, captions: bool = False) -> ImageSource | None:
    """Read the images of a run; None if none of their places exists yet, or if they are remote and no count is needed."""
    if run.steps and all(map(is_address, run.data)):
        return None
    there = any(is_address(place) or Path(place).exists() for place in run.data)
    return source_of(run, captions=captions) if there else None


def planned_steps(run: ImageRun, source: ImageSource | None, preset: Preset, captions: bool = False) -> tuple[int, str]:
    """Compute the number of steps on a source, or on the preset's data set, and say what it is based on."""
    name, images = DATA_SETS[preset, captions]
    if source is not None:
        name, images = f"of {', '.join(run.data)}", len(source)
    elif run.data:
        name += f"; {', '.join(run.data)} is not here"
    return run.steps_of(images), "" if run.steps else f"{images:,} images, {name}"
