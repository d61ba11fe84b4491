"""Sizes of a Hierarchical Perceiver, as a frozen config that imports no torch; and the released variants.

Source: HiP (arXiv 2202.10890) and its public code; the flat ones are Perceiver IO (arXiv 2107.14795) as that code has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from tapetum.core.errors import BadInput


@dataclass(frozen=True)
class Modality:
    """One kind of input, as a list of elements with channels."""

    shape: tuple[int, ...]
    """Extent along each axis; elements are in row-major order. Fourier codes know of it, nothing else does."""
    channels: int

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1 or self.channels < 1:
            raise BadInput(f"a modality has shape {self.shape} and {self.channels} channels; all must be 1 or more")

    @property
    def length(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Preparation:
    """Normalisation of a file's numbers before a network sees them: (x - mean) / std."""

    mean: tuple[float, ...] = (0.0,)
    """One a channel, or one."""
    std: tuple[float, ...] = (1.0,)
    sample_rate: float | None = None
    """Samples, or frames of a video, per second."""


Modalities = Mapping[str, Modality]
"""By name, in the order in which they are packed."""


@dataclass(frozen=True, kw_only=True)
class HipConfig:
    """All sizes but the modalities; the tuples have one entry a block, encoder first, processor in the middle."""

    groups: tuple[int, ...]
    """Groups of each block; 1 in the processor."""
    latents: tuple[int, ...]
    """Latents of each group."""
    channels: tuple[int, ...]
    self_layers: tuple[int, ...]
    """Self-attention layers after the cross-attention."""
    self_heads: tuple[int, ...]
    cross_heads: tuple[int, ...] | None = None
    """None: 1 in every block, as in every released HiP."""
    cross_widening: int = 1
    """Hidden channels of the MLP after a cross-attention, as a multiple."""
    self_widening: int = 4
    """Hidden channels of the MLP after a self-attention, as a multiple."""
    embedding: int = 32
    """Channels to which inputs are embedded, and of their position codes."""
    flat: bool = False
    """Perceiver IO: all modalities are one group, end to end, and there is one block."""
    regroup: Literal["reshape", "transpose_reshape"] = "reshape"
    """Whether neighbouring groups merge, or elements of all groups mix."""
    positions: Literal["learned", "fourier", "random"] = "learned"
    """Codes of the elements: learned (the paper's), Fourier features of their coordinates, or frozen random numbers."""
    position_projection: bool = True
    """Learned codes go through a linear layer without bias, as in the released tests; the others always do."""
    fourier_bands: int = 4
    """Frequencies of Fourier codes, along each axis."""
    mask_padding: bool = False
    """Padding is not looked at. Off in the release, where padded elements are keys like others."""
    processor_latents_train: int | None = None
    """Latents of the processor in training, drawn anew for each example; None: all."""
    processor_latents_eval: int | None = None
    """Latents of the processor when it is used, more than in training; None: as in training."""
    labels: tuple[str, ...] = ()
    """Modalities that enter and leave at the processor (the release's class bottleneck); some of these may not be there."""
    dropout: float = 0.0
    """After each part of a self-attention layer."""
    drop_path: float = 0.0
    """Share of examples for which a part of a self-attention layer is left out."""

    def __post_init__(self) -> None:
        n = len(self.groups)
        each = {name: getattr(self, name) for name in ("groups", "latents", "channels", "self_layers", "self_heads")}
        if self.cross_heads is not None:
            each["cross_heads"] = self.cross_heads
        for name, values in each.items():
            if len(values) != n or min(values, default=0) < (0 if name == "self_layers" else 1):
                raise BadInput(f"{name} is {values}; wanted {n} numbers from {int(name != 'self_layers')} on, one a block")
        if self.flat:
            if self.groups != (1,):
                raise BadInput(f"groups is {self.groups}; a flat Perceiver has one block of one group: (1,)")
        elif n < 3 or n % 2 == 0 or self.groups[n // 2] != 1:
            raise BadInput(f"groups is {self.groups}; wanted 3 blocks or more, an odd number; the processor has 1 group")
        for i in range(n):
            if self.channels[i] % self.self_heads[i] or self.channels[i] % self.heads(i):
                raise BadInput(
                    f"block {i} has {self.channels[i]} channels for {self.self_heads[i]} and {self.heads(i)} heads; heads must "
                    "divide the channels"
                )
            have = self.groups[i - 1] * self.rows(i - 1) if i else self.groups[0]
            if have % self.groups[i]:
                raise BadInput(
                    f"block {i - 1} gives {self.groups[i - 1]} groups of {self.rows(i - 1)} latents, which do not divide into "
                    f"the {self.groups[i]} groups of block {i}; choose numbers that do"
                )
            if i < n // 2 and (self.groups[i], self.latents[i]) != (self.groups[-1 - i], self.latents[-1 - i]):
                raise BadInput(
                    f"block {i} has {self.groups[i]} groups of {self.latents[i]} latents and its partner, block {n - 1 - i}, "
                    f"{self.groups[-1 - i]} of {self.latents[-1 - i]}; a skip needs the same"
                )
        train, full = self.processor_latents_train, self.processor_latents_eval
        own = self.latents[self.processor]
        if (train is not None and full is not None) or not 0 < (train or own) <= (full or own):
            raise BadInput(f"the processor has {own} latents, {train} and {full}; give one of the two, fewer in training")
        if self.embedding < 1 or not 0 <= self.dropout < 1 or not 0 <= self.drop_path < 1:
            raise BadInput("embedding must be 1 or more, dropout and drop_path within 0..1")

    @property
    def blocks(self) -> int:
        return len(self.groups)

    @property
    def processor(self) -> int:
        """Compute the number of the middle block."""
        return len(self.groups) // 2

    def heads(self, block: int) -> int:
        """Compute heads of a block's cross-attention."""
        return 1 if self.cross_heads is None else self.cross_heads[block]

    def rows(self, block: int) -> int:
        """Compute latents of a group for which a block keeps queries."""
        full = self.processor_latents_eval if block == self.processor else None
        return full or self.latents[block]

    def trained_rows(self, block: int) -> int:
        """Compute latents of a group that a block uses in training."""
        fewer = self.processor_latents_train if block == self.processor else None
        return fewer or self.latents[block]

    def width_in(self, block: int) -> int:
        """Compute channels of what a block looks at."""
        return self.channels[block - 1] if block else self.embedding

    def skip(self, block: int) -> int | None:
        """Compute the encoder block whose latents are added to the queries of a decoder block."""
        return self.blocks - 1 - block if block > self.processor else None


def _io(
    latents: int, channels: int, layers: int, heads: tuple[int, int], widening: tuple[int, int], embedding: int
) -> HipConfig:
    return HipConfig(
        groups=(1,),
        latents=(latents,),
        channels=(channels,),
        self_layers=(layers,),
        cross_heads=(heads[0],),
        self_heads=(heads[1],),
        cross_widening=widening[0],
        self_widening=widening[1],
        embedding=embedding,
        flat=True,
    )


_MINI = HipConfig(
    groups=(16, 1, 16), latents=(128, 64, 128), channels=(128, 1024, 128), self_layers=(2, 1, 1), self_heads=(4, 32, 4)
)
_HIP_16 = HipConfig(
    groups=(16, 4, 1, 1, 1, 4, 16),
    latents=(128, 256, 256, 64, 256, 256, 128),
    channels=(128, 256, 512, 1024, 512, 256, 128),
    self_layers=(2, 2, 18, 2, 1, 1, 1),
    self_heads=(4, 8, 16, 32, 16, 8, 4),
)
_HIP_256 = HipConfig(
    groups=(256, 64, 16, 4, 1, 1, 1, 4, 16, 64, 256),
    latents=(32, 64, 128, 256, 256, 64, 256, 256, 128, 64, 32),
    channels=(64, 96, 128, 256, 512, 1024, 256, 128, 64, 32, 16),
    self_layers=(1, 1, 2, 2, 18, 2, 1, 1, 1, 1, 1),
    self_heads=(1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1),
    embedding=16,
)
LABELS = ("audioset_label", "coco_labels", "imagenet_label", "jft_label", "multi_nli_labels", "objects365_labels")
"""Modalities that the released class bottleneck treats as labels."""

VARIANTS: dict[str, HipConfig] = {
    "hip-mini": _MINI,
    "hip-16": _HIP_16,
    "hip-256": _HIP_256,
    "hip-16x3": HipConfig(
        groups=(16, 1, 16), latents=(128, 256, 128), channels=(128, 1024, 128), self_layers=(2, 18, 2), self_heads=(4, 32, 4)
    ),
    "hip-bottleneck-mini": replace(_MINI, labels=LABELS),
    "hip-bottleneck-16": replace(_HIP_16, labels=LABELS),
    "hip-bottleneck-256": replace(_HIP_256, labels=LABELS),
    "io-mini": _io(128, 128, 2, (1, 2), (1, 2), 128),
    "io-c-50m": replace(_io(1024, 512, 8, (8, 8), (4, 4), 512), position_projection=False),
    "io-c-150m": _io(1024, 896, 12, (16, 16), (4, 4), 896),
}
"""The released variants, as in the public code and its tests; there codes of 512 channels need no projection."""


NANO = HipConfig(
    groups=(16, 4, 1, 4, 16),
    latents=(16, 32, 32, 32, 16),
    channels=(32, 64, 128, 64, 32),
    self_layers=(1, 1, 4, 1, 1),
    self_heads=(1, 2, 4, 2, 1),
    embedding=16,
)
"""This project's own small network: about a million parameters, to be trained on a laptop."""
FLAT_NANO = HipConfig(
    groups=(1,), latents=(128,), channels=(128,), self_layers=(4,), self_heads=(4,), embedding=16, cross_widening=1, flat=True
)
"""A flat Perceiver with as many parameters at work as `NANO` has in its encoder."""
VARIANTS |= {"hip-nano": NANO, "io-nano": FLAT_NANO}


def variant(name: str) -> HipConfig:
    """Look up a variant by name. Raises BadInput for an unknown one."""
    if name not in VARIANTS:
        raise BadInput(f"there is no variant {name!r}; it is one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the inputs; None: what the layout's data set has in the paper."""

    image: tuple[int, int] | None = None
    """Rows and columns of images and frames."""
    frames: int = 8
    video_rate: float = 3.125
    """Frames per second: 8 frames last 2.56 s."""
    samples: int = 122_880
    sound_rate: int = 48_000
    points: int = 2_048

    def __post_init__(self) -> None:
        least = min(*(self.image or (1, 1)), self.frames, self.video_rate, self.samples, self.sound_rate, self.points)
        if not least > 0:
            raise BadInput(f"sizes of inputs must be above 0, and the least is {least}; give larger ones")


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Settings of masking: how inputs are hidden, and which of them are predicted."""

    ratio: float = 0.85
    """Fraction of the places of each group that is hidden."""
    shared: bool = True
    """All groups hide the same places."""

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise BadInput(f"the mask ratio is {self.ratio}; it must be within 0..1, below 1")
