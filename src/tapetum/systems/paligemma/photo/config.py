"""Sizes of paligemma-photo. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.encoders.config import DecoderConfig
from tapetum.systems.paligemma.config import PrefixLmConfig


@dataclass(frozen=True, kw_only=True)
class PhotoConfig(PrefixLmConfig):
    """A classifier of ImageNet that is not part of the weights, a linear layer, and a decoder of text."""

    encoder: str = "efficientnet-lite2"
    """Name of the classifier."""
    encoder_width: int = 1280
    """Channels of its last map."""
    side: int = 260
    """Pixels along an edge of its images, which are squashed to squares."""
    regions: int = 3
    """Regions along an edge of the image, each of which is a token; one more token is of the whole image."""

    def __post_init__(self) -> None:
        check_fields(self, encoder_width="[1, inf)", side="[32, inf)", regions="[1, 8]")
        super().__post_init__()
        if self.prefix_mask not in ("blocks", "images"):
            raise BadInput(f"prefix_mask is {self.prefix_mask}; texts about a photo share its tokens: give blocks or images")

    @property
    def image_size(self) -> int:
        """Get the side of the images, in pixels."""
        return self.side

    @property
    def image_tokens(self) -> int:
        """Count the tokens of one image."""
        return 1 + self.regions**2


DECODERS: Mapping[str, DecoderConfig] = {
    "nano": DecoderConfig(width=256, depth=3, heads=4, key_value_heads=4, head_width=64, mlp_width=512, vocabulary=3200),
    "tiny": DecoderConfig(width=32, depth=1, heads=2, key_value_heads=1, head_width=16, mlp_width=32, vocabulary=3200),
}
"""Decoders by size: one like that of paligemma-nano, with a block less, keys and values for each head, and more words; and one
for tests."""


def as_json(config: PhotoConfig) -> dict[str, Any]:
    """Convert a config to the form in a weight file's header."""
    return asdict(config)


def from_json(header: Mapping[str, Any]) -> PhotoConfig:
    """Convert the output of `as_json` to a config. Raises KeyError, TypeError, ValueError or BadInput for anything else."""
    stored = dict(header)
    return PhotoConfig(language=DecoderConfig(**stored.pop("language")), **stored)
