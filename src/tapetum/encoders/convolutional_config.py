"""Configs of ResNets, NFNets and EfficientNet-Lites, and the named ones. Imports no torch."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.encoders.config import Architecture, EncoderConfig, Preprocessing


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(EncoderConfig):
    """A residual network of four stages (arXiv 1512.03385, table 1)."""

    block: Literal["basic", "bottleneck"] = "bottleneck"
    """basic: two 3x3 convolutions; bottleneck: 1x1, 3x3, and 1x1 to four times the width."""
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem: Literal["7x7", "3x3"] = "7x7"
    """First convolution: 7x7 of stride 2 and a maximum of stride 2; or 3x3 of stride 1 and nothing, for images of 32 pixels
    (SimCLR, arXiv 2002.05709, appendix B.9), whose maps have a quarter of the strides."""
    stem_width: int = 64
    """Channels after the first convolution; the stages' 3x3 convolutions have 1, 2, 4 and 8 times as many."""
    padding: Literal["even", "same"] = "even"
    """What a layer of stride 2 adds around its map: even, as much on all sides (PyTorch); same, what is odd at the right and
    the bottom (TensorFlow and JAX, so DetCon and BYOL)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, depths="[1, inf)", stem_width="[1, inf)")

    @property
    def channels(self) -> tuple[int, ...]:
        wider = 4 if self.block == "bottleneck" else 1
        return tuple(self.stem_width * 2**stage * wider for stage in range(4))


RESNET_PREPROCESSING = Preprocessing(size=(224, 224), crop_fraction=0.875, interpolation="bilinear")
"""As for torchvision's first weights: shorter side to 256, centre of 224."""


def _resnet(block: Literal["basic", "bottleneck"], depths: tuple[int, int, int, int]) -> Architecture:
    return Architecture(family="resnet", config=ResNetConfig(block=block, depths=depths), preprocessing=RESNET_PREPROCESSING)


RESNETS = {
    "resnet-nano": Architecture(
        family="resnet",
        config=ResNetConfig(block="basic", depths=(1, 1, 2, 1), stem="3x3", stem_width=32),
        preprocessing=replace(RESNET_PREPROCESSING, size=(32, 32), crop_fraction=1.0),
    ),
    "resnet-18": _resnet("basic", (2, 2, 2, 2)),
    "resnet-34": _resnet("basic", (3, 4, 6, 3)),
    "resnet-50": _resnet("bottleneck", (3, 4, 6, 3)),
    "resnet-101": _resnet("bottleneck", (3, 4, 23, 3)),
    "resnet-152": _resnet("bottleneck", (3, 8, 36, 3)),
    "resnet-200": _resnet("bottleneck", (3, 24, 36, 3)),
}
"""ResNets by name; `resnet-nano` is this project's own, for images of 32 pixels."""


@dataclass(frozen=True, kw_only=True)
class NFNetConfig(EncoderConfig):
    """A residual network without normalisation (arXiv 2102.06171, section 4)."""

    depths: tuple[int, int, int, int] = (1, 2, 6, 3)
    """Blocks of each stage; F0 has these, F1 twice as many, and so on."""
    channels: tuple[int, int, int, int] = (256, 512, 1536, 1536)
    stem_width: int = 128
    """Channels after the four convolutions of the stem; the first three have 1/8, 1/4 and 1/2 of it."""
    group_width: int = 128
    """Channels of each group of the 3x3 convolutions."""
    final_width: int = 3072
    """Channels of the 1x1 convolution after the last stage, which are those of the pooled vector."""
    alpha: float = 0.2
    """Each residual branch is scaled by this."""
    gamma_in_weights: bool = False
    """The gain of the activation is part of every convolution's weights, instead of following every activation: the same but
    for the first convolution and the pooled vector."""
    skip_gain: bool = True
    """Each branch ends in a learned scalar that starts at 0; without it, the gains of its last convolution start at 0."""
    same_padding: bool = True
    """Convolutions of stride 2 are padded as JAX does, instead of equally on all sides."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, depths="[1, inf)", channels="[2, inf)", **dict.fromkeys(("final_width", "group_width"), "[1, inf)"))
        if self.stem_width % 8 or self.stem_width < 8:
            raise BadInput(f"stem_width is {self.stem_width}; it must be a multiple of 8")
        if any(channels // 2 % self.group_width for channels in self.channels):
            raise BadInput(
                f"half of each of the channels {self.channels} must be a multiple of group_width {self.group_width}; change one"
            )


NFNETS = {
    "nfnet-f0": Architecture(
        family="nfnet", config=NFNetConfig(), preprocessing=Preprocessing(size=(256, 256), crop_fraction=0.9)
    )
}


@dataclass(frozen=True, kw_only=True)
class EfficientNetLiteConfig(EncoderConfig):
    """An EfficientNet-Lite: Lite0 with its width and depth multiplied."""

    width_multiplier: float = 1.0
    """Channels of the stages are those of Lite0 times this, rounded to multiples of 8."""
    depth_multiplier: float = 1.0
    """Blocks of all stages but the first and the last are those of Lite0 times this, rounded up."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, width_multiplier="(0, 100]", depth_multiplier="(0, 100]")

    def channels(self, base: int) -> int:
        """Multiply channels by the width, rounded to the nearest multiple of 8, but never more than a tenth below.

        >>> [EfficientNetLiteConfig(width_multiplier=1.1).channels(base) for base in (16, 24, 40, 80, 112, 192, 320)]
        [16, 24, 48, 88, 120, 208, 352]
        """
        exact = base * self.width_multiplier
        rounded = max(8, int(exact + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * exact else rounded

    def blocks(self, base: int) -> int:
        """Multiply blocks by the depth, rounded up."""
        return ceil(base * self.depth_multiplier)


def _efficientnet_lite(width: float, depth: float, pixels: int) -> Architecture:
    return Architecture(
        family="efficientnet_lite",
        config=EfficientNetLiteConfig(width_multiplier=width, depth_multiplier=depth),
        preprocessing=Preprocessing(
            size=(pixels, pixels), crop_fraction=pixels / (pixels + 32), mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
        ),
    )


LITES = {
    "efficientnet-lite0": _efficientnet_lite(1.0, 1.0, 224),
    "efficientnet-lite1": _efficientnet_lite(1.0, 1.1, 240),
    "efficientnet-lite2": _efficientnet_lite(1.1, 1.2, 260),
}
"""EfficientNet-Lites by name, with the preprocessing of their authors: bicubic to 32 pixels more than the size, the centre of
that, and (value - 127) / 128."""
