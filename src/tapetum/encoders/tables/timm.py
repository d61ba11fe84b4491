"""Names of timm's vision transformers (`timm.models.vision_transformer`, `deit`), and how timm prepares images.

Supported names have the form KIND_SIZE_patchP[_FLAVOUR][_IMAGE][.TAG]: vit_base_patch16_224.augreg_in21k,
deit3_small_patch16_384, vit_large_patch14_reg4_dinov2, vit_so400m_patch14_siglip_384, vit_base_patch32_clip_quickgelu_224, ...
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, Preprocessing, ViTConfig, clip, half, imagenet
from tapetum.encoders.tables.convolutional import blocks_in
from tapetum.encoders.tables.rows import NameRow, layers, same
from tapetum.encoders.vit import ViT
from tapetum.encoders.vit_sizes import SIZES, as_clip, as_deit3, as_dinov2, as_siglip, sized

_NAME = re.compile(
    rf"(?P<kind>vit|deit3)_(?P<size>{'|'.join(SIZES)})_patch(?P<patch>\d+)"
    r"(_(?P<flavour>clip_quickgelu|clip|siglip_gap|siglip|dinov2|reg4_dinov2))?(_(?P<image>\d+))?(\.\w+)?"
)
_BY_TANH = re.compile(r"vit_(base_patch32_siglip|large_patch16_siglip(_gap)?_512|so400m_patch16_siglip)")
_INTERPOLATIONS: dict[Any, Literal["bilinear", "bicubic"]] = {
    2: "bilinear",
    3: "bicubic",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "random": "bilinear",  # in timm's evaluation
}
"""By Pillow's number or by name."""


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
        interpolation=read_interpolation(cfg["interpolation"]),
        mean=read_levels(cfg["mean"]),
        std=read_levels(cfg["std"]),
    )


def read_interpolation(name: Any) -> Literal["bilinear", "bicubic"]:
    """Read how images are resized. Raises BadInput for a way that tapetum does not have."""
    if name not in _INTERPOLATIONS:
        raise BadInput(f"images are resized by {name!r}; tapetum does so by bilinear and bicubic")
    return _INTERPOLATIONS[name]


def read_levels(values: Any) -> tuple[float, float, float]:
    """Convert numbers of red, green and blue from 0..1 to 0..255."""
    red, green, blue = (255 * float(value) for value in values)
    return red, green, blue


def describe(architecture: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, Mapping[str, Tensor]] | None:
    """Interpret a timm name, with a classifier if the weights have one; None for other families."""
    match = _NAME.fullmatch(architecture) if isinstance(architecture, str) else None
    if match is None:
        return None
    flavour, patch = match["flavour"] or "", int(match["patch"])
    image = int(match["image"] or (518 if flavour.endswith("dinov2") else 224))
    config = _config(architecture, match["kind"], flavour, sized(match["size"], patch, image - image % patch))
    if image % patch:
        config = replace(config, ragged=True, image_size=(image, image))
    state = _as_timm(state)
    config = _as_large_as(state, config)
    config = replace(config, mask_token="mask_token" in state)
    if "head.weight" in state:
        config = replace(config, classes=int(state["head.weight"].shape[0]))
    if "fc_norm.weight" in state:  # made with global_pool="avg"
        config = replace(config, pooling="mean", norm="pooled")
    if flavour.startswith("clip"):
        usual = clip(image)
    elif flavour.endswith("dinov2") or match["kind"] == "deit3":
        usual = imagenet(image, 1.0 if flavour else 0.9)
    else:
        usual = half(image)
    return Architecture(family="vit", config=config, preprocessing=replace(usual, size=config.image_size)), state


