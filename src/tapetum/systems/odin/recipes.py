"""Whole runs of Odin as configs, which are also the options of `tapetum train odin`. Imports no torch.

`resnet` is the published run (arXiv 2203.08777, with DetCon's settings where the paper could not be read): ResNet-50 with a
pyramid on ImageNet, 1,000 epochs, batches of 4,096, for accelerators. `small` is ours: a core or two, images of 64 pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import Architecture
from tapetum.systems.odin.config import OdinConfig
from tapetum.systems.pretraining.recipes import ImageRun, fitting_changes

Preset = Literal["small", "resnet"]


@dataclass(frozen=True, kw_only=True)
class OdinRun(ImageRun):
    """A whole run; `RECIPES` has some."""

    preset: Preset = "small"
    """small: for a laptop; resnet: as published, for accelerators."""
    odin: OdinConfig = field(default_factory=OdinConfig)
    """What of Odin is a choice."""

    def settings(self) -> OdinConfig:
        """Look up the settings of Odin itself."""
        return self.odin

    @property
    def architecture(self) -> Architecture:
        """Describe family and sizes of the network, for views of `size`, without what a preset has for its own encoder."""
        return self._architecture(fitting_changes(self, RECIPES.values()))

    @property
    def views(self) -> tuple[int, ...]:
        """List the side of each view of an image: two, and the one that spans them."""
        return (self.size,) * 3


RECIPES: Mapping[Preset, OdinRun] = {
    "small": OdinRun(
        batch_size=64,
        micro_batch=64,
        encoder="resnet-18",
        change=("stem_width=16",),
        weight_decay=0.05,
        odin=OdinConfig(
            pyramid_width=64,
            finest_stride=4,
            hidden_width=256,
            projection_width=64,
            clusters=8,
            target_decay=0.99,
            discovery_decay=0.99,
        ),
    ),
    "resnet": OdinRun(
        preset="resnet",
        encoder="resnet-50",
        size=224,
        epochs=1000,
        batch_size=4096,
        micro_batch=64,
        optimizer="lars",
        base_lr=0.2,
        warmup_epochs=10,
        weight_decay=1.5e-6,
        bf16=True,
        odin=OdinConfig(finest_stride=4),
    ),
}
"""Runs by preset, whose data is still to be named."""


def recipe(data: str, preset: Preset = "small", **changes: Any) -> OdinRun:
    """Make the config of a run on `data`, as the preset has it but for `changes`."""
    if preset not in RECIPES:
        raise BadInput(f"Odin has no preset {preset!r}; it has {', '.join(RECIPES)}")
    return replace(RECIPES[preset], data=data, **changes)
