"""Settings of a video encoder with a text tower or with a language model. Imports no torch.

The text towers are as large as the papers' (LongViViT, arXiv 2312.07395, section 4: BERT-medium beside ViT-B, BERT-base beside
ViT-L), and empty: they read the subwords of any tokenizer. The nano ones read bytes.

Differs from the papers: neither the size of the vocabulary nor the length of a text is given; 32,000 and 256 are ours.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems.longvideo.config import VideoConfig, named

BYTES = 258
"""Kinds of tokens of a text tower that reads bytes (`tapetum.encoders.byte_text`)."""


def _text(width: int, depth: int, heads: int, vocabulary: int, length: int, **more: Any) -> TextConfig:
    return TextConfig(
        width=width,
        depth=depth,
        heads=heads,
        mlp_width=4 * width,
        vocabulary=vocabulary,
        length=length,
        causal=False,
        pooling="mean",
        activation="gelu",
        **{"norm_eps": 1e-6, **more},
    )


def _bert(width: int, depth: int, heads: int) -> TextConfig:
    return _text(width, depth, heads, 32_000, 256, norm_after=True, norm_eps=1e-12)


_NANO = _text(128, 4, 4, BYTES, 160), 128
_BASE, _LARGE = (_bert(512, 8, 8), 512), (_bert(768, 12, 12), 768)
TEXTS: Mapping[str, tuple[TextConfig, int]] = {
    "vivit-nano": _NANO,
    "mcvit-nano": _NANO,
    "mcvit-films": _NANO,
    "longvivit-b": _BASE,
    "longvivit-l": _LARGE,
    "longvivit-1b": _LARGE,
    "mcvit-b": _LARGE,
    "mcvit-l": _LARGE,
}
"""By the name of the video encoder: the text tower beside it, and the channels in which they meet."""
_MOMENTS: Mapping[str, Mapping[str, Any]] = {"mcvit-films": {"moment_slots": 1, "frame_rate": 2.0}}
"""By the name of the video encoder: how moments of films are embedded, where that is not by the segment."""


@dataclass(frozen=True, kw_only=True)
class VideoTextConfig:
    """Two towers whose outputs are compared."""

    video: VideoConfig
    text: TextConfig
    projection: int = 512
    moment_slots: int = field(default=0, repr=False)
    """Time steps of a moment, each of which gets a vector; 0: each segment gets one."""
    frame_rate: float = field(default=1.0, repr=False)
    """Frames a second by which films are embedded."""

    def __post_init__(self) -> None:
        check_fields(self, projection="[1, inf)", moment_slots="[0, inf)", frame_rate="(0, inf)")
        if self.moment_slots and (self.video.memory == "joint" or self.video.segment_slots % self.moment_slots):
            raise BadInput(
                f"moments of {self.moment_slots} time steps do not divide segments of {self.video.segment_slots}, or there are "
                f"none with memory {self.video.memory}; give others, or moment_slots 0"
            )

    @property
    def moments(self) -> dict[str, Any]:
        """Collect the settings of moments, if they differ from those of networks without moments."""
        return {"moment_slots": self.moment_slots, "frame_rate": self.frame_rate} if self.moment_slots else {}


def named_video_text(name: str, **changes: Any) -> VideoTextConfig:
    """Make the config of two towers by the name of the video encoder, with some fields changed.

    `text` (a `TextConfig`) and `projection` may be among the changes. Raises BadInput for what is unknown.
    """
    own = {key: changes.pop(key) for key in ("text", "projection", "moment_slots") if key in changes}
    video = named(name, **changes)
    text, projection = TEXTS[name]
    return VideoTextConfig(**{"video": video, "text": text, "projection": projection, **_MOMENTS.get(name, {}), **own})


BYTE_DECODER = DecoderConfig(width=192, depth=4, heads=3, key_value_heads=1, head_width=64, mlp_width=768, vocabulary=258)
"""A language model of this project's, over bytes, for a laptop."""


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """A frozen video encoder, a frozen language model, and the layers between them that learn."""

    video: VideoConfig
    language: DecoderConfig | str = BYTE_DECODER
    """A decoder over bytes; or the name or folder of a causal model of transformers."""
    latents: int = 32
    """Vectors that the resampler makes of a video of any length."""
    depth: int = 2
    heads: int = 4
    """Of the resampler; those of the cross-attention are the width of the language model by 64, or one."""
    every: int = 1
    """Cross-attention precedes every n-th block of the language model (the paper: 1)."""
    length: int = 224
    """Tokens of a text, at most."""

    def __post_init__(self) -> None:
        check_fields(self, latents="[1, inf)", depth="[1, inf)", heads="[1, inf)", every="[1, inf)", length="[4, inf)")
        if self.video.width % self.heads:
            raise BadInput(f"{self.heads} heads do not divide the {self.video.width} channels of the video; give others")
        if self.video.kernels:
            raise BadInput("tubelets of several shapes have no grid over which time could be averaged; give one shape")


AnyConfig = VideoConfig | VideoTextConfig | CaptionerConfig | DecoderConfig
"""Of what a file of this system may hold: an encoder, alone, with a text tower or with a language model; or that alone."""


def to_json(config: AnyConfig) -> dict[str, Any]:
    """Write a config as JSON values."""
    if isinstance(config, VideoConfig):
        return {"video": asdict(config)}
    if isinstance(config, DecoderConfig):
        return {"language": asdict(config)}
    if isinstance(config, CaptionerConfig):
        return {"captioner": asdict(config)}
    parts = {"video": asdict(config.video), "text": asdict(config.text), "projection": config.projection}
    return {**parts, **config.moments}


def from_json(values: Mapping[str, Any]) -> AnyConfig:
    """Read what `to_json` wrote. Raises BadInput, or what a wrong kind of value raises."""
    if "language" in values:
        return DecoderConfig(**values["language"])
    inner = values.get("captioner", values)
    video = VideoConfig(**{name: _tuples(value) for name, value in inner["video"].items()})
    if "captioner" in values:
        language = inner["language"]
        language = language if isinstance(language, str) else DecoderConfig(**language)
        return CaptionerConfig(**{**inner, "video": video, "language": language})
    if "text" not in values:
        return video
    moments = {name: values[name] for name in ("moment_slots", "frame_rate") if name in values}
    return VideoTextConfig(video=video, text=TextConfig(**values["text"]), projection=values["projection"], **moments)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