def _as_timm(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename the tensors of DINOv2's own files as timm does; where there are registers, the class token takes its position."""
    if "mask_token" not in state:
        return state
    names = {"register_tokens": "reg_token"}
    own = {names.get(name, name): tensor for name, tensor in state.items()}
    if "reg_token" in own:
        own |= {"cls_token": own["cls_token"] + own["pos_embed"][:, :1], "pos_embed": own["pos_embed"][:, 1:]}
    return own


def _as_large_as(state: Mapping[str, Tensor], config: ViTConfig) -> ViTConfig:
    """The config with the image size that the weights have positions for: timm makes models of a name for any size."""
    places = state["pos_embed"].shape[-2] - (config.prefix if config.class_position else 0) if "pos_embed" in state else 0
    side = math.isqrt(max(places, 0))
    if not places or side**2 != places or (side, side) == config.grid:
        return config
    return replace(config, image_size=(side * config.patch,) * 2, ragged=False)


def candidates(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Name the timm model that weights may belong to, if sizes and kinds of their tensors are unambiguous: not for CLIP,
    whose activation the tensors do not reveal."""
    patches, positions = state.get("patch_embed.proj.weight"), state.get("pos_embed")
    hidden = state.get("blocks.0.mlp.fc1.weight")
    if patches is None or positions is None or hidden is None or patches.ndim != 4 or "norm_pre.weight" in state:
        return
    sizes = len(patches), blocks_in(state, "blocks.{}.attn.qkv.weight"), len(hidden)
    size = next((name for name, (width, depth, _, mlp) in SIZES.items() if (width, depth, mlp) == sizes), None)
    patch, places = patches.shape[-1], positions.shape[-2]
    side = math.isqrt(places)
    if size is None:
        return
    if "attn_pool.latent" in state:
        yield f"vit_{size}_patch{patch}_siglip_{side * patch}"
    elif "blocks.0.ls1.gamma" in state and {"reg_token", "register_tokens"} & state.keys():
        yield f"vit_{size}_patch{patch}_reg4_dinov2_{side * patch}"
    elif "blocks.0.ls1.gamma" in state:
        yield (
            f"deit3_{size}_patch{patch}_{side * patch}"
            if side**2 == places
            else f"vit_{size}_patch{patch}_dinov2_{side * patch}"
        )
    elif "cls_token" in state:
        yield f"vit_{size}_patch{patch}_{side * patch}"


def _config(name: str, kind: str, flavour: str, plain: ViTConfig) -> ViTConfig:
    if kind == "deit3":
        return as_deit3(plain)
    if flavour.endswith("dinov2"):
        config = as_dinov2(plain, 4 if flavour.startswith("reg4") else 0)
        config = replace(config, class_position=not config.registers)
    elif flavour.startswith("clip"):
        config = as_clip(plain, "quick_gelu" if flavour == "clip_quickgelu" else "gelu")
    elif flavour.startswith("siglip"):
        config = as_siglip(plain, "gelu_tanh" if _BY_TANH.match(name) else "gelu")
        config = replace(config, pooling="mean") if flavour == "siglip_gap" else config
    else:
        config = plain
    return replace(config, resample="timm")


def rows(encoder: ViT) -> list[NameRow]:
    config = encoder.config
    table = [NameRow("pos_embed", ("positions",), lead=1), *layers({"patches": "patch_embed.proj"}, bias=config.patch_bias)]
    if config.class_token:
        table.append(NameRow("cls_token", ("class_token",), lead=2))
    if config.mask_token:
        table.append(NameRow("mask_token", ("mask_token",), lead=1))
    if config.registers:
        table.append(NameRow("reg_token", ("registers",), lead=1))
    if config.norm_before:
        table += layers({"norm_before": "norm_pre"})
    for i in range(config.depth):
        table += _block(f"blocks.{i}", config)
    table += layers({"norm": "norm" if config.norm == "tokens" else "fc_norm"})
    if config.pooling == "attention":
        table += [NameRow("attn_pool.latent", ("pool.query",), lead=1)]
        table += [NameRow(f"attn_pool.kv.{leaf}", _parts("pool.attention", "key value", leaf)) for leaf in ("weight", "bias")]
        table += layers({"pool.attention.query": "attn_pool.q", "pool.attention.out": "attn_pool.proj"})
        table += layers({"pool.norm": "attn_pool.norm", **_mlp("pool.mlp", "attn_pool.mlp")})
    if config.classes:
        table += layers({"head": "head"})
    return table


def _parts(attention: str, parts: str, leaf: str) -> tuple[str, ...]:
    return tuple(f"{attention}.{part}.{leaf}" for part in parts.split())


def _mlp(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.hidden": f"{theirs}.fc1", f"{ours}.out": f"{theirs}.fc2"}


def _block(name: str, config: ViTConfig) -> list[NameRow]:
    leaves = ("weight", "bias") if config.qkv_bias else ("weight",)
    table = [NameRow(f"{name}.attn.qkv.{leaf}", _parts(f"{name}.attention", "query key value", leaf)) for leaf in leaves]
    table += layers({f"{name}.attention_norm": f"{name}.norm1", f"{name}.mlp_norm": f"{name}.norm2"})
    table += layers({f"{name}.attention.out": f"{name}.attn.proj", **_mlp(f"{name}.mlp", f"{name}.mlp")})
    if config.layer_scale is not None:
        scales = {f"{name}.attention_scale.weight": f"{name}.ls1.gamma", f"{name}.mlp_scale.weight": f"{name}.ls2.gamma"}
        table += same(scales)
    return table
