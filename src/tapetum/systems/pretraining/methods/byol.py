"""BYOL (arXiv 2006.07733): a network predicts the projection that a moving average of itself makes of another view.

    view 1 -> encoder -> projection -> prediction --.
                                                     minus the cosine, and the same with the views swapped
    view 2 -> average of both (no gradient) --------'

There are no negatives. The average, `teacher`, moves by 1 - decay after each step, and decay rises from its start to 1 by a
cosine. Its batch norms use the batch, as the paper's. The result is the network's encoder, not the average's. Each view passes
alone, as in the paper.

With 3 layers, as in MoCo v3 (2104.02057) for ViTs, projection and prediction end with a batch norm.

Differs from the paper in scale: the loss is the mean of both directions' minus cosines; theirs, 2 - 2 cos, is added up.
"""

from collections.abc import Mapping
from typing import Any

import torch

from tapetum.data.views import View, byol
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining import losses
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.heads import Learner, projection, use_batch_statistics
from tapetum.systems.pretraining.recipes import PretrainRun
from tapetum.systems.pretraining.task import Loss, PretrainTask
from tapetum.train import Average, StepContext


class ByolTask(PretrainTask):
    """Predict the projections of a moving average."""

    teachers = ("teacher",)

    def __init__(self, run: PretrainRun, source: ImageSource):
        super().__init__(run, source)
        self.averages = (Average(name="teacher", decay=self.settings.decay, schedule="cosine"),)

    def views(self) -> tuple[View, View]:
        return byol(self.run.size)

    def learner(self, encoder: Encoder) -> Learner:
        hidden, width, layers = self.settings.hidden, self.settings.projection, self.settings.layers
        return Learner(
            encoder,
            projection=projection(encoder.width, hidden, width, layers, last_norm=layers > 2),
            prediction=projection(width, hidden, width, last_norm=layers > 2),
        )

    def method_loss(self, model: Learner, batch: Mapping[str, Any], context: StepContext) -> Loss:
        teacher: Any = use_batch_statistics(context.teachers["teacher"])
        with torch.no_grad():
            targets = [teacher.heads["projection"](teacher.encoder(view).pooled) for view in batch["views"]]  # z'
        features = [model.encoder(view).pooled for view in batch["views"]]
        predictions = [model.heads["prediction"](model.heads["projection"](each)) for each in features]  # q(z)
        loss = (losses.byol(predictions[0], targets[1]) + losses.byol(predictions[1], targets[0])) / 2
        return loss, torch.cat(features), {}
