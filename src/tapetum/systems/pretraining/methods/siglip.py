"""SigLIP (arXiv 2303.15343): classify whether each image and each text of the batch belong together.

    image -> crop -> encoder -> linear ---\\
                                             cosines * scale + bias -> binary cross entropy of each pair
    text -> bytes -> transformer -> linear -/

No sum over the batch is needed, so a process only holds its own images against one other process's texts at a time
(`tapetum.train.contrastive.siglip_loss`). Scale and bias are learned, starting at 10 and -10, and not clamped.

Differs from the paper: texts are at most 77 bytes, instead of 16 SentencePiece pieces; images also have a linear layer after
the encoder, for encoders of any width; equal captions, such as those made from classes, match each other's images; images are
cropped as for CLIP.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.fields import check_fields
from tapetum.systems.pretraining.methods.clip import Clip, ClipTask
from tapetum.systems.pretraining.task import VIT

if TYPE_CHECKING:
    from torch import Tensor

    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.heads import TextLearner


@dataclass(frozen=True, kw_only=True)
class SigLip(Clip):
    """Say of every image and every text whether they belong together. The text tower reads bytes."""

    width: int = 768
    """Channels of the text tower."""
    heads: int = 12
    """Heads of the text tower."""
    projection: int = 768
    """Numbers of the embeddings that are compared."""
    initial_scale: float = 10.0
    """What the cosines are multiplied by at the start; its logarithm is learned."""
    initial_bias: float = -10.0
    """What is added to them at the start, and learned: most pairs don't belong together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, initial_scale="(0, inf)")


class SigLipTask(ClipTask):
    """Classify pairs of images and texts."""

    help = "Images and texts of which each pair is classified by itself; needs captions, or makes them of classes."
    Settings = SigLip
    presets: ClassVar = {
        "small": {
            "batch_size": 256,
            "micro_batch": 256,
            "weight_decay": 0.1,
            "betas": (0.9, 0.95),
            "siglip": {"width": 128, "depth": 4, "heads": 4, "projection": 128},
        },
        # SigLIP (arXiv 2303.15343): ViT-B/16 with attention pooling and a text tower of the same size
        "vit": {
            **VIT,
            "encoder": "siglip-base-16",
            "batch_size": 32768,
            "base_lr": 1e-3 * 256 / 32768,
            "steps": 9_000_000_000 // 32768,  # 9 billion pairs
            "weight_decay": 0.1,  # 1e-4 there, not multiplied by the rate of 1e-3
            "betas": (0.9, 0.95),
            "clip_norm": 1.0,  # of public configs of the same code
        },
    }
    unpublished: ClassVar = {
        "vit": {
            "warmup_epochs": "ours",
            "clip_norm": "of public configs of the same code",
            "siglip": "the text tower reads bytes, SigLIP's 32,000 pieces, 16 of a text",
        }
    }

    def text_tower(self) -> dict[str, Any]:
        return {"causal": False, "pooling": "last", "activation": "gelu_tanh", "norm_eps": 1e-6}

    def learner(self, encoder: "Encoder") -> "TextLearner":
        from tapetum.systems.pretraining.heads import TextLearner

        settings = self.settings
        return TextLearner(encoder, settings, self.text_tower(), settings.initial_scale, settings.initial_bias)

    def compare(
        self, model: "TextLearner", images: "Tensor", texts: "Tensor", captions: "Tensor | None"
    ) -> "tuple[Tensor, dict[str, Tensor]]":
        from tapetum.systems.pretraining import losses

        scale = model.log_scale.exp()
        loss = losses.siglip(images, texts, scale, model.bias, captions)
        return loss, {"scale": scale.detach(), "bias": model.bias.detach()}
