"""Sizes of V-JEPA 2's video encoders (arXiv 2506.09985). Imports no torch."""

from dataclasses import dataclass, replace

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.encoders.config import Architecture, EncoderConfig, Preprocessing, imagenet


@dataclass(frozen=True, kw_only=True)
class VJEPA2Config(EncoderConfig):
    """A vision transformer on tubelets."""

    width: int
    """Channels of a token."""
    depth: int
    """Blocks."""
    heads: int
    """Heads of the attention in each block."""
    mlp_width: int
    """Hidden channels of the MLP in each block."""
    patch: int = 16
    """Rows and columns of a tubelet, in pixels."""
    tubelet: int = 2
    """Frames of a tubelet."""
    image_size: tuple[int, int] = (256, 256)
    """Rows and columns of the frames that the network learned from; positions are whole numbers, and others will do."""
    frames: int = 64
    """Frames of the videos that the network learned from."""
    frame_rate: float = 4.0
    """Frames a second of these."""
    norm_eps: float = 1e-6
    qkv_bias: bool = True
    """Query, key and value have a bias."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = "width", "depth", "heads", "mlp_width", "patch", "tubelet", "image_size", "frames"
        check_fields(self, **dict.fromkeys(sizes, "[1, inf)"), frame_rate="(0, 1000]")
        if self.width % self.heads or self.width // self.heads < 6:
            raise BadInput(
                f"{self.heads} heads of a width of {self.width}; they divide it, into 6 or more channels: two for each axis"
            )
        if self.frames % self.tubelet or any(side % self.patch for side in self.image_size):
            raise BadInput(
                f"tubelets of {self.tubelet} frames and {self.patch} pixels do not divide {self.frames} frames of"
                f" {self.image_size}; choose multiples"
            )


def clips(size: int) -> Preprocessing:
    """Prepare frames as V-JEPA 2 does: the shorter side to 256 / 224 of the size, bilinear, crop, ImageNet's mean and
    standard deviation."""
    return replace(imagenet(size), interpolation="bilinear", crop_offset="down")


def _named(width: int, depth: int, heads: int, mlp_width: int) -> Architecture:
    config = VJEPA2Config(width=width, depth=depth, heads=heads, mlp_width=mlp_width)
    return Architecture(family="vjepa2", config=config, preprocessing=clips(256))


NAMED: dict[str, Architecture] = {
    "vjepa2-large": _named(1024, 24, 16, 4096),
    "vjepa2-huge": _named(1280, 32, 16, 5120),
    "vjepa2-giant": _named(1408, 40, 22, 6144),
}
"""The published sizes."""
