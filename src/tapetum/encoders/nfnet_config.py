"""Settings of NFNets and the named ones. Imports no torch."""

from dataclasses import dataclass

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, EncoderConfig, Preprocessing


@dataclass(frozen=True, kw_only=True)
class NFNetConfig(EncoderConfig):
    """A residual network without normalisation (arXiv 2102.06171, section 4)."""

    depths: tuple[int, int, int, int] = (1, 2, 6, 3)
    """Blocks of each stage; F0 has these, F1 twice as many, and so on."""
    channels: tuple[int, int, int, int] = (256, 512, 1536, 1536)
    """Channels of each stage."""
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
        if len(self.depths) != 4 or min(self.depths) < 1 or len(self.channels) != 4 or min(self.channels) < 2:
            raise BadInput(f"an NFNet of depths {self.depths} and channels {self.channels}: give four of each, 1 or more")
        if self.stem_width % 8 or self.stem_width < 8 or self.final_width < 1 or self.group_width < 1:
            raise BadInput(
                f"an NFNet of stem_width {self.stem_width}, final_width {self.final_width} and group_width {self.group_width}: "
                "the first must be a multiple of 8, the others 1 or more"
            )
        if any(channels // 2 % self.group_width for channels in self.channels):
            raise BadInput(
                f"half of each of the channels {self.channels} must be a multiple of group_width {self.group_width}; change one"
            )


NAMED = {
    "nfnet-f0": Architecture(
        family="nfnet", config=NFNetConfig(), preprocessing=Preprocessing(size=(256, 256), crop_fraction=0.9)
    )
}
"""NFNets by name."""
