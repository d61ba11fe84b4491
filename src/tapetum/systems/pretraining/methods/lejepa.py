"""LeJEPA (arXiv 2511.08544): all crops of an image are projected to one place, and places are spread as a standard normal.

    global and local crops -> encoder -> projector -> z
    loss = (1 - weight) * mean squared distance of every z to the mean of the image's global ones + weight * SIGReg of each view

SIGReg (`losses.sigreg`, section 4) alone prevents collapse: there is no teacher, no stopped gradient and no centre, and
`weight` is the one number to choose.

Differs from the paper: SIGReg is averaged over views, as in the public code (rbalestr-lab/lejepa), and its frequencies are that
code's. The paper's table of projectors could not be read; the projector is that of the public example.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.fields import check_fields
from tapetum.data.views import View, lejepa
from tapetum.systems.pretraining.task import RESNET, VIT, PretrainTask, local_size

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.heads import Learner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext


@dataclass(frozen=True, kw_only=True)
class LeJepa:
    """Crops of an image meet, and images spread as a normal distribution; no teacher."""

    local_views: int = 6
    """Small crops, beside the two large ones."""
    local_size: int = 0
    """Side of the small crops; 0: 96/224 of the large ones' side, to a multiple of 16 or of the patch."""
    weight: float = 0.05
    """Of the spread; 1 - this is the weight of meeting."""
    slices: int = 1024
    """Random directions in which the spread is measured, drawn again in each step."""
    hidden: int = 2048
    """Channels of the projector's two hidden layers."""
    projection: int = 128
    """Channels of its output."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            **dict.fromkeys(("slices", "hidden", "projection"), "[1, inf)"),
            **dict.fromkeys(("local_views", "local_size"), "[0, inf)"),
            weight="(0, 1)",
        )


class LeJepaTask(PretrainTask):
    """Predict the mean of the large crops from every crop, in a space that is kept normal."""

    help = "Crops of an image that meet in a space kept normal; no teacher."
    Settings = LeJepa
    presets: ClassVar = {
        "small": {
            "weight_decay": 0.05,
            "base_lr": 5e-4,
            "lejepa": {"local_views": 4, "slices": 256, "hidden": 512, "projection": 64},
        },
        # the public code's read-me: learning rate 5e-4, weight decay by family
        "resnet": {**RESNET, "optimizer": "adamw", "base_lr": 5e-4, "weight_decay": 5e-4, "batch_size": 512},
        "vit": {**VIT, "base_lr": 5e-4, "weight_decay": 0.05, "batch_size": 512},
    }
    unpublished: ClassVar = {
        "resnet": {"epochs": "100 in its tables of ImageNet", "batch_size": "512 of its ablations"},
        "vit": {"epochs": "100 in its tables of ImageNet", "batch_size": "512 of its ablations"},
    }
    least_batch = 2

    def views(self) -> "tuple[View, ...]":
        settings = self.settings
        return lejepa(self.run.size, local_size(self.run, settings.local_size), settings.local_views)

    def learner(self, encoder: "Encoder") -> "Learner":
        from tapetum.systems.pretraining.heads import Learner, projection

        settings = self.settings
        return Learner(encoder, projector=projection(encoder.width, settings.hidden, settings.projection, layers=3))

    def method_loss(self, model: Any, batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        import torch

        from tapetum.data.views.make import runs
        from tapetum.systems.pretraining import losses

        views = batch["views"]
        features = [model.encoder(torch.cat(views[part])).pooled for part in runs(self.views())]
        projected = model.heads["projector"](torch.cat(features)).unflatten(0, (len(views), -1))  # (views, b, k)
        meeting = losses.meeting(projected, large=2)
        seed = (self.run.seed << 32) + context.step
        spread = torch.stack([losses.sigreg(view, self.settings.slices, seed) for view in projected]).mean()
        loss = (1 - self.settings.weight) * meeting + self.settings.weight * spread
        return loss, features[0], {"meeting": meeting.detach(), "spread": spread.detach()}
