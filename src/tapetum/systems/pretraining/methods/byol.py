"""BYOL (arXiv 2006.07733): a network predicts its own moving average's projection of another view.

    view 1 -> encoder -> projection -> prediction --.
                                                     minus the cosine, and the same with the views swapped
    view 2 -> average of both (no gradient) --------'

There are no negatives. The average, `teacher`, moves by 1 - decay after each step, and decay rises from its initial value to 1
along a cosine. As in the paper, its batch norms use batch statistics, and each view passes separately. The result is the
network's encoder, not the average's.

With 3 layers, as in MoCo v3 (2104.02057) for ViTs, projection and prediction end with a batch norm.

Differs from the paper in scale: the loss is the mean of both directions' minus cosines; the paper sums 2 - 2 cos.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.fields import check_fields
from tapetum.data.views import byol
from tapetum.systems.pretraining.task import FOR_MOCO_V3, LARS, MOCO_V3, RESNET, VIT, PretrainTask
from tapetum.train.config import Average

if TYPE_CHECKING:
    from tapetum.data.views import View
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.heads import Learner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext


@dataclass(frozen=True, kw_only=True)
class Byol:
    """A network predicts what a slow average of itself says of another view."""

    hidden: int = 4096
    """Channels between the layers of projection and prediction."""
    layers: int = 2
    """Linear layers of the projection: 2 in the paper for ResNets, 3 in MoCo v3 for ViTs."""
    projection: int = 256
    """Numbers of the projection, and of the prediction."""
    decay: float = 0.99
    """Of the average at the start; it rises to 1 by a cosine. 0.99 for 100 epochs, 0.996 for 1,000."""

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("hidden", "layers", "projection"), "[1, inf)"), decay="[0, 1)")


class ByolTask(PretrainTask):
    """Predict the projections of a moving average."""

    help = "Prediction of what a slow average says of another view; no negatives."
    Settings = Byol
    presets: ClassVar = {
        "small": {"byol": {"hidden": 1024}},
        # BYOL (arXiv 2006.07733), 3.3 and its public code for 1,000 epochs
        "resnet": {**RESNET, **LARS, "base_lr": 0.2, "weight_decay": 1.5e-6, "epochs": 1000, "byol": {"decay": 0.996}},
        "vit": {**VIT, **MOCO_V3, "byol": {"decay": 0.99, "layers": 3}},
    }
    unpublished: ClassVar = {"vit": FOR_MOCO_V3}
    least_batch = 2
    teachers = ("teacher",)

    def __init__(self, run, source):
        super().__init__(run, source)
        self.averages = (Average(name="teacher", decay=self.settings.decay, schedule="cosine"),)

    def views(self) -> "tuple[View, ...]":
        return byol(self.run.size)

    def learner(self, encoder: "Encoder") -> "Learner":
        from tapetum.systems.pretraining.heads import Learner, projection

        hidden, width, layers = self.settings.hidden, self.settings.projection, self.settings.layers
        return Learner(
            encoder,
            projection=projection(encoder.width, hidden, width, layers, last_norm=layers > 2),
            prediction=projection(width, hidden, width, last_norm=layers > 2),
        )

    def method_loss(self, model: "Learner", batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        import torch

        from tapetum.systems.pretraining import losses
        from tapetum.systems.pretraining.heads import use_batch_statistics

        teacher = use_batch_statistics(context.teachers["teacher"])
        with torch.no_grad():
            targets = [teacher.heads["projection"](teacher.encoder(view).pooled) for view in batch["views"]]  # z'
        features = [model.encoder(view).pooled for view in batch["views"]]
        predictions = [model.heads["prediction"](model.heads["projection"](each)) for each in features]  # q(z)
        loss = (losses.byol(predictions[0], targets[1]) + losses.byol(predictions[1], targets[0])) / 2
        return loss, torch.cat(features), {}

    def describe(self) -> Mapping[str, Any]:
        described = dict(super().describe())
        if self.settings.layers == 2:  # checkpoints from before it was a setting have none
            described["byol"] = {name: value for name, value in described["byol"].items() if name != "layers"}
        return described
