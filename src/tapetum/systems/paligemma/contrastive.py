"""Stage 0 of PaliGemma on images and captions: the vision encoder is trained with SigLIP's sigmoid loss.

Source: PaliGemma (arXiv 2407.07726, 3.2.1) begins with SigLIP (2303.15343), whose loss is in `tapetum.train.contrastive`.

    image -> vision encoder -> attention pooling --\\
                                                      cosines * scale + bias -> binary cross entropy of each pair
    text -> bytes -> transformer, last token -------/

Pooling, text transformer, scale and bias are discarded, as in PaliGemma; stage 1 starts from the vision encoder.

Differs from the paper: texts are bytes, and the text transformer has the sizes of the vision encoder; equal captions match each
other's images. Pairs are formed within each micro-batch over all processes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.encoders.byte_text import VOCABULARY, numbers, tokens
from tapetum.encoders.config import ViTConfig, squashed
from tapetum.encoders.towers import TextTransformer
from tapetum.encoders.towers_config import TextConfig
from tapetum.encoders.vit import ViT
from tapetum.layers.transformer import AttentionPooling
from tapetum.systems.paligemma.data import ImageTexts, JsonLinesSamples, SampleDataset
from tapetum.systems.paligemma.task import adopted_encoder
from tapetum.train import StepContext, Task
from tapetum.train.contrastive import siglip_loss, unit_rows
from tapetum.train.process_group import compute_shared

LENGTH = 64
"""Bytes of a caption that are read, begin and end included."""
SCALE, BIAS = 10.0, -10.0
"""At the start (SigLIP, section 3.2)."""
_CHECKED = 256
_PART = "vision_encoder."


class ContrastiveHead(nn.Module):
    """SigLIP's parts besides the image tokens: pooling, text transformer, scale and bias."""

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

    def loss(self, images: Float[Tensor, "b n c"], batch: "CaptionedBatch") -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the sigmoid loss of image tokens and captions, and values to log."""
        scale = self.log_scale.exp()
        loss = siglip_loss(self.pool(images), self.text(batch.texts).pooled, scale, self.bias, batch.captions)
        return loss, {"siglip": loss.detach(), "scale": scale.detach(), "bias": self.bias.detach()}


class ContrastiveModel(nn.Module):
    """A vision encoder and the head of SigLIP's loss."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.vision_encoder = ViT(config, squashed(config.image_size[0]))
        self.contrastive = ContrastiveHead(config)


@dataclass(frozen=True)
class CaptionedBatch:
    """Images and their captions."""

    pixels: Float[Tensor, "b 3 h w"]
    texts: Int[Tensor, "b t"]
    captions: Int[Tensor, " b"]
    """Numbers of the captions; equal ones have the same."""


def collate_captions(items: Sequence[ImageTexts]) -> CaptionedBatch:
    """Make a micro-batch of images and their last texts. Raises BadInput if an example has several images."""
    if any(len(item.pixels) != 1 for item in items):
        raise BadInput("an example has several images; stage 0 wants one image with its caption in each line")
    texts = [item.pairs[-1].suffix for item in items]
    pixels = torch.stack([torch.from_numpy(item.pixels[0]) for item in items])
    return CaptionedBatch(pixels, tokens(texts, LENGTH), numbers(texts))


class ContrastiveTask(Task):
    """Trains a vision encoder on images and their captions."""

    joint_batch = True

    def __init__(
        self,
        config: ViTConfig,
        train: JsonLinesSamples,
        checks: JsonLinesSamples | None,
        seed: int,
        start: Path | None = None,
        encoder: str = "",
    ):
        """`train` and `checks`: pairs to train and to score on; `start`: initial weights; `encoder`: from
        `task.adopted_encoder`, with config `config`."""
        self.config, self.train, self.checks, self.seed, self.start = config, train, checks, seed, start
        self.encoder = encoder

    def model(self) -> ContrastiveModel:
        """Make a vision encoder with random weights, or another run's, and the loss head."""
        from safetensors.torch import load_file

        model = ContrastiveModel(self.config)
        if self.encoder:
            model.vision_encoder.load_state_dict(adopted_encoder(self.encoder, self.config.image_size[0]).state_dict())
        if self.start is not None:
            try:
                state = load_file(no_pipe(self.start))
                own = {name.removeprefix(_PART): value for name, value in state.items() if name.startswith(_PART)}
                model.vision_encoder.load_state_dict(own)
            except (RuntimeError, OSError) as error:
                raise BadInput(
                    f"{self.start} is no start for this vision encoder ({str(error)[:100]}); give weights of stage 0 or 1"
                ) from error
        return model

    def dataset(self) -> SampleDataset:
        """Build the data set of samples by number."""
        return SampleDataset(self.train, self.seed)

    def collate(self, items: Sequence[ImageTexts]) -> CaptionedBatch:
        """Make a micro-batch."""
        return collate_captions(items)

    def loss(self, model: nn.Module, batch: CaptionedBatch, context: StepContext) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Compute the sigmoid loss."""
        assert isinstance(model, ContrastiveModel)
        features = model.vision_encoder(batch.pixels)
        return model.contrastive.loss(features.tokens, batch)

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score held-out pairs: the share of images whose caption is the most similar of all."""
        if self.checks is None:
            return {}
        assert isinstance(model, ContrastiveModel)
        head, device = model.contrastive, next(model.parameters()).device
        items = [self.checks.read(index)[0] for index in range(min(len(self.checks), _CHECKED))]

        def compute(number: int) -> Tensor:
            batch = self.collate(items[32 * number : 32 * number + 32])
            images = head.pool(model.vision_encoder(batch.pixels.to(device)).tokens)
            return torch.stack([unit_rows(images), unit_rows(head.text(batch.texts.to(device)).pooled)], 1)

        images, texts = torch.cat(compute_shared(compute, -(-len(items) // 32))).unbind(1)
        best = (images @ texts.T).argmax(1)
        captions = numbers([item.pairs[-1].suffix for item in items])
        return {"image_to_text": float((captions[best] == captions).float().mean())}

    def describe(self) -> Mapping[str, Any]:
        """Describe the run, for checkpoints."""
        return {"vision_encoder": asdict(self.config), "images": len(self.train), "seed": self.seed}
