"""MAE (arXiv 2111.06377): a ViT encodes a quarter of the patches, and a small decoder reconstructs the hidden ones.

    patches -> the visible ones -> encoder -> linear -> in their places, mask tokens elsewhere -> decoder -> pixels

The encoder processes only visible patches, so it costs a quarter; the decoder processes all positions. The loss is over hidden
patches, each scaled to mean 0 and deviation 1 (section 3). Which are hidden depends only on the sample's number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.data.views import mae
from tapetum.systems.pretraining.task import VIT, PretrainTask, vit_config

if TYPE_CHECKING:
    from torch import Tensor

    from tapetum.data.views import View
    from tapetum.systems.pretraining.data import TrainingImage
    from tapetum.systems.pretraining.heads import Learner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext

_HIDDEN_STREAM = 0x68696465
"""Begins the stream of random numbers that choose what is hidden."""


@dataclass(frozen=True, kw_only=True)
class Mae:
    """A ViT sees a quarter of the patches, and a small decoder draws the others."""

    ratio: float = 0.75
    """Share of the patches that are hidden."""
    width: int = 512
    """Channels of the decoder."""
    depth: int = 8
    """Blocks of the decoder."""
    heads: int = 16
    """Heads of the decoder."""
    normalise: bool = True
    """The target is each patch at mean 0 and deviation 1."""

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("width", "depth", "heads"), "[1, inf)"), ratio="(0, 1)")
        if self.width % (4 * self.heads):
            raise BadInput(
                f"a decoder of width {self.width} with {self.heads} heads; the width must be a multiple of 4 x heads"
            )


class MaeTask(PretrainTask):
    help = "A ViT that sees a quarter of the patches and draws the others."
    Settings = Mae
    presets: ClassVar = {
        "small": {
            "encoder": "vit-tiny-16",
            "change": ("patch=8",),
            "weight_decay": 0.05,
            "base_lr": 5e-4,
            "betas": (0.9, 0.95),
            "mae": {"width": 128, "depth": 4, "heads": 4},
        },
        # MAE (arXiv 2111.06377), A.1
        "vit": {
            **VIT,
            "change": ("positions=sine",),
            "base_lr": 1.5e-4,
            "epochs": 800,
            "warmup_epochs": 40,
            "weight_decay": 0.05,
            "betas": (0.9, 0.95),
        },
    }
    hides_patches = True

    def check(self) -> None:
        config = vit_config(self.run)
        if config.rotary:
            raise BadInput(
                "mae shows a ViT some patches alone, and rotary positions are those of a whole grid; give another ViT"
            )
        if self.run.size % config.patch or not 0 < self._visible() < self._patches():
            raise BadInput(
                f"mae hides {self.settings.ratio:.0%} of views of {self.run.size} pixels in patches of {config.patch}; give a "
                "size that patches divide, and so many that some are visible and some are hidden"
            )

    def _visible(self) -> int:
        return int(self._patches() * (1 - self.settings.ratio))

    def _patches(self) -> int:
        config = vit_config(self.run)
        return config.grid[0] * config.grid[1]

    def views(self) -> "tuple[View, ...]":
        return mae(self.run.size)

    def learner(self, encoder: Any) -> "Learner":
        from tapetum.systems.pretraining.heads import Learner, MaeDecoder

        settings = self.settings
        config = vit_config(self.run)
        pixels = 3 * config.patch**2
        return Learner(encoder, decoder=MaeDecoder(config, settings.width, settings.depth, settings.heads, pixels))

    def extras(self, items: "Sequence[TrainingImage]") -> "dict[str, Tensor]":
        """Choose the visible patches."""
        import torch

        from tapetum.data.views.make import uniforms

        drawn = uniforms(self.run.seed, _HIDDEN_STREAM, [item.number for item in items], self._patches())
        return {"visible": torch.from_numpy(drawn.argsort(axis=1, kind="stable")[:, : self._visible()])}

    def method_loss(self, model: Any, batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        from tapetum.layers.patches import to_patches
        from tapetum.systems.pretraining import losses
        from tapetum.systems.pretraining.heads import encode_visible, hidden_patches

        encoder, (images,), visible = model.encoder, batch["views"], batch["visible"]
        tokens = encode_visible(encoder, images, visible)
        target = to_patches(images, encoder.config.patch)
        prediction = model.heads["decoder"](tokens, visible)
        loss = losses.mae(prediction, target, hidden_patches(visible, target.shape[1]), self.settings.normalise)
        return loss, tokens[:, encoder.config.prefix :].mean(1), {}
