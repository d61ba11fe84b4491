"""CLIP (arXiv 2103.00020): an image must match its text among those of the batch, and a text its image.

    image -> crop -> encoder -> linear ---\\
                                             cosines * scale -> cross entropy both ways
    text -> bytes -> transformer -> linear -/

If images have classes but no texts, captions are made from the names (arXiv 2209.15589), and images with the same caption match
each other's texts.

Differs from the paper: a token is a byte of UTF-8, so no vocabulary is needed; equal captions match; ResNets are plain, without
the three-convolution stem, blurred strides and attention pooling; the text tower uses GELU, the public code a fast
approximation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.data.views import clip
from tapetum.systems.pretraining.task import RESNET, VIT, PretrainTask

if TYPE_CHECKING:
    from torch import Tensor

    from tapetum.data.views import View
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.data import TrainingImage
    from tapetum.systems.pretraining.heads import TextLearner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Match images with their texts. The text tower reads bytes."""

    width: int = 512
    """Channels of the text tower."""
    depth: int = 12
    """Blocks of the text tower."""
    heads: int = 8
    """Heads of the text tower."""
    length: int = 77
    """Tokens of a text, begin and end included, so 3 or more; longer ones are cut."""
    projection: int = 512
    """Numbers of the embeddings that are compared."""
    template: str = "This is a photo of {}"
    """Caption of an image of which only the class is known; {} stands for its name."""
    equal_captions: bool = True
    """Images with equal captions are right for each other, not negatives."""

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("width", "depth", "heads", "projection"), "[1, inf)"), length="[3, inf)")
        if "{}" not in self.template:
            raise BadInput(f"the template {self.template!r} has no {{}} for the name of the class; give one that has")


# CLIP (arXiv 2103.00020), 2.5 and tables 18 to 20
_PUBLISHED = {
    "base_lr": 5e-4 * 256 / 32768,  # 5e-4 for ResNet-50 and ViT-B/16
    "batch_size": 32768,
    "epochs": 32,
    "weight_decay": 0.2,
    "warmup_epochs": 2000 * 32768 / 400e6,  # 2,000 steps
}
_TEXTS = {"clip": "the text tower reads bytes, CLIP's 49,152 pieces"}


class ClipTask(PretrainTask):
    help = "Images and texts that find each other; needs captions (cat.txt beside cat.jpg), or makes them of classes."
    Settings = Clip
    presets: ClassVar = {
        "small": {
            "batch_size": 256,
            "micro_batch": 256,
            "weight_decay": 0.1,
            "clip": {"width": 128, "depth": 4, "heads": 4, "projection": 128},
        },
        "resnet": {**RESNET, **_PUBLISHED, "betas": (0.9, 0.999), "clip": {"projection": 1024}},
        "vit": {**VIT, **_PUBLISHED, "encoder": "clip-base-16", "betas": (0.9, 0.98), "eps": 1e-6},
    }
    unpublished: ClassVar = {"resnet": _TEXTS, "vit": _TEXTS}
    captions = True
    least_batch = 2
    negatives = 1

    def check(self) -> None:
        if self.source.captions is None and self.source.labels is None:
            raise BadInput(
                f"{self.run.method} needs captions, and these images have neither captions nor classes; write cat.txt beside "
                "cat.jpg and so on, or put them into a folder a class"
            )

    def views(self) -> "tuple[View, ...]":
        return clip(self.run.size)

    def text_tower(self) -> dict[str, Any]:
        """Choose the fields that differ from a text transformer of the settings' size."""
        from tapetum.encoders.byte_text import END

        return {"causal": True, "pooling": "end", "end_token": END, "activation": "gelu"}

    def learner(self, encoder: "Encoder") -> "TextLearner":
        from tapetum.systems.pretraining.heads import TextLearner

        return TextLearner(encoder, self.settings, self.text_tower(), scale=1 / 0.07)

    def caption(self, index: int) -> str:
        """Look up the caption of an image, or make one from its class name."""
        if self.source.captions is not None:
            return str(self.source.captions[index])
        assert self.source.labels is not None
        return self.settings.template.format(self.source.classes[int(self.source.labels[index])].replace("_", " "))

    def extras(self, items: "Sequence[TrainingImage]") -> "dict[str, Tensor]":
        from tapetum.encoders.byte_text import numbers, tokens

        texts = [self.caption(item.index) for item in items]
        return {"text": tokens(texts, self.settings.length), "caption": numbers(texts)}

    def method_loss(self, model: "TextLearner", batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        features = model.encoder(batch["views"][0]).pooled
        images, texts = model.heads["image"](features), model.heads["text"](model.text(batch["text"]).pooled)
        loss, metrics = self.compare(model, images, texts, batch["caption"] if self.settings.equal_captions else None)
        return loss, features, metrics

    def compare(
        self, model: "TextLearner", images: "Tensor", texts: "Tensor", captions: "Tensor | None"
    ) -> "tuple[Tensor, dict[str, Tensor]]":
        """Compute the loss of embeddings; captions with equal numbers match each other's images."""
        from tapetum.systems.pretraining import losses
        from tapetum.train.contrastive import learned_scale

        scale = learned_scale(model.log_scale)
        return losses.clip(images, texts, scale, captions), {"scale": scale.detach()}
