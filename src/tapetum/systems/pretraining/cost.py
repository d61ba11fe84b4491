"""Cost of a pre-training step by shapes alone: without images, memory or arithmetic.

After "Where Should I Spend My FLOPs?" (arXiv 2209.15589), whose unit is the gradient step. `run.predict` counts the real step.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tapetum.account.flops import Flops, by_part, count_flops, count_on_meta
from tapetum.core.errors import BadInput
from tapetum.encoders.factory import make
from tapetum.systems.pretraining.data import ImageSource, NoImages, TrainingImage
from tapetum.systems.pretraining.methods import METHODS, task_of
from tapetum.systems.pretraining.recipes import PretrainRun
from tapetum.train import StepContext

CLASSES = 1000
"""Classes of supervised where no data say how many: ImageNet's."""


def count_step(run: PretrainRun, images: int | None = None, classes: int = CLASSES, step: int = 0) -> Flops:
    """Count a step on some images, by default the run's batch; a step of your own method is really computed.

    Raises BadInput if encoder and method do not fit together.
    """
    own = run.method not in METHODS
    count = run.batch_size if images is None else images
    loss, parts = step_on_meta(run, count, classes, step, "cpu" if own else "meta")
    with by_part(parts):
        return count_flops(loss) if own else count_on_meta(loss)


def count_parameters(run: PretrainRun, classes: int = CLASSES) -> dict[str, int]:
    """Count trainable parameters: of the encoder, and of its heads."""
    with torch.device("meta"):
        task = task_of(run.method)(run, blank_source(classes))
        model: Any = task.learner(make(run.architecture))
    encoder = sum(p.numel() for p in model.encoder.parameters())
    return {"encoder": encoder, "heads": sum(p.numel() for p in model.parameters()) - encoder}


def blank_source(classes: int = CLASSES, images: int = 0) -> ImageSource:
    """Make a source of classes whose images are not there."""
    return ImageSource(NoImages(images), np.zeros(1, np.int64), tuple(str(k) for k in range(classes)))


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
    for name, x in extras.items():
        each = x[0] if isinstance(x, list) else x
        made = torch.zeros(images, *each.shape[1:], dtype=each.dtype, device=device)
        batch[name] = [made] if isinstance(x, list) else made
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
