"""Sizes of the mask codec, and its training config, which also defines the options of `tapetum train paligemma-masks`.

Source: All in Tokens (arXiv 2301.02229) and the public config of its instance masks: mean squared error, commitment 0.25, codes
that are moving averages of decay 0.99, AdamW at 3e-4 without weight decay, 500 steps of warm-up and a cosine, batches of 512.
Imports no torch.

Differs from it: unused codes are redrawn from the batch, since otherwise a short run uses only a few; masks are mirrored,
turned and coarsened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields

SIDE = 64
"""Pixels along an edge of a mask in its box; 16 of them make one token."""


@dataclass(frozen=True, kw_only=True)
class MaskCodecConfig:
    """A codec's sizes; the defaults are the official one's."""

    channels: tuple[int, int, int, int] = (16, 32, 64, 128)
    """Of the four convolutions that halve the mask, and the other way round of those that double it."""
    residuals: int = 2
    """Residual blocks at the coarsest grid, on either side."""
    code_width: int = 512
    """Numbers in a code."""
    codes: int = 128

    def __post_init__(self) -> None:
        numbers = *self.channels, self.code_width, self.codes
        if len(self.channels) != 4 or min(numbers) < 1 or self.residuals < 0:
            raise BadInput(
                f"a codec of masks has channels {self.channels}, numbers {numbers}; give four channels, all 1 or more"
            )


SMALL = MaskCodecConfig(channels=(8, 16, 32, 56), code_width=32)
"""This project's own: under a megabyte in float16."""
SIZES = {"small": SMALL, "official": MaskCodecConfig()}


@dataclass(frozen=True, kw_only=True)
class MaskCodecRun:
    """A run that learns to write masks as 16 tokens."""

    size: Literal["small", "official"] = "small"
    """Sizes of the network: this project's own, under a megabyte, or those of the official one."""
    data: tuple[str, ...] = ()
    """Folders that `tapetum scenes images` made (or others with masks/*.png that hold numbers of instances, 0 for none), or
    files of instances as COCO has them."""
    check: tuple[str, ...] = ()
    """The same, of masks to score on; none given: a twentieth of the data is kept for it."""
    steps: int = 6000
    """Optimiser steps."""
    batch_size: int = 512
    """Masks of a step."""
    micro_batch: int = 128
    """Masks that a process works on at a time."""
    lr: float = 3e-4
    """Highest learning rate."""
    warmup_steps: int = 500
    """Steps over which it rises."""
    commitment: float = 0.25
    """Weight of the distance of the encoder's output to its code."""
    code_decay: float = 0.99
    """Share of a code that is kept in a step."""
    restart_below: float = 0.5
    """A code that fewer than so many cells choose, as a moving average a step, is drawn anew; 0: never, as in the paper."""
    seed: int = 1
    """The same seed gives the same run."""

    def __post_init__(self) -> None:
        check_fields(self, commitment="[0, inf)", code_decay="[0, 1)", restart_below="[0, inf)")

    @property
    def config(self) -> MaskCodecConfig:
        return SIZES[self.size]


RECIPES: Mapping[str, MaskCodecRun] = {
    "small": MaskCodecRun(batch_size=64, micro_batch=64, steps=6000, lr=1e-3, warmup_steps=200),
    "official": MaskCodecRun(size="official", steps=30_000),
}
"""Ours, for an hour of a processor; and the paper's, whose number of steps depends on the data: 20 times all masks of COCO."""
