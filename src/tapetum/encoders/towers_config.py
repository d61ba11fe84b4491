"""Sizes of text transformers and of pairs of towers. Imports no torch.

Sources: CLIP (arXiv 2103.00020), SigLIP (2303.15343), SigLIP 2 (2502.14786), TIPSv2 (2604.12012), BERT (1810.04805).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields, check_types
from tapetum.encoders.config import EPS, Architecture, EncoderConfig, LibraryNetConfig, ViTConfig, squashed
from tapetum.encoders.vit_sizes import SIZES, VITS, as_siglip, sized

_Pooling = Literal["end", "highest", "last", "mean"]
_OTHERS = "'highest', 'last' and 'mean'"


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    width: int
    depth: int
    heads: int
    mlp_width: int
    vocabulary: int
    length: int
    """Tokens for which there are positions."""
    causal: bool
    """A token sees earlier ones only, as in CLIP."""
    pooling: _Pooling
    """Which token stands for the text: the first that is `end_token`, the highest number (CLIP before its config was mended),
    the last one, padding or not (SigLIP); or the mean of all but padding, which is 0 and not looked at (LongViViT, TIPSv2)."""
    end_token: int | None = None
    projection: int = 0
    """Outputs of a linear layer after the pooling (SigLIP's head); 0: there is none."""
    norm_eps: float = 1e-5
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "relu"] = "quick_gelu"
    positions: Literal["learned", "sine"] = "learned"
    """sine: fixed sines, then cosines, of wavelengths 2 pi to 20,000 pi (TIPSv2)."""
    scale_embedding: bool = False
    """The embedding is multiplied by sqrt(width) before positions are added (TIPSv2)."""
    norm_after: bool = field(default=False, repr=False)
    """Norms stand after the embedding and after each sum, and none at the end (BERT). Not in the repr, of which the identity of
    networks in older tables of vectors is."""

    def __post_init__(self) -> None:
        check_types(self)
        sizes = dict.fromkeys(("width", "depth", "heads", "mlp_width", "vocabulary"), "[1, inf)")
        check_fields(self, length="[1, 65536]", norm_eps=EPS, projection="[0, inf)", **sizes)
        if self.width % self.heads:
            raise BadInput(f"{self.heads} heads do not divide a width of {self.width}; choose a multiple")
        if (self.pooling == "end") != (self.end_token is not None):
            raise BadInput(f"pooling is {self.pooling!r} with end token {self.end_token}; 'end' wants one, {_OTHERS} none")
        if self.positions == "sine" and (self.width % 2 or self.width < 4):
            raise BadInput(f"sine positions want an even width of 4 or more, not {self.width}")
        if self.pooling == "mean" and self.causal:
            raise BadInput("the mean of tokens wants tokens that see all others; set causal to False")


@dataclass(frozen=True, kw_only=True)
class TowersConfig(EncoderConfig):
    """A tower for images and one for text, whose outputs are compared."""

    image: ViTConfig | LibraryNetConfig
    """Computed by timm or transformers, if it is a LibraryNetConfig."""
    text: TextConfig
    projection: int = 0
    """Channels to which both outputs are brought by linear layers without bias (CLIP); 0: there are none (SigLIP)."""
    logit_bias: bool = False
    """A learned number is added to all logits (SigLIP)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        image: Any = self.image
        if isinstance(image, Mapping):  # from a file, as the text
            object.__setattr__(self, "image", (LibraryNetConfig if "library" in image else ViTConfig)(**image))
        if isinstance(self.text, Mapping):
            object.__setattr__(self, "text", TextConfig(**self.text))
        check_fields(self, projection="[0, inf)")
        if self.classes:
            raise BadInput("two towers have no classifier of their own; set classes of the image tower")
        width = getattr(self.image, "projection", 0) or getattr(self.image, "width", 0)  # a library's network knows its own
        if not self.projection and width and width != (self.text.projection or self.text.width):
            raise BadInput("the two towers end in different widths; give a projection")


CLIP_TEXT = TextConfig(
    width=512, depth=12, heads=8, mlp_width=2048, vocabulary=49408, length=77, causal=True, pooling="end", end_token=49407
)
SIGLIP_TEXT = TextConfig(
    width=768,
    depth=12,
    heads=12,
    mlp_width=3072,
    vocabulary=32000,
    length=64,
    causal=False,
    pooling="last",
    projection=768,
    norm_eps=1e-6,
    activation="gelu_tanh",
)
SIGLIP2_TEXT = replace(SIGLIP_TEXT, vocabulary=256_000)


def _towers(image: str, text: TextConfig, projection: int = 0, logit_bias: bool = False) -> Architecture:
    tower = VITS[image]
    assert isinstance(tower.config, ViTConfig)
    config = TowersConfig(image=tower.config, text=text, projection=projection, logit_bias=logit_bias)
    return Architecture(family="towers", config=config, preprocessing=tower.preprocessing)


def _siglip2(size: str, patch: int, image: int) -> Architecture:
    width, depth, heads, mlp_width = SIZES[size]
    text = replace(SIGLIP2_TEXT, width=width, depth=depth, heads=heads, mlp_width=mlp_width, projection=width)
    config = TowersConfig(image=as_siglip(sized(size, patch, image)), text=text, logit_bias=True)
    return Architecture(family="towers", config=config, preprocessing=replace(squashed(image), interpolation="bilinear"))


NAMED: dict[str, Architecture] = {
    "clip-base-32-towers": _towers("clip-base-32", CLIP_TEXT, 512),
    "clip-base-16-towers": _towers("clip-base-16", CLIP_TEXT, 512),
    "clip-large-14-towers": _towers("clip-large-14", replace(CLIP_TEXT, width=768, heads=12, mlp_width=3072), 768),
    "siglip-base-16-towers": _towers("siglip-base-16", SIGLIP_TEXT, logit_bias=True),
    "siglip-so400m-14-towers": _towers(
        "siglip-so400m-14",
        replace(SIGLIP_TEXT, width=1152, depth=27, heads=16, mlp_width=4304, length=16, projection=1152),
        logit_bias=True,
    ),
    "siglip2-base-32-towers": _siglip2("base", 32, 256),
    "siglip2-base-16-towers": _siglip2("base", 16, 224),
    "siglip2-large-16-256-towers": _siglip2("large", 16, 256),
    "siglip2-so400m-14-towers": _siglip2("so400m", 14, 224),
    "siglip2-so400m-16-256-towers": _siglip2("so400m", 16, 256),
}
