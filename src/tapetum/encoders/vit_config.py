"""Sizes of vision transformers, and those that other projects have published, by name. Imports no torch.

Names: `vit-*` are those of the ViT and AugReg papers (arXiv 2010.11929, 2106.10270), `deit3-*` of DeiT III (2204.07118),
`dino-*` of DINO (2104.14294), `dinov2-*` of DINOv2 and, with `-reg`, of registers (2304.07193, 2309.16588), `mae-*` of MAE
(2111.06377), `clip-*` of CLIP (2103.00020), `siglip-*` of SigLIP (2303.15343). `vit-nano` is this project's own, for tests.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.encoders.config import HALF, IMAGENET_MEAN, IMAGENET_STD, Architecture, EncoderConfig, Preprocessing


def check_stem(stem: str, blocks: int, patch: int, width: int) -> None:
    """Raise BadInput for a stem that cannot be: convolutions halve the image `log2(patch)` times, and double the channels."""
    halvings = patch.bit_length() - 1
    if stem == "convolutions" and (2**halvings != patch or patch < 2 or width % 2 ** (halvings - 1)):
        raise BadInput(
            f"a stem of convolutions wants patches of 2, 4, 8 or 16, not {patch}, and a width that can be halved"
            f" {halvings - 1} times, not {width}"
        )
    if blocks < 0 or (blocks and stem == "patch"):
        raise BadInput(f"stem_blocks is {blocks} with stem {stem!r}; it is 0 or more, with convolutions only")


@dataclass(frozen=True, kw_only=True)
class ViTConfig(EncoderConfig):
    """A vision transformer."""

    width: int
    """Channels of a token."""
    depth: int
    """Blocks."""
    heads: int
    """Heads of the attention in each block."""
    mlp_width: int
    """Hidden channels of the MLP in each block."""
    patch: int = 16
    """Side of a patch, in pixels."""
    image_size: tuple[int, int] = (224, 224)
    """Rows and columns of the images for whose grid there are positions; for others they are interpolated."""
    ragged: bool = False
    """Pixels at the right and at the bottom that fill no patch are left out (SigLIP at 384 with patches of 14), not refused."""
    class_token: bool = True
    registers: int = 0
    """Tokens after the class token that are for the network's own use."""
    positions: Literal["learned", "sine"] = "learned"
    """sine: fixed, as in MAE."""
    class_position: bool = True
    """The class token has a position too."""
    resample: Literal["timm", "big_vision", "transformers"] = "timm"
    """How positions are interpolated; see `tapetum.layers.positions`."""
    patch_bias: bool = True
    """The linear layer on the patches has a bias."""
    stem: Literal["patch", "convolutions"] = "patch"
    """What makes tokens of pixels: a linear layer on each patch; or convolutions, which halve the image until a patch is one
    cell (arXiv 2106.14881): small networks and small data learn far sooner with them."""
    stem_blocks: int = 0
    """Residual blocks of two convolutions at each size between the first halving and the last."""
    norm_before: bool = False
    """A norm of the tokens before the first block, as in CLIP."""
    norm_eps: float = 1e-6
    qkv_bias: bool = True
    """Query, key and value have a bias."""
    layer_scale: float | None = None
    """First value of the numbers by which each block's parts are multiplied; None: there are none."""
    activation: Literal["gelu", "gelu_tanh", "quick_gelu"] = "gelu"
    pooling: Literal["token", "mean", "attention"] = "token"
    """How tokens become one vector: the class token, the mean of the grid, or a learned query that looks at the grid."""
    pooler: bool = False
    """A linear layer and tanh after the pooling, as in transformers' ViTModel."""
    norm: Literal["tokens", "pooled"] = "tokens"
    """Where the last norm is: on all tokens before they are pooled, or on the pooled vector (timm's fc_norm)."""
    drop_path: float = 0.0
    """In training, the probability with which an example leaves out a part of the last block; earlier blocks have less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.width, self.depth, self.heads, self.mlp_width, self.patch) < 1 or self.width % self.heads:
            raise BadInput(
                f"a ViT of width {self.width}, depth {self.depth}, {self.heads} heads and patches of {self.patch} cannot be;"
                " all are 1 or more, and heads divide the width"
            )
        fits = all(side >= self.patch and (self.ragged or side % self.patch == 0) for side in self.image_size)
        if len(self.image_size) != 2 or not fits:
            raise BadInput(f"patches of {self.patch} do not divide images of {self.image_size}; choose multiples")
        if not self.class_token and (self.pooling == "token" or self.registers):
            raise BadInput("pooling by token, and registers, want a class token; set class_token, or pool by mean or attention")
        check_stem(self.stem, self.stem_blocks, self.patch, self.width)
        if self.positions == "sine" and self.width % 4:
            raise BadInput(f"sine positions want a width that is a multiple of 4, not {self.width}")
        choices = {"positions": ("learned", "sine"), "activation": ("gelu", "gelu_tanh", "quick_gelu")}
        choices |= {"pooling": ("token", "mean", "attention"), "norm": ("tokens", "pooled")}
        choices |= {"resample": ("timm", "big_vision", "transformers"), "stem": ("patch", "convolutions")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise BadInput(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(allowed)}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of an image of `image_size`."""
        return self.image_size[0] // self.patch, self.image_size[1] // self.patch

    @property
    def prefix(self) -> int:
        """Tokens before those of the grid."""
        return int(self.class_token) + self.registers


CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)
"""Mean or deviation of the images of CLIP, in 0..255."""
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)
"""Mean or deviation of the images of CLIP, in 0..255."""

SIZES: dict[str, tuple[int, int, int, int]] = {
    "tiny": (192, 12, 3, 768),
    "small": (384, 12, 6, 1536),
    "medium": (512, 12, 8, 2048),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "so400m": (1152, 27, 16, 4304),
    "huge": (1280, 32, 16, 5120),
}
"""Width, depth, heads and hidden channels of the MLP, by the names that the field gives them."""


def sized(size: str, patch: int = 16, image: int = 224) -> ViTConfig:
    """Make the plain ViT of a size of `SIZES`."""
    width, depth, heads, mlp_width = SIZES[size]
    return ViTConfig(width=width, depth=depth, heads=heads, mlp_width=mlp_width, patch=patch, image_size=(image, image))


def as_deit3(config: ViTConfig) -> ViTConfig:
    """Change a plain ViT into that of DeiT III: layer scale, and no position for the class token."""
    return replace(config, layer_scale=1e-6, class_position=False)


def as_dinov2(config: ViTConfig, registers: int = 0) -> ViTConfig:
    """Change a plain ViT into that of DINOv2: layer scale, registers or none."""
    return replace(config, layer_scale=1e-5, registers=registers, resample="timm" if registers else "transformers")


def as_clip(config: ViTConfig, activation: Literal["gelu", "quick_gelu"] = "quick_gelu") -> ViTConfig:
    """Change a plain ViT into that of CLIP: a norm before the first block, patches without bias, quick GELU."""
    return replace(config, norm_before=True, patch_bias=False, activation=activation, norm_eps=1e-5, resample="transformers")


def as_siglip(config: ViTConfig, activation: Literal["gelu", "gelu_tanh"] = "gelu_tanh") -> ViTConfig:
    """Change a plain ViT into that of SigLIP: no class token, pooling by attention, GELU by tanh."""
    return replace(config, class_token=False, pooling="attention", activation=activation, resample="big_vision")


def as_mae(config: ViTConfig) -> ViTConfig:
    """Change a plain ViT into that of MAE: sine positions."""
    return replace(config, positions="sine", resample="transformers")


def half(size: int, crop: float = 0.9) -> Preprocessing:
    """Prepare as AugReg does: crop, to -1..1."""
    return Preprocessing(size=(size, size), crop_fraction=crop, mean=HALF, std=HALF)


def imagenet(size: int, crop: float = 0.875) -> Preprocessing:
    """Prepare as most do: crop, then ImageNet's mean and deviation."""
    return Preprocessing(size=(size, size), crop_fraction=crop, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def clip(size: int) -> Preprocessing:
    """Prepare as CLIP does: the shorter side to size, crop, then CLIP's mean and deviation."""
    return Preprocessing(size=(size, size), mean=CLIP_MEAN, std=CLIP_STD)


def squashed(size: int) -> Preprocessing:
    """Prepare as SigLIP does: squash, to -1..1."""
    return Preprocessing(size=(size, size), resize="squash", mean=HALF, std=HALF)


def _vit(config: ViTConfig, preprocessing: Preprocessing) -> Architecture:
    return Architecture(family="vit", config=config, preprocessing=preprocessing)


NAMED: dict[str, Architecture] = {
    "vit-nano": _vit(ViTConfig(width=64, depth=2, heads=4, mlp_width=128, patch=8, image_size=(32, 32)), imagenet(32)),
    **{f"vit-{size}-16": _vit(sized(size), half(224)) for size in ("tiny", "small", "base", "large")},
    **{f"deit3-{size}": _vit(as_deit3(sized(size)), imagenet(224, 0.9)) for size in ("small", "base")},
    **{f"dino-{size}": _vit(replace(sized(size), resample="transformers"), imagenet(224)) for size in ("small", "base")},
    **{f"dinov2-{size}": _vit(as_dinov2(sized(size, 14, 518)), imagenet(518, 1.0)) for size in ("small", "base", "large")},
    **{
        f"dinov2-{size}-reg": _vit(as_dinov2(sized(size, 14, 518), 4), imagenet(518, 1.0))
        for size in ("small", "base", "large")
    },
    **{f"mae-{size}": _vit(as_mae(sized(size)), imagenet(224)) for size in ("base", "large")},
    "clip-base-32": _vit(as_clip(sized("base", 32)), clip(224)),
    "clip-base-16": _vit(as_clip(sized("base", 16)), clip(224)),
    "clip-large-14": _vit(as_clip(sized("large", 14)), clip(224)),
    "siglip-base-16": _vit(as_siglip(sized("base", 16)), squashed(224)),
    "siglip-so400m-14": _vit(as_siglip(sized("so400m", 14)), squashed(224)),
}
"""Published sizes, without classifier."""
