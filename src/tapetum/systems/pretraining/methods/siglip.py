"""SigLIP (arXiv 2303.15343): of every image and every text of the batch, say whether they belong together.

    image -> crop -> encoder -> linear ---\\
                                             cosines * scale + bias -> binary cross entropy of each pair
    text -> bytes -> transformer -> linear -/

No sum over the batch is needed, so processes hold a block of their own images with another process's texts at a time
(`tapetum.train.contrastive.siglip_loss`). Scale and bias are learned, from 10 and -10 on, and not clamped.

Differs from the paper: texts are bytes, 77 at most, for its 16 pieces of SentencePiece; images too have a linear layer after
the encoder, for encoders of any width; equal captions, as those made of classes are, belong to each other's images; images are
cropped as for CLIP.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.encoders.features import Encoder
from tapetum.encoders.text import TextTransformer
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems.pretraining import captions, losses
from tapetum.systems.pretraining.config import SigLip
from tapetum.systems.pretraining.methods.clip import ClipLearner, ClipTask
from tapetum.systems.pretraining.task import Loss
from tapetum.train import StepContext


class SigLipLearner(ClipLearner):
    """Both towers, the scale of the cosines, and the bias of the logits."""

    def __init__(self, encoder: Encoder, text: TextTransformer, settings: SigLip):
        super().__init__(encoder, text, settings.projection)
        self.log_scale = nn.Parameter(torch.tensor(math.log(settings.initial_scale)))
        self.bias = nn.Parameter(torch.tensor(settings.initial_bias))

    def scale(self) -> Tensor:
        """Compute the factor of the cosines, exp(t')."""
        return self.log_scale.exp()


class SigLipTask(ClipTask):
    """Classify pairs of images and texts."""

    def learner(self, encoder: Encoder) -> SigLipLearner:
        settings = self.settings
        text = TextConfig(
            width=settings.width,
            depth=settings.depth,
            heads=settings.heads,
            mlp_width=4 * settings.width,
            vocabulary=captions.VOCABULARY,
            length=settings.length,
            causal=False,
            pooling="last",
            activation="gelu_tanh",
            norm_eps=1e-6,
        )
        return SigLipLearner(encoder, TextTransformer(text), settings)

    def method_loss(self, model: SigLipLearner, batch: Mapping[str, Any], context: StepContext) -> Loss:
        features = model.encoder(batch["views"][0]).pooled
        images, texts = model.heads["image"](features), model.heads["text"](model.text(batch["text"]).pooled)
        groups = batch["caption"] if self.settings.equal_captions else None
        scale = model.scale()
        loss = losses.siglip(images, texts, scale, model.bias, groups)
        return loss, features, {"scale": scale.detach(), "bias": model.bias.detach()}
