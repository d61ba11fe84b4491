"""Settings of a video encoder with a text tower. Imports no torch.

The text towers are as large as the papers' (LongViViT, arXiv 2312.07395, section 4: BERT-medium beside ViT-B, BERT-base beside
ViT-L), and empty: texts come as numbers of tokens of any tokenizer. The nano ones read bytes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems.longvideo.captioner_config import CaptionerConfig, captioner_from_json, captioner_to_json
from tapetum.systems.longvideo.config import VideoConfig, named

BYTES = 258
"""Kinds of tokens of a text tower that reads bytes (`tapetum.encoders.byte_text`)."""


def _text(width: int, depth: int, heads: int, vocabulary: int, length: int) -> TextConfig:
    return TextConfig(
        width=width,
        depth=depth,
        heads=heads,
        mlp_width=4 * width,
        vocabulary=vocabulary,
        length=length,
        causal=False,
        pooling="mean",
        norm_eps=1e-6,
        activation="gelu",
    )


_NANO, _BASE = (_text(128, 4, 4, BYTES, 160), 128), (_text(512, 8, 8, 32000, 256), 512)
_LARGE = (_text(768, 12, 12, 32000, 256), 768)
TEXTS: Mapping[str, tuple[TextConfig, int]] = {
    "vivit-nano": _NANO,
    "mcvit-nano": _NANO,
    "longvivit-b": _BASE,
    "longvivit-l": _LARGE,
    "longvivit-1b": _LARGE,
    "mcvit-b": _LARGE,
    "mcvit-l": _LARGE,
}
"""By the name of the video encoder: the text tower beside it, and the channels in which they meet."""


@dataclass(frozen=True, kw_only=True)
class VideoTextConfig:
    """Two towers whose outputs are compared."""

    video: VideoConfig
    text: TextConfig
    projection: int = 512
    """Channels to which both outputs are brought, by linear layers without bias."""

    def __post_init__(self) -> None:
        if self.projection < 1:
            raise BadInput(f"projection is {self.projection}; the two towers meet in 1 channel or more")


def named_towers(name: str, **changes: Any) -> VideoTextConfig:
    """Give the config of two towers by the name of the video encoder, some fields of which are changed.

    `text` (a `TextConfig`) and `projection` may be among the changes. Raises BadInput for what is unknown.
    """
    own = {key: changes.pop(key) for key in ("text", "projection") if key in changes}
    video = named(name, **changes)
    text, projection = TEXTS[name]
    return VideoTextConfig(**{"video": video, "text": text, "projection": projection, **own})


AnyConfig = VideoConfig | VideoTextConfig | CaptionerConfig | DecoderConfig
"""Of what a file of this system may hold: an encoder, alone, with a text tower or with a language model; or that alone."""


def to_json(config: AnyConfig) -> dict[str, Any]:
    """Write a config as JSON values."""
    if isinstance(config, VideoConfig):
        return {"video": asdict(config)}
    if isinstance(config, DecoderConfig):
        return {"language": asdict(config)}
    return captioner_to_json(config) if isinstance(config, CaptionerConfig) else asdict(config)


def from_json(values: Mapping[str, Any]) -> AnyConfig:
    """Read what `to_json` wrote. Raises BadInput, or what a wrong kind of value raises."""
    if "language" in values:
        return DecoderConfig(**values["language"])
    inner = values.get("captioner", values)
    video = VideoConfig(**{name: _tuples(value) for name, value in inner["video"].items()})
    if "captioner" in values:
        return captioner_from_json(inner, video)
    if "text" not in values:
        return video
    return VideoTextConfig(video=video, text=TextConfig(**values["text"]), projection=values["projection"])


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
