"""Cost of a training step, computed from the settings alone, without images, memory or arithmetic on tensors.

After "Where Should I Spend My FLOPs?" (arXiv 2209.15589), whose unit is the gradient step. `run.predict` counts the real step.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tapetum.account.closed_form import ClosedForm, closed_form
from tapetum.account.flops import Flops, by_part, count_flops
from tapetum.encoders.factory import make
from tapetum.systems.pretraining.data import ImageSource, NoImages, TrainingImage
from tapetum.systems.pretraining.methods import task_of
from tapetum.systems.pretraining.recipes import PretrainRun
from tapetum.train import StepContext

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
    """Count the operations of the same step on tensors without memory, as an independent check."""
    loss, parts = step_on_meta(run, run.batch_size if images is None else images, classes)
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
    run: PretrainRun, images: int, classes: int = CLASSES
) -> tuple[Callable[[], torch.Tensor], dict[str, nn.Module]]:
    """Make the loss of a micro-batch, as a function without arguments, and the parts; models and inputs are shapes only."""
    task = task_of(run.method)(run, blank_source(classes))
    with torch.device("meta"):
        encoders = (run.freeze_patches(make(run.architecture)) for _ in range(1 + len(task.averages)))
        model, *teachers = (task.learner(encoder).train() for encoder in encoders)
        batch: dict[str, Any] = {"views": [torch.empty(images, 3, view.size, view.size) for view in task.views()]}
    extras = task.extras([TrainingImage(np.empty((1, 1, 3), np.uint8), number=0, index=0, damaged=())])
    batch |= {name: torch.zeros(images, *x.shape[1:], dtype=x.dtype, device="meta") for name, x in extras.items()}
    named = {a.name: teacher.requires_grad_(False).eval() for a, teacher in zip(task.averages, teachers, strict=True)}
    context = StepContext(teachers=named)

    def loss() -> torch.Tensor:
        return task.method_loss(model, batch, context)[0]

    return loss, {**task.cost_parts(model), **named}
