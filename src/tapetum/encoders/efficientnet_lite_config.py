"""Settings of EfficientNet-Lite and the named ones. Imports no torch."""

from dataclasses import dataclass
from math import ceil

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, EncoderConfig, Preprocessing


@dataclass(frozen=True, kw_only=True)
class EfficientNetLiteConfig(EncoderConfig):
    """An EfficientNet-Lite: Lite0 with its width and depth multiplied."""

    width_multiplier: float = 1.0
    """Channels of the stages are those of Lite0 times this, rounded to multiples of 8."""
    depth_multiplier: float = 1.0
    """Blocks of all stages but the first and the last are those of Lite0 times this, rounded up."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.width_multiplier > 0 or not self.depth_multiplier > 0:
            raise BadInput(
                f"an EfficientNet-Lite with multipliers {self.width_multiplier} and {self.depth_multiplier}; give two above 0"
            )

    def channels(self, base: int) -> int:
        """Multiply channels by the width; to the nearest multiple of 8, but never by more than a tenth below.

        >>> [EfficientNetLiteConfig(width_multiplier=1.1).channels(base) for base in (16, 24, 40, 80, 112, 192, 320)]
        [16, 24, 48, 88, 120, 208, 352]
        """
        wanted = base * self.width_multiplier
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def blocks(self, base: int) -> int:
        """Multiply blocks by the depth, rounded up."""
        return ceil(base * self.depth_multiplier)


def _named(width: float, depth: float, pixels: int) -> Architecture:
    return Architecture(
        family="efficientnet_lite",
        config=EfficientNetLiteConfig(width_multiplier=width, depth_multiplier=depth),
        preprocessing=Preprocessing(
            size=(pixels, pixels), crop_fraction=pixels / (pixels + 32), mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
        ),
    )


NAMED = {
    "efficientnet-lite0": _named(1.0, 1.0, 224),
    "efficientnet-lite1": _named(1.0, 1.1, 240),
    "efficientnet-lite2": _named(1.1, 1.2, 260),
}
"""EfficientNet-Lites by name, with the preprocessing of their authors: bicubic to 32 pixels more than is wanted, the centre of
that, and (value - 127) / 128."""
