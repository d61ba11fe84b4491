"""DINO (arXiv 2104.14294): a network says of small crops what a slow average of itself says of large ones.

    2 large crops -+- average (no gradient) -> head -> centre, sharpen -> softmax --.
                   |                                                                 cross entropy of each pair of views
    small crops  --+- encoder -> head -> softmax -----------------------------------'

What keeps it from collapsing: the running mean of the teacher's outputs (`center`) is taken from them, and their temperature is
low. Crops of one size pass in one batch. The result is the average's encoder, which the paper evaluates.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.data.views import View, dino
from tapetum.data.views.make import runs
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining import losses
from tapetum.systems.pretraining.config import Dino
from tapetum.systems.pretraining.data import Source
from tapetum.systems.pretraining.heads import DinoHead, Learner, by_batch
from tapetum.systems.pretraining.recipes import PretrainRun
from tapetum.systems.pretraining.task import PretrainTask
from tapetum.train import Average, StepContext
from tapetum.train.gather import all_reduce
from tapetum.train.process_group import current_process_group


class DinoLearner(Learner):
    """Encoder and head, and the centre of what the teacher says."""

    center: Tensor

    def __init__(self, encoder: Encoder, head: DinoHead, prototypes: int):
        super().__init__(encoder, head=head)
        self.register_buffer("center", torch.zeros(prototypes))


def teacher_temperature(settings: Dino, progress: float) -> float:
    """Give the teacher's temperature when `progress` (0 to 1) of the run is done: a line, then the final one.

    >>> settings = Dino(teacher_temperature=0.04, final_teacher_temperature=0.07, warmup=0.5)
    >>> [round(teacher_temperature(settings, done), 4) for done in (0.0, 0.25, 0.5, 1.0)]
    [0.04, 0.055, 0.07, 0.07]
    """
    risen = min(progress / settings.warmup, 1.0) if settings.warmup else 1.0
    return settings.teacher_temperature + risen * (settings.final_teacher_temperature - settings.teacher_temperature)


@torch.no_grad()
def moved_center(center: Float[Tensor, " k"], said: Float[Tensor, "rows k"], decay: float) -> Float[Tensor, " k"]:
    """Move the centre towards the mean of what the teachers of all processes said."""
    mean = all_reduce(said.float().mean(0)) / current_process_group().size
    return center * decay + mean * (1 - decay)


class DinoTask(PretrainTask):
    """Small crops and large ones."""

    teachers = ("teacher",)
    kept = "teacher"

    def __init__(self, run: PretrainRun, source: Source):
        super().__init__(run, source)
        self.averages = (Average(name="teacher", decay=self.settings.decay, schedule="cosine"),)
        self.frozen_steps = round(self.settings.frozen_epochs * len(source) / run.batch_size)

    def views(self) -> tuple[View, ...]:
        return dino(self.run.size, self.run.local_size, self.settings.local_views)

    def learner(self, encoder: Encoder) -> DinoLearner:
        how = self.settings
        return DinoLearner(encoder, DinoHead(encoder.width, how.hidden, how.bottleneck, how.prototypes), how.prototypes)

    def method_loss(
        self, model: DinoLearner, batch: Mapping[str, Any], context: StepContext
    ) -> tuple[Tensor, Tensor, Mapping[str, float | Tensor]]:
        how, views = self.settings, batch["views"]
        teacher: Any = by_batch(context.teachers["teacher"])
        with torch.no_grad():
            wanted = teacher.heads["head"](teacher.encoder(torch.cat(views[:2])).pooled)
        features = [model.encoder(torch.cat(views[part])).pooled for part in runs(self.views())]
        said = model.heads["head"](torch.cat(features), frozen=context.step < self.frozen_steps)
        loss = losses.dino(
            said.unflatten(0, (len(views), -1)),
            wanted.unflatten(0, (2, -1)),
            model.center,
            how.student_temperature,
            teacher_temperature(how, context.progress),
        )
        model.center.copy_(moved_center(model.center, wanted, how.center_decay))
        return loss, features[0], {}
