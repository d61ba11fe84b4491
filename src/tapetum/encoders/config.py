"""Configs of vision transformers and of the text decoder, and image preprocessing for encoders. Imports no torch.

Configs of the other families are beside their named architectures (`convolutional_config`, `towers_config`, `vit_sizes`).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields, check_types

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Mean or standard deviation of red, green and blue over ImageNet, in 0..255."""
HALF = (127.5, 127.5, 127.5)
"""As mean and as std: to -1..1."""
LARGEST_SIDE = 4096
"""Pixels of a side of a prepared image, at most."""
CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)
"""Mean or standard deviation of the images of CLIP, in 0..255."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to uint8 images before an encoder gets them; it is stored with the weights.

    >>> Preprocessing(size=(224, 224), crop_fraction=0.875).resized(480, 640)
    (256, 341)
    >>> Preprocessing(size=(256, 256), resize="patches", patches=256, patch=16).resized(480, 640)
    (224, 288)
    """

    size: tuple[int, int]
    """Rows and columns of the prepared image; with resize "patches", of a square one."""
    resize: Literal["crop", "squash", "patches"] = "crop"
    """crop: scale until the image covers size / crop_fraction; squash: to size / crop_fraction, whatever its shape. Then the
    centre is cut out. patches: to whole patches, as many as are allowed, in nearly the shape of the image."""
    crop_fraction: float = 1.0
    """Part of the scaled image's shorter side that is left."""
    crop_offset: Literal["nearest", "down"] = "nearest"
    """Where a crop begins that cannot lie in the middle to the pixel: at the nearest even pixel, as in torchvision, timm and
    open_clip, or rounded down, as in transformers."""
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    antialias: bool = True
    """Widen the filter when shrinking, as Pillow does."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from red, green and blue; in units of 0..255."""
    std: tuple[float, float, float] = IMAGENET_STD
    """What is left is divided by this; in units of 0..255."""
    patches: int = 0
    """With resize "patches", at most so many in an image."""
    patch: int = 0
    """With resize "patches", the side of a patch in pixels."""

    def __post_init__(self) -> None:
        check_types(self)
        least = int(self.resize == "patches")
        check_fields(
            self,
            size=f"[1, {LARGEST_SIDE}]",
            crop_fraction="[0.01, 1]",
            mean="[-1e6, 1e6]",
            std="[1e-3, 1e6]",
            patches=f"[{least}, {LARGEST_SIDE}]",
            patch=f"[{least}, {LARGEST_SIDE}]",
        )

    def resized(self, rows: int, columns: int) -> tuple[int, int]:
        """Compute rows and columns of an image of `rows` x `columns` after resizing, before the crop.

        Raises BadInput if there are unreasonably many pixels.
        """
        if self.resize == "patches":
            return size_in_patches(rows, columns, self.patches, self.patch)
        high, wide = (int(side / self.crop_fraction) for side in self.size)
        if self.resize == "crop" and high * columns >= wide * rows:  # rows are what is short
            wide = max(wide, int(high * columns / rows))
        elif self.resize == "crop":
            high = max(high, int(wide * rows / columns))
        if high * wide > 4 * LARGEST_SIDE**2:
            raise BadInput(f"an image of {columns} x {rows} would be scaled to {wide:,} x {high:,}; give one of another shape")
        return high, wide

    def crop(self, rows: int, columns: int) -> tuple[slice, slice]:
        """Compute which rows and columns of the resized image remain of an image of `rows` x `columns`."""
        parts, resized = [], self.resized(rows, columns)
        for have, want in zip(resized, resized if self.resize == "patches" else self.size, strict=True):
            start = (have - want) // 2 if self.crop_offset == "down" else round((have - want) / 2)
            parts.append(slice(start, start + want))
        return parts[0], parts[1]


EPS = "[1e-30, 1]"
"""What is added to a variance before its root is a divisor; of float32, less would be 0."""
_OF_MANY = {"norm_eps": EPS, "drop_path": "[0, 1)", "registers": "[0, inf)", "image_size": "[1, inf)"}
"""Bounds of fields that several families have."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Fields that the config of every family has. One whose weights know the size of its images also has `image_size`."""

    classes: int = 0
    """Outputs of the linear classifier on the pooled vector; 0: there is none."""

    def __post_init__(self) -> None:
        check_types(self)
        check_fields(self, classes="[0, inf)", **{name: bounds for name, bounds in _OF_MANY.items() if hasattr(self, name)})


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network's family, sizes and preprocessing, without weights."""

    family: str
    config: EncoderConfig
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True)
class LibraryNetConfig(EncoderConfig):
    """A network that timm or transformers computes itself (`library_net`); `tables` has those that we compute."""

    library: Literal["timm", "transformers"]
    model: str
    """The name of timm's model; the model_type of transformers."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Fields of transformers' config that are not its defaults."""
    image_size: tuple[int, int] | None = None
    """Rows and columns of an image, where the network takes no others."""


