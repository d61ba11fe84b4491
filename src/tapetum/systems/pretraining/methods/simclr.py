"""SimCLR (arXiv 2002.05709): of two views of an image, each must match the other among all views of the batch.

    image -+- view -> encoder -> projection -\\
             |                                   NT-Xent over the 2n projections of all processes
             `- view -> encoder -> projection -/

Gradients reach both branches. Both views pass in one batch, as in the paper's code: batch norms see them together. With 3
layers, as in MoCo v3 (2104.02057) for ViTs, the last has a batch norm too. Optimised by LARS with a learning rate of 0.3 for
batches of 256, weight decay 1e-6, ten epochs of warm-up and a cosine (ResNet-50 in the paper; `presets` has all presets).

Differs from the public code: 2 layers end without a batch norm, as in the paper.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from tapetum.data.views import View, simclr
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining import losses
from tapetum.systems.pretraining.heads import Learner, projection
from tapetum.systems.pretraining.task import Loss, PretrainTask
from tapetum.train import StepContext


class SimClrTask(PretrainTask):
    """Match two views of an image among all others."""

    def views(self) -> tuple[View, View]:
        first, second = simclr(self.run.size, self.settings.strength)  # crop, flip, colours, grey, blur (appendix A)
        return replace(first, area=(self.settings.area, 1.0)), replace(second, area=(self.settings.area, 1.0))

    def learner(self, encoder: Encoder) -> Learner:
        settings = self.settings
        head = projection(encoder.width, settings.hidden, settings.projection, settings.layers, last_norm=settings.layers > 2)
        return Learner(encoder, projection=head)

    def method_loss(self, model: Learner, batch: Mapping[str, Any], context: StepContext) -> Loss:
        views = torch.cat(batch["views"])  # (2 b, 3, h, w): the first view of all images, then the second
        features = model.encoder(views).pooled  # h of the paper, (2 b, c)
        first, second = model.heads["projection"](features).chunk(2)  # z = g(h), each (b, d)
        return losses.simclr(first, second, self.settings.temperature), features, {}
