"""Sizes of PaliGemma and PaliGemma 2 (arXiv 2407.07726, 2412.03555), and the published models by name. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput, did_you_mean
from tapetum.core.fields import check_fields
from tapetum.encoders.config import DecoderConfig, ViTConfig
from tapetum.encoders.vit_sizes import as_siglip, sized

LOCATIONS, SEGMENTS = 1024, 128
"""Tokens of places and of codes of masks, which follow the text's own."""


@dataclass(frozen=True, kw_only=True)
class PaliGemmaConfig:
    """A vision encoder, a linear layer, and a decoder of text."""

    language: DecoderConfig
    prefix_mask: Literal["full", "blocks", "images", "causal"] = "full"
    """Bidirectional attention: full, among images and prefix, as published; blocks, among images, and of the prefix to both
    (images are then read once for many texts); images, among images alone; causal, none (for ablations)."""
    soft_cap: Literal["transformers", "big_vision"] = "transformers"
    """Logits to which the decoder's logit_soft_cap applies: all; or, as big_vision has it, those of tokens after the
    first one that is generated, so neither in training nor in scoring."""
    begin: int = 2
    """Id of the token before the prefix."""
    end: int = 1
    """Id of the token that ends an answer."""
    newline: int = 108
    """Id of the token that ends the prefix."""
    emitted: int | None = None
    """Ids from this on, such as the padding rows of Hugging Face's files, are never generated; None: all may be."""
    vision_encoder: ViTConfig
    """Of SigLIP's kind: no class token, no pooling that counts."""
    token_merge: int = 1
    """Rows and columns of a square of the vision encoder's tokens that become one token of the decoder: their channels are
    joined before the projector (pixel shuffle, arXiv 2404.16821). 1: each is one, as published."""

    def __post_init__(self) -> None:
        vision_encoder = self.vision_encoder
        if (
            vision_encoder.class_token
            or vision_encoder.norm != "tokens"
            or vision_encoder.pooling == "attention"
            or vision_encoder.classes
            or vision_encoder.image_size[0] != vision_encoder.image_size[1]
        ):
            raise BadInput(
                "a vision encoder of PaliGemma takes square images and has no class token, no attention pooling and no classes;"
                " make it with tapetum.systems.paligemma.config.siglip"
            )
        side = vision_encoder.grid[0]
        if self.token_merge < 1 or side % self.token_merge:
            raise BadInput(f"token_merge is {self.token_merge} for {side} rows of tokens; give a divisor of their number")
        check_fields(self)
        ids = {"begin": self.begin, "end": self.end, "newline": self.newline}
        for name, value in ids.items():
            if not 0 < value < self.language.vocabulary:
                raise BadInput(f"{name} is {value}; ids are 1 to {self.language.vocabulary - 1}, 0 being padding")
        if self.emitted is not None and not self.end < self.emitted <= self.language.vocabulary:
            raise BadInput(
                f"emitted is {self.emitted}; it is above the end token and up to {self.language.vocabulary}, or None"
            )

    @property
    def image_size(self) -> int:
        return self.vision_encoder.image_size[0]

    @property
    def image_tokens(self) -> int:
        return self.vision_encoder.grid[0] * self.vision_encoder.grid[1] // self.token_merge**2

    @property
    def token_side(self) -> int:
        """Get the side length, in pixels, of the part of an image that one decoder token covers."""
        return self.vision_encoder.patch * self.token_merge


def siglip(image_size: int, **changes: Any) -> ViTConfig:
    """Make the config of PaliGemma's vision encoder, SigLIP So400m/14 without its pooling.

    `changes` are other fields of a ViTConfig.
    """
    own = {"patch": 14, "image_size": (image_size, image_size), "pooling": "mean"}
    return replace(as_siglip(sized("so400m")), **own | changes)


def _gemma_2(width: int, depth: int, heads: int, groups: int, head: int, mlp: int, scale: float | None = None) -> DecoderConfig:
    return DecoderConfig(
        width=width,
        depth=depth,
        heads=heads,
        key_value_heads=groups,
        head_width=head,
        mlp_width=mlp,
        vocabulary=257_152,
        query_scale=scale,
        post_norms=True,
        attention_soft_cap=50.0,
        logit_soft_cap=30.0,
    )


LANGUAGES: dict[str, DecoderConfig] = {
    "paligemma-3b": DecoderConfig(
        width=2048, depth=18, heads=8, key_value_heads=1, head_width=256, mlp_width=16_384, vocabulary=257_152
    ),
    "paligemma2-3b": _gemma_2(2304, 26, 8, 4, 256, 9216),
    "paligemma2-10b": _gemma_2(3584, 42, 16, 8, 256, 14_336),
    "paligemma2-28b": _gemma_2(4608, 46, 32, 16, 128, 36_864, (4608 / 32) ** -0.5),
}
"""Decoders by family: Gemma 2B, Gemma 2 2B, 9B and 27B, with the tokens of places and masks."""
IMAGE_SIZES = (224, 448, 896)

NAMED: dict[str, PaliGemmaConfig] = {
    f"{family}-{size}": PaliGemmaConfig(vision_encoder=siglip(size), language=language)
    for family, language in LANGUAGES.items()
    for size in IMAGE_SIZES
} | {
    "pg-mini": PaliGemmaConfig(
        vision_encoder=siglip(224, width=384, depth=12, heads=6, mlp_width=1536),
        language=DecoderConfig(
            width=512, depth=8, heads=8, key_value_heads=1, head_width=64, mlp_width=2048, vocabulary=32_000
        ),
    ),
    "paligemma-nano": PaliGemmaConfig(
        vision_encoder=siglip(112, width=256, depth=3, heads=4, mlp_width=512, patch=16, stem="convolutions", stem_blocks=2),
        language=DecoderConfig(width=256, depth=4, heads=4, key_value_heads=1, head_width=64, mlp_width=512, vocabulary=1792),
        prefix_mask="blocks",
        newline=4,
    ),
    "paligemma-nano-2": PaliGemmaConfig(
        vision_encoder=siglip(112, width=128, depth=3, heads=4, mlp_width=256, patch=8, stem="convolutions", stem_blocks=2),
        language=DecoderConfig(width=256, depth=4, heads=4, key_value_heads=1, head_width=64, mlp_width=512, vocabulary=1792),
        token_merge=2,
        prefix_mask="blocks",
        newline=4,
    ),
}
"""As the reference has them: no window, and 257,152 rows. `pg-mini`, of 68 million parameters, is for timing; the weights
of `paligemma-nano-2` ship with this project (`tapetum train paligemma-nano`), and `paligemma-nano` came before it."""


def named(name: str) -> PaliGemmaConfig:
    """Look up a config of `NAMED`. Raises BadInput for another name.

    >>> named("paligemma2-3b-448").image_tokens
    1024
    """
    if name not in NAMED:
        raise BadInput(f"there is no PaliGemma {name!r}; {did_you_mean(name, NAMED)}")
    return NAMED[name]


def as_json(config: PaliGemmaConfig) -> dict[str, Any]:
    """Convert a config to the form in a weight file's header; a merge of 1 is left out."""
    made = asdict(config)
    if config.token_merge == 1:
        del made["token_merge"]
    return made


def from_json(header: Mapping[str, Any]) -> PaliGemmaConfig:
    """Convert the output of `as_json` to a config. Raises KeyError, TypeError, ValueError or BadInput for anything else."""
    stored = dict(header)
    sight: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(stored.pop("vision_encoder")).items()}
    return PaliGemmaConfig(vision_encoder=ViTConfig(**sight), language=DecoderConfig(**stored.pop("language")), **stored)
