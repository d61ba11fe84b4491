"""DINO (arXiv 2104.14294): a network predicts, from small crops, its own moving average's output for large ones.

    2 large crops -+- average (no gradient) -> head -> centre, sharpen -> softmax --.
                   |                                                                 cross entropy of each pair of views
    small crops  --+- encoder -> head -> softmax -----------------------------------'

Two things prevent collapse: the running mean of the teacher's outputs (`center`) is subtracted from them, and their temperature
is low. Crops of one size form one batch. The result is the average's encoder, which the paper evaluates.

Differs from the public code: positions and the class token do not decay; the learning rate falls to 0, not 1e-6; the teacher's
temperature rises per step, not per epoch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.fields import check_fields
from tapetum.data.views import View, dino
from tapetum.systems.pretraining.task import RESNET, VIT, PretrainTask, local_size
from tapetum.train.config import Average

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.heads import Learner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext

SAME = 1e-3
"""Nats that the teacher's outputs tell of their image below which they are the same for all."""


@dataclass(frozen=True, kw_only=True)
class Dino:
    """A network says of small crops what a slow average of itself says of large ones."""

    local_views: int = 8
    """Small crops, beside the two large ones."""
    local_size: int = 0
    """Side of the small crops; 0: 96/224 of the large ones' side, to a multiple of 16 or of the patch."""
    global_area: tuple[float, float] = (0.4, 1.0)
    """Least and greatest part of an image that a large crop shows."""
    local_area: tuple[float, float] = (0.05, 0.4)
    """Least and greatest part of an image that a small crop shows."""
    prototypes: int = 65536
    """Numbers of the head's output."""
    hidden: int = 2048
    """Channels between the head's three layers."""
    bottleneck: int = 256
    """Channels before the last layer."""
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    """At the start; a long run ends with a higher one."""
    final_teacher_temperature: float = 0.04
    """Reached after `teacher_warmup_epochs`; 0.07 in the paper's long runs."""
    teacher_warmup_epochs: float = 30.0
    """Epochs in which the teacher's temperature rises."""
    frozen_epochs: float = 1.0
    """Epochs in which the last layer stays as it is."""
    center_decay: float = 0.9
    """Of the running mean of the teacher's outputs."""
    decay: float = 0.996
    """Of the average that teaches, at the start; it rises to 1 by a cosine."""

    def __post_init__(self) -> None:
        temperatures = "student_temperature", "teacher_temperature", "final_teacher_temperature"
        check_fields(
            self,
            **dict.fromkeys(("prototypes", "hidden", "bottleneck"), "[1, inf)"),
            **dict.fromkeys(("decay", "center_decay"), "[0, 1)"),
            **dict.fromkeys(temperatures, "(0, inf)"),
            **dict.fromkeys(("local_views", "local_size", "teacher_warmup_epochs", "frozen_epochs"), "[0, inf)"),
        )
        for area in (self.global_area, self.local_area):
            View(size=1, area=area)

    def teacher_temperature_after(self, epochs: float) -> float:
        """Compute the teacher's temperature after some epochs: it rises linearly, then stays constant.

        >>> settings = Dino(teacher_temperature=0.04, final_teacher_temperature=0.07, teacher_warmup_epochs=30)
        >>> [round(settings.teacher_temperature_after(done), 4) for done in (0, 15, 30, 100)]
        [0.04, 0.055, 0.07, 0.07]
        """
        share = min(epochs / self.teacher_warmup_epochs, 1.0) if self.teacher_warmup_epochs else 1.0
        return self.teacher_temperature + share * (self.final_teacher_temperature - self.teacher_temperature)


