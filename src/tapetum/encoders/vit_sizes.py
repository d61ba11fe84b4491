"""Vision transformers by size and by name. Imports no torch.

`vit-*` are those of the ViT and AugReg papers (arXiv 2010.11929, 2106.10270), `deit3-*` of DeiT III (2204.07118), `dino-*` of
DINO (2104.14294), `dinov2-*` of DINOv2 and, with `-reg`, of registers (2304.07193, 2309.16588), `dinov3-*` of DINOv3
(2508.10104), `mae-*` of MAE (2111.06377), `clip-*` of CLIP (2103.00020), `siglip-*` of SigLIP (2303.15343). `vit-nano` is
this project's own, for tests. `swin-*` (2103.14030) are timm's (`tapetum.encoders.library_net`).
"""

from dataclasses import replace
from typing import Literal

from tapetum.encoders.config import Architecture, LibraryNetConfig, Preprocessing, ViTConfig, clip, half, imagenet, squashed

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


DINOV3: dict[str, tuple[int, int, int, int, bool]] = {
    "tiny": (192, 12, 3, 768, False),
    "small": (384, 12, 6, 1536, False),
    "small_plus": (384, 12, 6, 1536, True),
    "base": (768, 12, 12, 3072, False),
    "large": (1024, 24, 16, 4096, False),
    "huge_plus": (1280, 32, 20, 5120, True),
    "7b": (4096, 40, 32, 8192, True),
}
"""Width, depth, heads, hidden channels of the MLP, and whether that is gated; tiny is EUPE's, of the same kind."""


def dinov3(size: str, image: int = 224, bias: bool = True) -> ViTConfig:
    """Make the ViT of DINOv3 of a size of `DINOV3`; `bias`: query and value have one, which is 0 in published weights."""
    width, depth, heads, mlp_width, gated = DINOV3[size]
    return ViTConfig(
        width=width,
        depth=depth,
        heads=heads,
        mlp_width=mlp_width,
        mlp="gated" if gated else "plain",
        activation="silu" if gated else "gelu",
        image_size=(image, image),
        registers=4,
        positions="none",
        rotary="dinov3",
        qkv_bias=bias,
        key_bias=False,
        layer_scale=1e-5,
        norm_eps=1e-5,
    )


def prepare_dinov3(side: int) -> Preprocessing:
    """Prepare as DINOv3 does: squash, bilinear, then ImageNet's mean and standard deviation."""
    return Preprocessing(size=(side, side), resize="squash", interpolation="bilinear")


def _vit(config: ViTConfig, preprocessing: Preprocessing) -> Architecture:
    return Architecture(family="vit", config=config, preprocessing=preprocessing)


_GIANT = ViTConfig(
    width=1536, depth=40, heads=24, mlp_width=4096, mlp="gated", activation="silu", patch=14, image_size=(518, 518)
)
VITS: dict[str, Architecture] = {
    "vit-nano": _vit(ViTConfig(width=64, depth=2, heads=4, mlp_width=128, patch=8, image_size=(32, 32)), imagenet(32)),
    **{f"vit-{size}-16": _vit(sized(size), half(224)) for size in ("tiny", "small", "base", "large")},
    **{f"deit3-{size}": _vit(as_deit3(sized(size)), imagenet(224, 0.9)) for size in ("small", "base")},
    **{f"dino-{size}": _vit(replace(sized(size), resample="transformers"), imagenet(224)) for size in ("small", "base")},
    **{f"dinov2-{size}": _vit(as_dinov2(sized(size, 14, 518)), imagenet(518, 1.0)) for size in ("small", "base", "large")},
    **{
        f"dinov2-{size}-reg": _vit(as_dinov2(sized(size, 14, 518), 4), imagenet(518, 1.0))
        for size in ("small", "base", "large")
    },
    "dinov2-giant": _vit(as_dinov2(_GIANT), imagenet(518, 1.0)),
    "dinov2-giant-reg": _vit(as_dinov2(_GIANT, 4), imagenet(518, 1.0)),
    **{f"dinov3-{size.replace('_', '-')}": _vit(dinov3(size), prepare_dinov3(224)) for size in DINOV3 if size != "tiny"},
    **{f"mae-{size}": _vit(as_mae(sized(size)), imagenet(224)) for size in ("base", "large")},
    "clip-base-32": _vit(as_clip(sized("base", 32)), clip(224)),
    "clip-base-16": _vit(as_clip(sized("base", 16)), clip(224)),
    "clip-large-14": _vit(as_clip(sized("large", 14)), clip(224)),
    "siglip-base-16": _vit(as_siglip(sized("base", 16)), squashed(224)),
    "siglip-so400m-14": _vit(as_siglip(sized("so400m", 14)), squashed(224)),
}
"""Vision transformers by name, without classifier."""


def _swin(size: str) -> Architecture:
    config = LibraryNetConfig(library="timm", model=f"swin_{size}_patch4_window7_224", image_size=(224, 224))
    return Architecture(family="library", config=config, preprocessing=imagenet(224, 0.9))


LIBRARY_NETS = {f"swin-{size[0]}": _swin(size) for size in ("tiny", "small", "base", "large")}
"""Networks of timm that presets of Odin name."""
