"""SimCLR (arXiv 2002.05709): two views of an image must match each other among all views of the batch.

    image -+- view -> encoder -> projection -\\
             |                                   NT-Xent over the 2n projections of all processes
             `- view -> encoder -> projection -/

Gradients reach both branches. Both views form one batch, as in the paper's code, so batch norms see them together. With 3
layers, as in MoCo v3 (2104.02057) for ViTs, the last has a batch norm too.

Differs from the public code: 2 layers end without a batch norm, as in the paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.fields import check_fields
from tapetum.data.views import simclr
from tapetum.systems.pretraining.task import FOR_MOCO_V3, LARS, MOCO_V3, RESNET, VIT, PretrainTask

if TYPE_CHECKING:
    from tapetum.data.views import View
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.heads import Learner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext


@dataclass(frozen=True, kw_only=True)
class SimClr:
    """Match two views of an image among all others."""

    temperature: float = 0.1
    """Cosines are divided by it."""
    layers: int = 2
    """Linear layers of the projection: 2 in the paper for ResNets, 3 in MoCo v3 for ViTs."""
    hidden: int = 2048
    """Channels between them."""
    projection: int = 128
    """Numbers of the projection."""
    strength: float = 1.0
    """Of the change of colours; 0.5 for CIFAR in the paper."""
    area: float = 0.08
    """Least part of an image that a view shows."""

    def __post_init__(self) -> None:
        widths = dict.fromkeys(("layers", "hidden", "projection"), "[1, inf)")
        check_fields(self, **widths, temperature="(0, inf)", strength="[0, inf)", area="(0, 1]")


class SimClrTask(PretrainTask):
    """Match two views of an image among all others."""

    help = "Two views of an image that find each other among all others."
    Settings = SimClr
    presets: ClassVar = {
        "small": {"batch_size": 256, "micro_batch": 256, "simclr": {"temperature": 0.2, "hidden": 512, "strength": 0.5}},
        # SimCLR (arXiv 2002.05709), 2.1 and its longest runs
        "resnet": {**RESNET, **LARS, "base_lr": 0.3, "weight_decay": 1e-6, "epochs": 1000},
        "vit": {**VIT, **MOCO_V3, "simclr": {"temperature": 0.2, "layers": 3, "hidden": 4096, "projection": 256}},
    }
    unpublished: ClassVar = {"vit": FOR_MOCO_V3}
    least_batch = 2
    negatives = 2

    def views(self) -> "list[View]":
        views = simclr(self.run.size, self.settings.strength)  # crop, flip, colours, grey, blur (appendix A)
        return [replace(view, area=(self.settings.area, 1.0)) for view in views]

    def learner(self, encoder: "Encoder") -> "Learner":
        from tapetum.systems.pretraining.heads import Learner, projection

        settings = self.settings
        head = projection(encoder.width, settings.hidden, settings.projection, settings.layers, last_norm=settings.layers > 2)
        return Learner(encoder, projection=head)

    def method_loss(self, model: "Learner", batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        import torch

        from tapetum.systems.pretraining import losses

        views = torch.cat(batch["views"])  # (2 b, 3, h, w): the first view of all images, then the second
        features = model.encoder(views).pooled  # h of the paper, (2 b, c)
        first, second = model.heads["projection"](features).chunk(2)  # z = g(h), each (b, d)
        return losses.simclr(first, second, self.settings.temperature), features, {}
