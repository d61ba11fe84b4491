"""Settings of ResNets and the named ones. Imports no torch."""

from dataclasses import dataclass, replace
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, EncoderConfig, Preprocessing


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(EncoderConfig):
    """A residual network of four stages (arXiv 1512.03385, table 1)."""

    block: Literal["basic", "bottleneck"] = "bottleneck"
    """basic: two 3x3 convolutions; bottleneck: 1x1, 3x3, and 1x1 to four times the width."""
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Blocks of each stage."""
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
        if self.block not in ("basic", "bottleneck"):
            raise BadInput(f"a ResNet has no blocks {self.block!r}; choose basic or bottleneck")
        if self.stem not in ("7x7", "3x3"):
            raise BadInput(f"a ResNet has no stem {self.stem!r}; choose 7x7 or 3x3")
        if self.padding not in ("even", "same"):
            raise BadInput(f"a ResNet has no padding {self.padding!r}; choose even or same")
        if len(self.depths) != 4 or min(self.depths) < 1 or self.stem_width < 1:
            raise BadInput(
                f"a ResNet of depths {self.depths} and stem_width {self.stem_width}: give four depths and a width, 1 or more"
            )

    @property
    def usual(self) -> bool:
        """Stem and padding are those of torchvision, timm and transformers."""
        return self.stem == "7x7" and self.padding == "even"

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four maps."""
        wider = 4 if self.block == "bottleneck" else 1
        return tuple(self.stem_width * 2**stage * wider for stage in range(4))


PREPROCESSING = Preprocessing(size=(224, 224), crop_fraction=0.875, interpolation="bilinear")
"""As for torchvision's first weights: shorter side to 256, centre of 224."""


def _named(block: Literal["basic", "bottleneck"], depths: tuple[int, int, int, int]) -> Architecture:
    return Architecture(family="resnet", config=ResNetConfig(block=block, depths=depths), preprocessing=PREPROCESSING)


NAMED = {
    "resnet-nano": Architecture(
        family="resnet",
        config=ResNetConfig(block="basic", depths=(1, 1, 2, 1), stem="3x3", stem_width=32),
        preprocessing=replace(PREPROCESSING, size=(32, 32), crop_fraction=1.0),
    ),
    "resnet-18": _named("basic", (2, 2, 2, 2)),
    "resnet-34": _named("basic", (3, 4, 6, 3)),
    "resnet-50": _named("bottleneck", (3, 4, 6, 3)),
    "resnet-101": _named("bottleneck", (3, 4, 23, 3)),
    "resnet-152": _named("bottleneck", (3, 8, 36, 3)),
    "resnet-200": _named("bottleneck", (3, 24, 36, 3)),
}
"""ResNets by name; `resnet-nano` is this project's own, for images of 32 pixels."""
