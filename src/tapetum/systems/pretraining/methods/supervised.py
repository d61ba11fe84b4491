"""Supervised pre-training: a linear classifier on the pooled vector, and cross entropy.

    image -> crop -> encoder -> linear -> cross entropy with the class

Differs from the usual training of ViTs on ImageNet (DeiT, arXiv 2012.12877; AugReg, 2106.10270): no RandAugment, mixup or
cutmix, which change accuracy but not FLOPs; label smoothing and drop path are settings. Differs from Goyal et al. (1706.02677),
the source of the ResNet preset: the warm-up starts near 0, not at 0.1, and the last gain of a residual block at 1, not at 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.data.views import supervised
from tapetum.systems.pretraining.task import RESNET, VIT, PretrainTask

if TYPE_CHECKING:
    from torch import Tensor

    from tapetum.data.views import View
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.data import TrainingImage
    from tapetum.systems.pretraining.heads import Learner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Classes by cross entropy."""

    smoothing: float = 0.1
    """So much of the target is spread over all classes."""

    def __post_init__(self) -> None:
        check_fields(self, smoothing="[0, 1)")


class SupervisedTask(PretrainTask):
    help = "Classes by cross entropy; needs a folder a class."
    Settings = Supervised
    presets: ClassVar = {
        "small": {"weight_decay": 0.05},
        # Goyal et al. (arXiv 1706.02677), section 5.1
        "resnet": {
            **RESNET,
            "optimizer": "sgd",
            "nesterov": True,
            "base_lr": 0.1,
            "schedule": "milestones",
            "milestones": (30 / 90, 60 / 90, 80 / 90),
            "batch_size": 1024,
            "epochs": 90,
            "weight_decay": 1e-4,
            "supervised": {"smoothing": 0.0},
        },
        # the decay of ViT's own run (arXiv 2010.11929); rate, length and warm-up of DeiT's (arXiv 2012.12877, table 9)
        "vit": {**VIT, "base_lr": 2.5e-4, "weight_decay": 0.3, "epochs": 300, "warmup_epochs": 5},
    }
    unpublished: ClassVar = {
        "resnet": {"batch_size": "any up to 8,192, by the linear rule"},
        "vit": {"base_lr": "DeiT's (arXiv 2012.12877), beside the decay of ViT's own run (arXiv 2010.11929)"},
    }

    def check(self) -> None:
        if self.source.labels is None or len(self.source.classes) < 2:
            raise BadInput("supervised needs classes, and these images have none; put them into a folder a class, 2 or more")

    def views(self) -> "tuple[View, ...]":
        return supervised(self.run.size)

    def learner(self, encoder: "Encoder") -> "Learner":
        from torch import nn

        from tapetum.systems.pretraining.heads import Learner

        return Learner(encoder, classes=nn.Linear(encoder.width, len(self.source.classes)))

    def extras(self, items: "Sequence[TrainingImage]") -> "dict[str, Tensor]":
        from torch import tensor

        assert self.source.labels is not None
        return {"label": tensor([int(self.source.labels[item.index]) for item in items])}

    def method_loss(self, model: "Learner", batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        from torch.nn.functional import cross_entropy

        features = model.encoder(batch["views"][0]).pooled
        logits = model.heads["classes"](features).float()
        loss = cross_entropy(logits, batch["label"], label_smoothing=self.settings.smoothing)
        return loss, features, {"accuracy": (logits.detach().argmax(1) == batch["label"]).float().mean()}
