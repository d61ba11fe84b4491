"""Settings of Swin transformers and the named ones. Imports no torch."""

from dataclasses import dataclass

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, EncoderConfig, Preprocessing


@dataclass(frozen=True, kw_only=True)
class SwinConfig(EncoderConfig):
    """A transformer of shifted windows (arXiv 2103.14030, section 3.3)."""

    width: int = 96
    """Channels of the first stage; each later one has twice as many."""
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    """Blocks of each stage."""
    heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    """Attention heads of each stage."""
    window: int = 7
    """Cells along a side of a window."""
    drop_path: float = 0.0
    """Probability with which the last block's parts are left out in training; it rises linearly from 0 in the first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != 4 or len(self.heads) != 4 or min(*self.depths, *self.heads, self.width, self.window) < 1:
            raise BadInput(
                f"a Swin of depths {self.depths}, heads {self.heads}, width {self.width} and window {self.window}: "
                "give four depths and heads, all 1 or more"
            )
        if any(self.width * 2**i % heads for i, heads in enumerate(self.heads)):
            raise BadInput(f"heads {self.heads} do not divide the stages' channels {self.channels}; change one")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four maps."""
        return tuple(self.width * 2**i for i in range(4))


PREPROCESSING = Preprocessing(size=(224, 224), crop_fraction=0.9)
"""As for the authors' weights."""


def _named(width: int, depths: tuple[int, int, int, int], heads: tuple[int, int, int, int]) -> Architecture:
    return Architecture(family="swin", config=SwinConfig(width=width, depths=depths, heads=heads), preprocessing=PREPROCESSING)


NAMED = {
    "swin-t": _named(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin-s": _named(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin-b": _named(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin-l": _named(192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
"""Swin transformers by name."""
