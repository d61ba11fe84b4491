"""Sizes of vision transformers with rotary positions: DINOv3 (arXiv 2508.10104), Perception Encoder (2504.13181). Imports no
torch."""

from dataclasses import replace
from typing import Literal

from tapetum.encoders.config import Preprocessing, ViTConfig, squashed

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

PE: dict[str, tuple[int, int, int, int, int, int, int]] = {
    "tiny": (192, 12, 3, 768, 16, 384, 512),
    "small": (384, 12, 6, 1536, 16, 384, 512),
    "base": (768, 12, 12, 3072, 16, 224, 512),
    "large": (1024, 24, 16, 4096, 14, 336, 448),
    "gigantic": (1536, 50, 16, 8960, 14, 448, 448),
}
"""Width, depth, heads, hidden channels of the MLP, side of a patch, sides of the images of PE-Core and of PE-Spatial."""


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


def perception_encoder(size: str, kind: Literal["core", "spatial"]) -> ViTConfig:
    """Make the image encoder of PE-Core, without its projection, or of PE-Spatial, of a size of `PE`.

    PE-Spatial has no pooling of its own: the pooled vector is the mean of the grid, as in timm.
    """
    width, depth, heads, mlp_width, patch, *images = PE[size]
    core, gigantic = kind == "core", size == "gigantic"
    side = images[0 if core else 1]
    return ViTConfig(
        width=width,
        depth=depth,
        heads=heads,
        mlp_width=mlp_width,
        patch=patch,
        image_size=(side, side),
        class_token=not gigantic,
        rotary="pe",
        resample="perception_models",
        patch_bias=False,
        norm_before=True,
        norm_eps=1e-5,
        layer_scale=0.1 if gigantic and not core else None,
        pooling="attention_all" if core else "mean",
        norm="tokens" if core else "none",
    )


def prepare_dinov3(side: int) -> Preprocessing:
    """Prepare as DINOv3 does: squash, bilinear, then ImageNet's mean and deviation."""
    return Preprocessing(size=(side, side), resize="squash", interpolation="bilinear")


def prepare_pe(side: int) -> Preprocessing:
    """Prepare as Perception Encoder does: squash, bilinear, to -1..1."""
    return replace(squashed(side), interpolation="bilinear")