class DinoTask(PretrainTask):
    """Predict the teacher's output for large crops from all crops."""

    help = "Small crops that say what a slow average says of large ones."
    Settings = Dino
    presets: ClassVar = {
        "small": {
            "base_lr": 5e-4,
            "clip_norm": 3.0,
            "dino": {"local_views": 6, "prototypes": 4096, "hidden": 1024, "decay": 0.99},
        },
        # the command for a ResNet-50 in the public code of DINO (arXiv 2104.14294): 8 GPUs of 64 images, 100 epochs
        "resnet": {
            **RESNET,
            "optimizer": "sgd",
            "base_lr": 0.03,
            "batch_size": 512,
            "weight_decay": 1e-4,
            "warmup_epochs": 10,
            "clip_norm": 3.0,
            "clip_each": True,
            "dino": {"global_area": (0.14, 1.0), "local_area": (0.05, 0.14)},
        },
        # DINO, section 3.2
        "vit": {
            **VIT,
            "batch_size": 1024,
            "change": ("drop_path=0.1",),
            "base_lr": 5e-4,
            "warmup_epochs": 10,
            "weight_decay": 0.04,
            "final_weight_decay": 0.4,
            "clip_norm": 3.0,
            "clip_each": True,
            "dino": {"final_teacher_temperature": 0.07},
        },
    }
    unpublished: ClassVar = {"vit": {"epochs": "of its ablations; the longer run of its public weights could not be read"}}
    teachers = ("teacher",)
    kept = "teacher"

    def __init__(self, run, source):
        super().__init__(run, source)
        self.averages = (Average(name="teacher", decay=self.settings.decay, schedule="cosine"),)
        self.frozen_steps = round(self.settings.frozen_epochs * len(source) / run.batch_size)
        self.idle_parameters = self.frozen_steps > 0

    def views(self) -> "tuple[View, ...]":
        return self.crops(self.run.size)

    def crops(self, size: int) -> "tuple[View, ...]":
        """List the views with large ones of `size` pixels; the small ones stay those of the run's size."""
        settings = self.settings
        areas = {"global_area": settings.global_area, "local_area": settings.local_area}
        return dino(size, local_size(self.run, settings.local_size), settings.local_views, **areas)

    def learner(self, encoder: "Encoder") -> "Learner":
        import torch

        from tapetum.systems.pretraining.heads import DinoHead, Learner

        settings = self.settings
        head = DinoHead(encoder.width, settings.hidden, settings.bottleneck, settings.prototypes)
        learner = Learner(encoder, head=head)
        learner.register_buffer("center", torch.zeros(settings.prototypes))
        return learner

    def method_loss(self, model: Any, batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        import torch

        from tapetum.data.views.make import runs
        from tapetum.systems.pretraining import losses
        from tapetum.systems.pretraining.heads import move_center, prototype_use, use_batch_statistics

        settings, views = self.settings, batch["views"]
        teacher = use_batch_statistics(context.teachers["teacher"])
        with torch.no_grad():
            targets = teacher.heads["head"](teacher.encoder(torch.cat(views[:2])).pooled)
        features = [model.encoder(torch.cat(views[part])).pooled for part in runs(self.views())]
        logits = model.heads["head"](torch.cat(features), frozen=context.step < self.frozen_steps)
        epochs = context.step * self.run.batch_size / max(len(self.source), 1)
        taught = losses.centred(targets, model.center, settings.teacher_temperature_after(epochs))
        loss = losses.pairs(logits.unflatten(0, (len(views), -1)), taught.unflatten(0, (2, -1)), settings.student_temperature)
        model.center.copy_(move_center(model.center, targets, settings.center_decay))
        return loss, features[0], prototype_use(taught)

    def collapse(self, metrics: Mapping[str, float]) -> str | None:
        """See also whether the teacher says the same of all images: one prototype, or all of them alike."""
        entropy = metrics.get("target_entropy", 0.0)
        if metrics.get("prototype_entropy", 1.0) - entropy >= SAME:
            return super().collapse(metrics)
        if entropy > math.log(self.settings.prototypes) / 2:
            return "the teacher finds all prototypes alike in all images; try a lower --teacher-temperature"
        return "the teacher says the same few prototypes of all images; try a lower --center-decay or --base-lr"
