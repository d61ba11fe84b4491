"""Stage 0 of PaliGemma from images and their captions: the vision encoder learns by SigLIP's sigmoid loss.

Source: PaliGemma (arXiv 2407.07726, 3.2.1) begins with SigLIP (2303.15343), whose loss is in `tapetum.train.contrastive`.

    image -> vision encoder -> attention pooling --\\
                                                      cosines * scale + bias -> binary cross entropy of each pair
    text -> bytes -> transformer, last token -------/

Pooling, text transformer, scale and bias are left behind, as PaliGemma leaves them; stage 1 takes the vision encoder. On images
of `scenes/` the dense loss (`nano.dense_task`) may stand beside.

Differs from the paper: texts are bytes, and the text transformer has the sizes of the vision encoder; equal captions belong to
each other's images. Each micro-batch of all processes has pairs of its own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.byte_text import VOCABULARY, numbers, tokens
from tapetum.encoders.config import ViTConfig
from tapetum.encoders.text import TextTransformer
from tapetum.encoders.towers_config import TextConfig
from tapetum.layers.transformer import AttentionPooling
from tapetum.systems.paligemma.data import ImageTexts, JsonLinesSamples, SampleDataset, SampleSource
from tapetum.systems.paligemma.nano.dense_task import (
    CellTargets,
    DenseModel,
    DenseTask,
    collate_cells,
    dense_loss,
    unfold_cells,
)
from tapetum.systems.paligemma.nano.scene_texts import SceneSample
from tapetum.train import StepContext
from tapetum.train.contrastive import siglip_loss, unit_rows

LENGTH = 64
"""Bytes of a caption that are read, begin and end included."""
SCALE, BIAS = 10.0, -10.0
"""At the start (SigLIP, section 3.2)."""
_CHECKED = 256


class ContrastiveHead(nn.Module):
    """What SigLIP has beside the tokens of an image: pooling, text transformer, scale and bias."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.pool = AttentionPooling(config.width, config.heads, config.mlp_width)
        self.text = TextTransformer(
            TextConfig(
                width=config.width,
                depth=config.depth,
                heads=config.heads,
                mlp_width=config.mlp_width,
                vocabulary=VOCABULARY,
                length=LENGTH,
                causal=False,
                pooling="last",
                activation="gelu_tanh",
                norm_eps=1e-6,
            )
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))
        self.bias = nn.Parameter(torch.tensor(BIAS))

    def loss(self, images: Float[Tensor, "b n c"], texts: Int[Tensor, "b t"], captions: Int[Tensor, " b"]) -> Tensor:
        """Compute the sigmoid loss of tokens of images and ids of texts; equal `captions` belong together."""
        return siglip_loss(self.pool(images), self.text(texts).pooled, self.log_scale.exp(), self.bias, captions)


@dataclass(frozen=True)
class CaptionedBatch:
    """Images and their captions, with the targets of cells where there are any."""

    pixels: Float[Tensor, "b 3 h w"]
    texts: Int[Tensor, "b t"]
    captions: Int[Tensor, " b"]
    cells: CellTargets | None


class ContrastiveTask(DenseTask):
    """Trains a vision encoder on images and their captions, with the dense loss beside where `dense`."""

    joint_batch = True

    def __init__(self, *about: Any, weight: float = 1.0, dense: bool = False):
        """`weight`: of the sigmoid loss; the rest as for `DenseTask`, with images that have texts, the caption last."""
        super().__init__(*about)
        self.weight, self.dense = weight, dense

    def model(self) -> DenseModel:
        """Make a vision encoder as `DenseTask` does, with the heads of the losses."""
        model = super().model()
        model.contrastive = ContrastiveHead(self.config)
        if not self.dense:
            del model.dense_head
        return model

    def dataset(self) -> SampleDataset:
        """Make the data set of samples by number."""
        return SampleDataset(cast(SampleSource, self.train), self.seed)

    def collate(self, items: Sequence[ImageTexts]) -> CaptionedBatch:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make a micro-batch. Raises BadInput where an example has several images."""
        if any(len(item.pixels) != 1 for item in items):
            raise BadInput("an example has several images; stage 0 wants one image with its caption in each line")
        texts = [item.pairs[-1].suffix for item in items]
        pixels = torch.stack([torch.from_numpy(item.pixels[0]) for item in items])
        images = [item.image for item in items if isinstance(item, SceneSample)]
        cells = collate_cells(images) if self.dense else None
        return CaptionedBatch(pixels, tokens(texts, LENGTH), numbers(texts), cells)

    def loss(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, model: nn.Module, batch: CaptionedBatch, context: StepContext
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Compute the sigmoid loss, and the dense loss beside."""
        assert isinstance(model, DenseModel)
        head = cast(ContrastiveHead, model.contrastive)
        features = model.vision_encoder(batch.pixels)
        contrastive = head.loss(features.tokens, batch.texts, batch.captions)
        logged = {"siglip": contrastive.detach(), "scale": head.log_scale.detach().exp(), "bias": head.bias.detach()}
        if batch.cells is None:
            return contrastive, logged
        cells = unfold_cells(model.dense_head(features.tokens), features.grid, model.each)
        loss, parts = dense_loss(cells, batch.cells, joint=True)
        return loss + self.weight * contrastive, {**logged, **parts}

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score held-out images: cells, and of pairs the share of images whose caption is the most similar of all."""
        if not isinstance(self.checks, JsonLinesSamples):
            return super().evaluate(model, step) if self.dense else {}
        assert isinstance(model, DenseModel)
        head, device = cast(ContrastiveHead, model.contrastive), next(model.parameters()).device
        items = [self.checks.read(index)[0] for index in range(min(len(self.checks), _CHECKED))]
        images, texts = [], []
        with torch.no_grad():
            for start in range(0, len(items), 32):
                batch = self.collate(items[start : start + 32])
                images.append(head.pool(model.vision_encoder(batch.pixels.to(device)).tokens))
                texts.append(head.text(batch.texts.to(device)).pooled)
        best = (unit_rows(torch.cat(images)) @ unit_rows(torch.cat(texts)).T).argmax(1).cpu()
        captions = numbers([item.pairs[-1].suffix for item in items])
        return {"image_to_text": float((captions[best] == captions).float().mean())}

    def describe(self) -> Mapping[str, Any]:
        """Describe the run, for checkpoints."""
        return {**super().describe(), "contrastive_weight": self.weight, "dense": self.dense}
