"""Settings of a video encoder whose words are those of a frozen language model. Imports no torch."""

from dataclasses import asdict, dataclass
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.systems.longvideo.config import VideoConfig

BYTE_DECODER = DecoderConfig(width=192, depth=4, heads=3, key_value_heads=1, head_width=64, mlp_width=768, vocabulary=258)
"""A language model of this project's, over bytes, for a laptop."""


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """A frozen video encoder, a frozen language model, and what learns between them."""

    video: VideoConfig
    language: DecoderConfig | str = BYTE_DECODER
    """A decoder over bytes; or the name or folder of a causal model of transformers."""
    latents: int = 32
    """Vectors that the resampler makes of a video of any length."""
    depth: int = 2
    """Blocks of the resampler."""
    heads: int = 4
    """Of the resampler; those of the cross-attention are the width of the language model by 64, or one."""
    every: int = 1
    """A block that looks at the video stands before every so manieth block of the language model (the paper: 1)."""
    length: int = 224
    """Tokens of a text, at most."""

    def __post_init__(self) -> None:
        if min(self.latents, self.depth, self.heads, self.every) < 1 or self.length < 4:
            raise BadInput(
                "a resampler has 1 latent, block and head or more, every is 1 or more, and texts have 4 tokens or more"
            )
        if self.video.width % self.heads:
            raise BadInput(f"{self.heads} heads do not divide the {self.video.width} channels of the video; give others")
        if self.video.kernels:
            raise BadInput(
                "tubelets of several shapes have no grid over which time could be averaged; give tubelets of one shape"
            )


def captioner_to_json(config: CaptionerConfig) -> dict[str, Any]:
    """Write a config as JSON values."""
    return {"captioner": asdict(config)}


def captioner_from_json(values: dict[str, Any], video: VideoConfig) -> CaptionerConfig:
    """Read what `captioner_to_json` wrote. Raises BadInput, or what a wrong kind of value raises."""
    language = values["language"]
    language = language if isinstance(language, str) else DecoderConfig(**language)
    return CaptionerConfig(**{**values, "video": video, "language": language})
