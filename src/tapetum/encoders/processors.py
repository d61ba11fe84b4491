"""Preprocessing as other libraries write it: transformers' preprocessor_config.json, timm's pretrained_cfg."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Preprocessing

_INTERPOLATIONS: dict[Any, Literal["bilinear", "bicubic"]] = {
    2: "bilinear",
    3: "bicubic",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "random": "bilinear",  # in timm's evaluation
}
"""By Pillow's number or by name."""


def of_processor(content: Mapping[str, Any]) -> Preprocessing:
    """Read a preprocessor_config.json: of ViT, CLIP, SigLIP, SigLIP 2 NaFlex, TIPSv2, BiT (DINOv2), ConvNeXT (ResNet), and for
    videos, V-JEPA 2.

    Raises BadInput for settings that tapetum does not support. Missing fields raise KeyError, TypeError or ValueError.
    """
    content = {name: value for name, value in content.items() if value is not None}
    kind = str(content.get("image_processor_type", content.get("feature_extractor_type", "")))
    size, crop = content.get("size", 224), content.get("crop_size")
    cropped = bool(content.get("do_center_crop", crop is not None))
    normal = bool(content.get("do_normalize", True))
    shared: dict[str, Any] = {
        "crop_offset": "down",
        "interpolation": _interpolation(content.get("resample", 2)),
        "mean": _scaled(content["image_mean"]) if normal else (0.0, 0.0, 0.0),
        "std": _scaled(content["image_std"]) if normal else (255.0, 255.0, 255.0),
    }
    if not content.get("do_resize", True) or not content.get("do_rescale", True):
        raise BadInput("the preprocessor_config.json does not resize, or not rescale; tapetum does both")
    if kind.startswith("Siglip2"):
        patches, patch = int(content.get("max_num_patches", 256)), int(content.get("patch_size", 16))
        side = math.isqrt(patches) * patch
        return Preprocessing(size=(side, side), resize="patches", patches=patches, patch=patch, **shared)
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else size if cropped or kind.startswith("ConvN") else None
    if kind.startswith("ConvN"):  # below 384 the middle of an image that is larger by crop_pct; from there on squashed
        edge = int(edge if edge is not None else _sides(size)[0])
        fraction = 1.0 if edge >= 384 else float(content.get("crop_pct") or 224 / 256)
        return Preprocessing(size=(edge, edge), resize="squash" if edge >= 384 else "crop", crop_fraction=fraction, **shared)
    if cropped and edge is not None:
        sides = _sides(crop if crop is not None else edge)
        if min(sides) > edge or sides[0] != sides[1]:
            raise BadInput(f"the preprocessor_config.json crops {sides} of images whose shorter side is {edge}")
        return Preprocessing(size=sides, crop_fraction=sides[0] / edge, **shared)
    if edge is not None:
        return Preprocessing(size=(int(edge), int(edge)), **shared)
    return Preprocessing(size=_sides(size), resize="squash", **shared)


def of_timm(cfg: Mapping[str, Any], name: str) -> Preprocessing:
    """Read timm's pretrained_cfg of a model, as timm's `resolve_data_config` does.

    Raises BadInput for settings that tapetum does not support.
    """
    channels, rows, columns = cfg["input_size"]
    mode = cfg.get("crop_mode") or "center"
    if channels != 3 or mode not in ("center", "squash"):
        raise BadInput(f"timm prepares images of {name} with {channels} channels and crop mode {mode!r}; tapetum does not")
    return Preprocessing(
        size=(int(rows), int(columns)),
        resize="squash" if mode == "squash" else "crop",
        crop_fraction=float(cfg["crop_pct"]),
        interpolation=_interpolation(cfg["interpolation"]),
        mean=_scaled(cfg["mean"]),
        std=_scaled(cfg["std"]),
    )


def _interpolation(name: Any) -> Literal["bilinear", "bicubic"]:
    if name not in _INTERPOLATIONS:
        raise BadInput(f"images are resized by {name!r}; tapetum does so by bilinear and bicubic")
    return _INTERPOLATIONS[name]


def _scaled(values: Any) -> tuple[float, float, float]:
    red, green, blue = (255 * float(value) for value in values)
    return red, green, blue


def _sides(size: Any) -> tuple[int, int]:
    return (int(size["height"]), int(size["width"])) if isinstance(size, Mapping) else (int(size), int(size))