OF_TRANSFORMERS = (
    *("convnext", "convnextv2", "regnet", "mobilenet_v2", "resnet"),
    *("dinov3_vit", "siglip2_vision_model", "tipsv2_vision_model", "vjepa2"),
)
"""Networks that transformers computes, by the model_type in a config.json."""


def half(size: int) -> Preprocessing:
    """Prepare as AugReg does: crop, to -1..1."""
    return Preprocessing(size=(size, size), crop_fraction=0.9, mean=HALF, std=HALF)


def imagenet(size: int, crop: float = 0.875) -> Preprocessing:
    """Prepare as most models do: crop, then ImageNet's mean and standard deviation."""
    return Preprocessing(size=(size, size), crop_fraction=crop, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def clip(size: int) -> Preprocessing:
    """Prepare as CLIP does: the shorter side to size, crop, then CLIP's mean and standard deviation."""
    return Preprocessing(size=(size, size), mean=CLIP_MEAN, std=CLIP_STD)


def squashed(size: int) -> Preprocessing:
    """Prepare as SigLIP does: squash, to -1..1."""
    return Preprocessing(size=(size, size), resize="squash", mean=HALF, std=HALF)


def naflex(patches: int = 256, patch: int = 16) -> Preprocessing:
    """Prepare as SigLIP 2 NaFlex does: to at most this many patches at the image's aspect ratio, bilinear, to -1..1."""
    side = math.isqrt(patches) * patch
    return Preprocessing(
        size=(side, side), resize="patches", interpolation="bilinear", mean=HALF, std=HALF, patches=patches, patch=patch
    )


def tipsv2(size: int) -> Preprocessing:
    """Prepare as TIPSv2 does: squash, bilinear, to 0..1."""
    return replace(squashed(size), interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))


