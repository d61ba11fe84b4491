"""DINO (arXiv 2104.14294): a network predicts from small crops the output of a moving average of itself for large ones.

    2 large crops -+- average (no gradient) -> head -> centre, sharpen -> softmax --.
                   |                                                                 cross entropy of each pair of views
    small crops  --+- encoder -> head -> softmax -----------------------------------'

What keeps it from collapsing: the running mean of the teacher's outputs (`center`) is taken from them, and their temperature is
low. Crops of one size pass in one batch. The result is the average's encoder, which the paper evaluates.

Differs from the public code: positions and the class token do not decay; the rate falls to 0, not to 1e-6; the teacher's
temperature rises step by step, not epoch by epoch.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.data.views import View, dino
from tapetum.data.views.make import runs
from tapetum.encoders.features import Encoder
from tapetum.layers.transformer import start_linear
from tapetum.systems.pretraining import losses
from tapetum.systems.pretraining.config import Dino
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.heads import Learner, use_batch_statistics
from tapetum.systems.pretraining.recipes import PretrainRun
from tapetum.systems.pretraining.task import Loss, PretrainTask
from tapetum.train import Average, StepContext
from tapetum.train.gather import all_reduce
from tapetum.train.process_group import current_process_group


class DinoHead(nn.Module):
    """Three layers with GELU to a unit vector, whose cosines with learned prototypes are the output.

    DINO (arXiv 2104.14294, appendix C); its weight norm with gain 1 is the unit length of the prototypes.
    """

    def __init__(self, in_width: int, hidden: int, bottleneck: int, prototypes: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)
        self.layers.apply(start_linear)

    def forward(self, x: Float[Tensor, "b c"], frozen: bool = False) -> Float[Tensor, "b k"]:
        """Compute the cosines; `frozen`: the prototypes learn nothing."""
        weight = F.normalize(self.prototypes.weight, dim=-1)
        weight = weight.detach() if frozen else weight
        return F.linear(F.normalize(self.layers(x), dim=-1), weight)


class DinoLearner(Learner):
    """Encoder and head, and the centre of the teacher's outputs."""

    center: Tensor

    def __init__(self, encoder: Encoder, head: DinoHead, prototypes: int):
        super().__init__(encoder, head=head)
        self.register_buffer("center", torch.zeros(prototypes))


def teacher_temperature(settings: Dino, epochs: float) -> float:
    """Compute the teacher's temperature after so many epochs: a line, then the final one.

    >>> settings = Dino(teacher_temperature=0.04, final_teacher_temperature=0.07, teacher_warmup_epochs=30)
    >>> [round(teacher_temperature(settings, done), 4) for done in (0, 15, 30, 100)]
    [0.04, 0.055, 0.07, 0.07]
    """
    warmup = settings.teacher_warmup_epochs
    share = min(epochs / warmup, 1.0) if warmup else 1.0
    return settings.teacher_temperature + share * (settings.final_teacher_temperature - settings.teacher_temperature)


@torch.no_grad()
def move_center(center: Float[Tensor, " k"], outputs: Float[Tensor, "rows k"], decay: float) -> Float[Tensor, " k"]:
    """Move the centre towards the mean of the outputs of all processes' teachers (eq. 4)."""
    mean = all_reduce(outputs.float().mean(0)) / current_process_group().size
    return center * decay + mean * (1 - decay)


class DinoTask(PretrainTask):
    """Predict the teacher's output for large crops from all crops."""

    teachers = ("teacher",)
    kept = "teacher"

    def __init__(self, run: PretrainRun, source: ImageSource):
        super().__init__(run, source)
        self.averages = (Average(name="teacher", decay=self.settings.decay, schedule="cosine"),)
        self.frozen_steps = round(self.settings.frozen_epochs * len(source) / run.batch_size)

    def views(self) -> tuple[View, ...]:
        settings = self.settings
        areas = {"global_area": settings.global_area, "local_area": settings.local_area}
        return dino(self.run.size, self.run.local_size, settings.local_views, **areas)

    def learner(self, encoder: Encoder) -> DinoLearner:
        settings = self.settings
        head = DinoHead(encoder.width, settings.hidden, settings.bottleneck, settings.prototypes)
        return DinoLearner(encoder, head, settings.prototypes)

    def method_loss(self, model: DinoLearner, batch: Mapping[str, Any], context: StepContext) -> Loss:
        settings, views = self.settings, batch["views"]
        teacher: Any = use_batch_statistics(context.teachers["teacher"])
        with torch.no_grad():
            targets = teacher.heads["head"](teacher.encoder(torch.cat(views[:2])).pooled)
        features = [model.encoder(torch.cat(views[part])).pooled for part in runs(self.views())]
        logits = model.heads["head"](torch.cat(features), frozen=context.step < self.frozen_steps)
        loss = losses.dino(
            logits.unflatten(0, (len(views), -1)),
            targets.unflatten(0, (2, -1)),
            model.center,
            settings.student_temperature,
            teacher_temperature(settings, context.step * self.run.batch_size / max(len(self.source), 1)),
        )
        model.center.copy_(move_center(model.center, targets, settings.center_decay))
        return loss, features[0], {}
