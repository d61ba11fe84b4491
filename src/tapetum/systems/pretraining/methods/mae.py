"""MAE (arXiv 2111.06377): a ViT encodes a quarter of the patches, and a small decoder reconstructs the hidden ones.

    patches -> the visible ones -> encoder -> linear -> in their places, mask tokens elsewhere -> decoder -> pixels

The encoder works on visible patches alone, so it costs a quarter; the decoder works on all positions. The error is that of the
hidden patches, each brought to mean 0 and deviation 1 (section 3). Which are hidden depends on the sample's number alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.data.views import View, mae
from tapetum.data.views.draw import uniforms
from tapetum.encoders.config import ViTConfig
from tapetum.encoders.features import Encoder
from tapetum.encoders.vit import ViT
from tapetum.layers.patches import sine_2d, to_patches
from tapetum.layers.transformer import Attention, Block, Mlp, start_linear
from tapetum.systems.pretraining import losses
from tapetum.systems.pretraining.config import Mae
from tapetum.systems.pretraining.data import TrainingImage
from tapetum.systems.pretraining.heads import Learner
from tapetum.systems.pretraining.task import Loss, PretrainTask
from tapetum.train import StepContext

_HIDDEN_STREAM = 0x68696465
"""Begins the stream of random numbers that choose what is hidden."""


def encode_visible(encoder: ViT, images: Float[Tensor, "b 3 h w"], visible: Int[Tensor, "b m"]) -> Float[Tensor, "b k d"]:
    """Encode the patches of numbers `visible` alone; class token and registers, where there are some, come first."""
    x, _ = encoder.embed(images)
    prefix = encoder.config.prefix
    patches = x[:, prefix:].gather(1, visible[..., None].expand(-1, -1, x.shape[-1]))
    x = torch.cat((x[:, :prefix], patches), 1) if prefix else patches
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x)


class MaeDecoder(nn.Module):
    """A small transformer from the encoder's tokens to the pixels of every patch."""

    positions: Tensor

    def __init__(self, encoder: ViTConfig, settings: Mae):
        super().__init__()
        width, self.prefix = settings.width, encoder.prefix
        self.enter = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.register_buffer("positions", sine_2d(encoder.grid, width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(Attention(width, settings.heads), Mlp(width, 4 * width), lambda: nn.LayerNorm(width, eps=1e-6), width=width)
            for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.leave = nn.Linear(width, 3 * encoder.patch**2)
        self.apply(start_linear)

    def forward(self, tokens: Float[Tensor, "b k d"], visible: Int[Tensor, "b m"]) -> Float[Tensor, "b n p"]:
        """Reconstruct every patch."""
        x = self.enter(tokens)  # (b, k, width)
        first, patches = x[:, : self.prefix], x[:, self.prefix :]
        positions = self.mask_token.to(x.dtype).expand(len(x), len(self.positions), -1)
        positions = positions.scatter(1, visible[..., None].expand_as(patches), patches) + self.positions
        x = torch.cat((first, positions), 1)
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x)[:, self.prefix :])


class MaeTask(PretrainTask):
    """Reconstruct hidden patches."""

    def check(self) -> None:
        config = self.run.architecture.config
        assert isinstance(config, ViTConfig)  # as `PretrainRun.architecture` says
        if config.rotary:
            raise BadInput(
                "mae shows a ViT some patches alone, and rotary positions are those of a whole grid; give another ViT"
            )
        if self.run.size % config.patch or not 0 < self._visible() < config.grid[0] * config.grid[1]:
            raise BadInput(
                f"mae hides {self.settings.ratio:.0%} of views of {self.run.size} pixels in patches of {config.patch}; give a "
                "size that patches divide, and so many that some are visible and some are hidden"
            )

    def _visible(self) -> int:
        rows, columns = cast(ViTConfig, self.run.architecture.config).grid
        return int(rows * columns * (1 - self.settings.ratio))

    def views(self) -> tuple[View]:
        return mae(self.run.size)

    def learner(self, encoder: Encoder) -> Learner:
        assert isinstance(encoder, ViT)
        return Learner(encoder, decoder=MaeDecoder(encoder.config, self.settings))

    def collate(self, items: Sequence[TrainingImage]) -> dict[str, Any]:
        """Make views, and choose the patches that are visible."""
        rows, columns = cast(ViTConfig, self.run.architecture.config).grid
        drawn = uniforms(self.run.seed, _HIDDEN_STREAM, [item.number for item in items], rows * columns)
        visible = torch.from_numpy(drawn.argsort(axis=1, kind="stable")[:, : self._visible()])
        return super().collate(items) | {"visible": visible}

    def method_loss(self, model: Learner, batch: Mapping[str, Any], context: StepContext) -> Loss:
        encoder, (images,), visible = cast(ViT, model.encoder), batch["views"], batch["visible"]
        tokens = encode_visible(encoder, images, visible)
        target = to_patches(images, encoder.config.patch)
        prediction = model.heads["decoder"](tokens, visible)
        loss = losses.mae(prediction, target, hidden_patches(visible, target.shape[1]), self.settings.normalise)
        return loss, tokens[:, encoder.config.prefix :].mean(1), {}


def hidden_patches(visible: Int[Tensor, "b m"], patches: int) -> Bool[Tensor, "b n"]:
    """Mark the patches that are not among the visible ones.

    >>> hidden_patches(torch.tensor([[2, 0]]), 4).tolist()
    [[False, True, False, True]]
    """
    hidden = torch.ones(len(visible), patches, dtype=torch.bool, device=visible.device)
    return hidden.scatter(1, visible, False)