def check_stem(stem: str, blocks: int, patch: int, width: int) -> None:
    """Raise BadInput for an impossible stem: convolutions halve the image `log2(patch)` times, and double the channels."""
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
    width: int
    depth: int
    heads: int
    mlp_width: int
    patch: int = 16
    image_size: tuple[int, int] = (224, 224)
    """Rows and columns of the images for whose grid there are positions; for others they are interpolated."""
    ragged: bool = False
    """Pixels at the right and at the bottom that fill no patch are left out (SigLIP at 384 with patches of 14), not refused."""
    class_token: bool = True
    registers: int = 0
    """Tokens after the class token that are for the network's own use."""
    mask_token: bool = False
    """Beside the weights is the token that stands for hidden patches, which only training as DINOv2 reads."""
    positions: Literal["learned", "sine", "none"] = "learned"
    """Added to the tokens; sine: fixed, as in MAE."""
    rotary: Literal["dinov3"] | None = None
    """By which queries and keys are rotated in every block, positions or not; see `tapetum.layers.patches`."""
    class_position: bool = True
    resample: Literal["timm", "big_vision", "transformers"] = "timm"
    """How positions are interpolated; see `tapetum.layers.patches`."""
    patch_bias: bool = True
    stem: Literal["patch", "convolutions"] = "patch"
    """From pixels to tokens: a linear layer on each patch; or convolutions, which halve the image until a patch is one cell
    (arXiv 2106.14881): small networks and small data learn far sooner with them."""
    stem_blocks: int = 0
    """Residual blocks of two convolutions at each size between the first halving and the last."""
    norm_before: bool = False
    """A norm of the tokens before the first block, as in CLIP."""
    norm_eps: float = 1e-6
    qkv_bias: bool = True
    key_bias: bool = True
    """The key has one, where query and value do; a softmax does not see it."""
    mlp: Literal["plain", "gated"] = "plain"
    """gated: of two layers side by side, one is, after the activation, a factor of the other (SwiGLU, arXiv 2002.05202)."""
    layer_scale: float | None = None
    """First value of the numbers by which each block's parts are multiplied; None: there are none."""
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "silu"] = "gelu"
    pooling: Literal["token", "mean", "attention"] = "token"
    """How tokens become one vector: the class token, the mean of the grid, or a learned query that attends to the grid."""
    pooler: bool = False
    """A linear layer and tanh after the pooling, as in transformers' ViTModel."""
    projection: int = 0
    """Channels of a linear layer without bias after the pooling (CLIP's, of an image tower by itself); 0: there is none."""
    norm: Literal["tokens", "pooled"] = "tokens"
    """Where the last norm is: on all tokens before they are pooled, or on the pooled vector (timm's fc_norm)."""
    drop_path: float = 0.0
    """In training, the probability with which an example leaves out a part of the last block; earlier blocks have less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = dict.fromkeys(("width", "depth", "heads", "mlp_width", "patch"), "[1, inf)")
        check_fields(self, projection="[0, inf)", **sizes)
        if self.width % self.heads:
            raise BadInput(f"{self.heads} heads do not divide a width of {self.width}; choose a multiple")
        fits = all(side >= self.patch and (self.ragged or side % self.patch == 0) for side in self.image_size)
        if not fits:
            raise BadInput(f"patches of {self.patch} do not divide images of {self.image_size}; choose multiples")
        if not self.class_token and (self.pooling == "token" or self.registers):
            raise BadInput("pooling by token, and registers, want a class token; set class_token, or pool by mean or attention")
        check_stem(self.stem, self.stem_blocks, self.patch, self.width)
        if self.positions == "sine" and self.width % 4:
            raise BadInput(f"sine positions want a width that is a multiple of 4, not {self.width}")
        if self.rotary and self.width // self.heads % 4:
            raise BadInput(f"rotary positions want heads of a multiple of 4 channels, not {self.width // self.heads}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of an image of `image_size`."""
        return self.image_size[0] // self.patch, self.image_size[1] // self.patch

    @property
    def prefix(self) -> int:
        """Tokens before those of the grid."""
        return int(self.class_token) + self.registers


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder of the Gemma kind. The defaults are those of Gemma; what Gemma 2 adds is off."""

    width: int
    depth: int
    heads: int
    """Heads of the queries."""
    key_value_heads: int
    """Heads of keys and values; each is shared by heads / key_value_heads of the queries."""
    head_width: int
    """Channels of a head; heads * head_width need not be the width."""
    mlp_width: int
    vocabulary: int
    """Kinds of tokens; the token embedding is also the last layer."""
    query_scale: float | None = None
    """By which logits of the attention are multiplied; None: head_width ** -0.5."""
    post_norms: bool = False
    """A norm after each part of a block too (Gemma 2)."""
    attention_soft_cap: float | None = None
    """Logits of the attention become cap * tanh(logits / cap), before the mask (Gemma 2: 50)."""
    logit_soft_cap: float | None = None
    """The same for the logits over the vocabulary (Gemma 2: 30)."""
    window: int | None = None
    """Tokens back, itself included, that a token of a local block sees; None: no block is local (Gemma 2: 4096)."""
    global_every: int = 2
    """With a window, every so manieth block sees all: 2 makes blocks 0, 2, 4, ... local."""
    rope_wavelength: float = 10_000.0
    """Longest wavelength of the rotary positions."""
    norm_eps: float = 1e-6
    dropout: float = 0.0
    """In training, the probability with which a number that a part of a block gives is left out."""

    def __post_init__(self) -> None:
        sizes = "width", "depth", "heads", "key_value_heads", "mlp_width", "vocabulary", "global_every"
        above_0 = "query_scale", "attention_soft_cap", "logit_soft_cap", "window", "rope_wavelength", "norm_eps"
        bounds = dict.fromkeys(sizes, "[1, inf)") | dict.fromkeys(above_0, "(0, inf)")
        check_fields(self, **bounds, head_width="[2, inf)", dropout="[0, 1)")
        if self.head_width % 2 or self.heads % self.key_value_heads:
            raise BadInput(
                f"a decoder has {self.heads} heads of {self.head_width} channels on {self.key_value_heads} heads of keys and"
                " values; head_width must be even, and key_value_heads divide heads"
            )

    @property
    def scale(self) -> float:
        """The factor on the attention logits."""
        return self.head_width**-0.5 if self.query_scale is None else self.query_scale

    def local(self, block: int) -> bool:
        """Check whether a block attends only within a window.

        >>> sizes = {"width": 8, "depth": 4, "heads": 2, "key_value_heads": 1, "head_width": 4, "mlp_width": 8, "vocabulary": 9}
        >>> [DecoderConfig(**sizes, window=3).local(block) for block in range(4)]
        [True, False, True, False]
        """
        return self.window is not None and (block + 1) % self.global_every != 0


def size_in_patches(rows: int, columns: int, patches: int, patch: int) -> tuple[int, int]:
    """Compute rows and columns, in pixels, of the resized image of `rows` x `columns`.

    The scale, found by bisection, is the largest at which both sides, each rounded up to whole patches, give at most `patches`
    patches.

    >>> size_in_patches(1080, 1920, 256, 16), size_in_patches(480, 640, 1024, 16)
    ((192, 336), (432, 576))
    """

    def sides(scale: float) -> tuple[int, int]:
        return max(1, math.ceil(rows * scale / patch)), max(1, math.ceil(columns * scale / patch))

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:  # the bounds and the last step decide sizes: they are those of the published code
        middle = (low + high) / 2
        fits = math.prod(sides(middle)) <= patches
        low, high = (middle, high) if fits else (low, middle)
    down, across = sides(low)
    return down * patch, across * patch
