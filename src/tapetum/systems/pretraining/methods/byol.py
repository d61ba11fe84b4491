"""BYOL (arXiv 2006.07733): a network predicts what a slow average of itself says of another view; there are no negatives.

    view 1 -> encoder -> projection -> prediction --.
                                                     minus the cosine, and the same with the views swapped
    view 2 -> average of both (no gradient) --------'

The average, `teacher`, moves by 1 - decay after each step, and decay rises from its start to 1 by a cosine. Its batch norms use
the batch, as the paper's. The result is the network's encoder, not the average's. Each view passes alone, as in the paper.

Differs from the paper in scale: the loss is the mean of both directions' minus cosines; theirs, 2 - 2 cos, is added up.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tapetum.data.views import View, byol
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining import losses
from tapetum.systems.pretraining.data import Source
from tapetum.systems.pretraining.heads import Learner, by_batch, projection
from tapetum.systems.pretraining.recipes import PretrainRun
from tapetum.systems.pretraining.task import PretrainTask
from tapetum.train import Average, StepContext


class ByolTask(PretrainTask):
    """Prediction of a slow average."""

    teachers = ("teacher",)

    def __init__(self, run: PretrainRun, source: Source):
        super().__init__(run, source)
        self.averages = (Average(name="teacher", decay=self.settings.decay, schedule="cosine"),)

    def views(self) -> tuple[View, View]:
        return byol(self.run.size)

    def learner(self, encoder: Encoder) -> Learner:
        how = self.settings
        return Learner(
            encoder,
            projection=projection(encoder.width, how.hidden, how.projection),
            prediction=projection(how.projection, how.hidden, how.projection),
        )

    def method_loss(
        self, model: Learner, batch: Mapping[str, Any], context: StepContext
    ) -> tuple[Tensor, Tensor, Mapping[str, float | Tensor]]:
        teacher: Any = by_batch(context.teachers["teacher"])
        with torch.no_grad():
            wanted = [teacher.heads["projection"](teacher.encoder(view).pooled) for view in batch["views"]]
        features = [model.encoder(view).pooled for view in batch["views"]]
        said = [model.heads["prediction"](model.heads["projection"](each)) for each in features]
        loss = (losses.byol(said[0], wanted[1]) + losses.byol(said[1], wanted[0])) / 2
        return loss, torch.cat(features), {}
