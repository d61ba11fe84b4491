"""Supervised pre-training: a linear classifier on the pooled vector, and cross entropy.

    image -> crop -> encoder -> linear -> cross entropy with the class

Differs from what a ViT from scratch is given on ImageNet (DeiT, arXiv 2012.12877; AugReg, 2106.10270): no RandAugment, mixup or
cutmix, which change accuracy but not FLOPs; label smoothing and drop path are settings. From Goyal et al. (1706.02677), whose
run the preset of ResNets is: the warm-up begins near 0, not at 0.1, and the last gain of a residual block at 1, not at 0.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.data.views import View, supervised
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining.heads import Learner
from tapetum.systems.pretraining.task import Loss, PretrainTask
from tapetum.train import StepContext


class SupervisedTask(PretrainTask):
    """Classify images."""

    def check(self) -> None:
        if self.source.labels is None or len(self.source.classes) < 2:
            raise BadInput("supervised needs classes, and these images have none; put them into a folder a class, 2 or more")

    def views(self) -> tuple[View]:
        return supervised(self.run.size)

    def learner(self, encoder: Encoder) -> Learner:
        return Learner(encoder, classes=nn.Linear(encoder.width, len(self.source.classes)))

    def labels(self, indices: np.ndarray) -> dict[str, Tensor]:
        assert self.source.labels is not None
        return {"label": torch.from_numpy(self.source.labels[indices])}

    def method_loss(self, model: Learner, batch: Mapping[str, Any], context: StepContext) -> Loss:
        features = model.encoder(batch["views"][0]).pooled
        logits = model.heads["classes"](features).float()
        loss = F.cross_entropy(logits, batch["label"], label_smoothing=self.settings.smoothing)
        return loss, features, {"accuracy": (logits.detach().argmax(1) == batch["label"]).float().mean()}
