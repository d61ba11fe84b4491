"""SimCLR (arXiv 2002.05709): of two views of an image, each must find the other among all views of the batch.

    image -+- view -> encoder -> projection -\\
             |                                   NT-Xent over the 2n projections of all processes
             `- view -> encoder -> projection -/

Both views pass in one batch, as in the paper's code: batch norms see them together. With 3 layers, as in MoCo v3 (2104.02057)
for ViTs, the last has a batch norm too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.data.views import View, simclr
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining import losses
from tapetum.systems.pretraining.heads import Learner, projection
from tapetum.systems.pretraining.task import PretrainTask, whole
from tapetum.train import StepContext


class SimClrTask(PretrainTask):
    """Two views that find each other."""

    def views(self) -> tuple[View, View]:
        first, second = simclr(self.run.size, self.settings.strength)
        return replace(first, area=(self.settings.area, 1.0)), replace(second, area=(self.settings.area, 1.0))

    def learner(self, encoder: Encoder) -> Learner:
        how = self.settings
        head = projection(encoder.width, how.hidden, how.projection, how.layers, last_norm=how.layers > 2)
        return Learner(encoder, projection=head)

    def method_loss(
        self, model: Learner, batch: Mapping[str, Any], context: StepContext
    ) -> tuple[Tensor, Tensor, Mapping[str, float | Tensor]]:
        features = model.encoder(whole(batch)).pooled
        first, second = model.heads["projection"](features).chunk(2)
        return losses.simclr(first, second, self.settings.temperature), features, {}
