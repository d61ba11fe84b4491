"""CLIP (arXiv 2103.00020): an image must match its text among those of the batch, and a text its image.

    image -> crop -> encoder -> linear ---\\
                                             cosines * scale -> cross entropy both ways
    text -> bytes -> transformer -> linear -/

Where images have classes and no texts, captions are made of the names (arXiv 2209.15589), and images of one caption are
right for each other.

Differs from the paper: texts are bytes; equal captions; ResNets are plain ones, without its stem of three convolutions, blurred
strides and pooling by attention; the text tower has GELU, its public code a quick approximation.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.data.views import View, clip
from tapetum.encoders.features import Encoder
from tapetum.encoders.text import TextTransformer
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems.pretraining import captions, losses
from tapetum.systems.pretraining.heads import Learner
from tapetum.systems.pretraining.task import Loss, PretrainTask
from tapetum.train import StepContext
from tapetum.train.contrastive import learned_scale


class ClipLearner(Learner):
    """Both towers, and the scale of the cosines."""

    def __init__(self, encoder: Encoder, text: TextTransformer, projection: int):
        super().__init__(
            encoder,
            image=nn.Linear(encoder.width, projection, bias=False),
            text=nn.Linear(text.width, projection, bias=False),
        )
        self.text = text
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        nn.init.normal_(self.heads["image"].weight, std=encoder.width**-0.5)  # pyright: ignore[reportArgumentType]
        nn.init.normal_(self.heads["text"].weight, std=text.width**-0.5)  # pyright: ignore[reportArgumentType]

    def scale(self) -> Tensor:
        """Compute the factor of the cosines, 100 at most."""
        return learned_scale(self.log_scale)


class ClipTask(PretrainTask):
    """Match images with their texts."""

    def check(self) -> None:
        if self.source.captions is None and self.source.labels is None:
            raise BadInput(
                f"{self.run.method} needs captions, and these images have neither captions nor classes; write cat.txt beside "
                "cat.jpg and so on, or put them into a folder a class"
            )

    def views(self) -> tuple[View]:
        return clip(self.run.size)

    def learner(self, encoder: Encoder) -> ClipLearner:
        settings = self.settings
        text = TextConfig(
            width=settings.width,
            depth=settings.depth,
            heads=settings.heads,
            mlp_width=4 * settings.width,
            vocabulary=captions.VOCABULARY,
            length=settings.length,
            causal=True,
            pooling="end",
            end_token=captions.END,
            activation="gelu",
        )
        return ClipLearner(encoder, TextTransformer(text), settings.projection)

    def texts(self, indices: np.ndarray) -> list[str]:
        """Look up the captions of images, or make them of their classes."""
        if self.source.captions is not None:
            return [str(self.source.captions[k]) for k in indices.tolist()]
        assert self.source.labels is not None
        names = [self.source.classes[k] for k in self.source.labels[indices].tolist()]
        return [captions.of_classes(self.settings.template, [name]) for name in names]

    def labels(self, indices: np.ndarray) -> dict[str, Tensor]:
        texts = self.texts(indices)
        return {"text": captions.tokens(texts, self.settings.length), "caption": captions.numbers(texts)}

    def method_loss(self, model: ClipLearner, batch: Mapping[str, Any], context: StepContext) -> Loss:
        features = model.encoder(batch["views"][0]).pooled
        text_features = model.text(batch["text"]).pooled
        groups = batch["caption"] if self.settings.equal_captions else None
        scale = model.scale()
        images, texts = model.heads["image"](features), model.heads["text"](text_features)
        loss = losses.clip(images, texts, scale, groups)
        return loss, features, {"scale": scale.detach()}
