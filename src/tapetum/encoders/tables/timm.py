"""Names of timm's vision transformers (`timm.models.vision_transformer`, `deit`), to ours and back.

Supported names have the form KIND_SIZE_patchP[_FLAVOUR][_IMAGE][.TAG]: vit_base_patch16_224.augreg_in21k,
deit3_small_patch16_384, vit_large_patch14_reg4_dinov2, vit_so400m_patch14_siglip_384, vit_base_patch32_clip_quickgelu_224, ...
Their preprocessing is timm's for that name and tag (without a tag, timm's first); the tag affects nothing else.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.encoders.config import HALF, Architecture, Preprocessing, ViTConfig, clip, half, imagenet
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables.convolutional import blocks_in
from tapetum.encoders.tables.rows import NameRow, layers, same
from tapetum.encoders.vit import ViT
from tapetum.encoders.vit_sizes import SIZES, as_clip, as_deit3, as_dinov2, as_siglip, sized

_NAME = re.compile(
    rf"(?P<kind>vit|deit3)_(?P<size>{'|'.join(SIZES)})_patch(?P<patch>\d+)"
    r"(_(?P<flavour>clip_quickgelu|clip|siglip_gap|siglip|dinov2|reg4_dinov2))?(_(?P<image>\d+))?(\.(?P<tag>\w+))?"
)
_FIRST_TAGS = {
    "vit_small_patch8_224": "dino",
    **dict.fromkeys(("vit_base_patch16_clip_224", "vit_base_patch16_clip_384"), "laion2b_ft_in12k_in1k"),
    **dict.fromkeys(("vit_large_patch14_clip_224", "vit_large_patch14_clip_336"), "laion2b_ft_in12k_in1k"),
    "vit_huge_patch14_clip_336": "laion2b_ft_in12k_in1k",
    "vit_medium_patch16_clip_224": "tinyclip_yfcc15m",
    **{f"vit_so400m_patch14_siglip_gap_{image}": "webli" for image in (384, 448, 896)},
}
"""timm's first tags, where images are prepared in another way than for other tags of that name."""
_BY_TANH = re.compile(r"vit_(base_patch32_siglip|large_patch16_siglip(_gap)?_512|so400m_patch16_siglip)")

_CLIP_CROPS = (
    (r"_384\.openai_ft_in12k_in1k|_patch16_clip_224\.\w+_ft_in12k_in1k", 0.95),
    (r"_patch32_clip(_quickgelu)?_224(?!\.(datacomp|metaclip))", 0.9),
    (r"(base|medium)_patch16_clip(_quickgelu)?_224\.(openai|laion2b_ft_in12k|tinyclip)", 0.9),
)
_SIGLIP_WHOLE = re.compile(r"siglip_\w*378\.webli_ft|so400m_patch14_siglip_gap_(378|384|448|896)\.(webli|pali)")
_SQUASHED = re.compile(r"(?<!patch32_)clip_3(36|78|84)\.(\w+_ft_|metaclip2_w)|patch32_clip_384\.openai|_378\.webli_ft")


def describe(architecture: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, Mapping[str, Tensor]] | None:
    """Interpret a timm name, with a classifier if the weights have one; None for other families."""
    match = _NAME.fullmatch(architecture) if isinstance(architecture, str) else None
    if match is None:
        return None
    flavour, patch = match["flavour"] or "", int(match["patch"])
    tag = match["tag"] or _FIRST_TAGS.get(architecture, "")
    image = int(match["image"] or (518 if flavour.endswith("dinov2") else 224))
    config = _config(architecture, match["kind"], flavour, sized(match["size"], patch, image - image % patch))
    if image % patch:
        config = replace(config, ragged=True, image_size=(image, image))
    config = _as_large_as(state, config)
    if "head.weight" in state:
        config = replace(config, classes=int(state["head.weight"].shape[0]))
    if "fc_norm.weight" in state:  # made with global_pool="avg"
        config = replace(config, pooling="mean", norm="pooled")
    preprocessing = _preprocessing(f"{architecture.partition('.')[0]}.{tag}", match["kind"], flavour, image, tag)
    if not config.ragged:
        preprocessing = replace(preprocessing, size=config.image_size)
    return Architecture(family="vit", config=config, preprocessing=preprocessing), state


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
    elif "blocks.0.ls1.gamma" in state and "reg_token" in state:
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


def _preprocessing(name: str, kind: str, flavour: str, image: int, tag: str) -> Preprocessing:
    """Describe how timm prepares images for a name, according to its `default_cfgs` (a test compares all of them)."""
    if kind == "deit3":
        return imagenet(image, 1.0 if image > 224 or tag.startswith("fb_in22k") else 0.9)
    if flavour.endswith("dinov2"):
        return imagenet(image, 1.0)
    if tag in ("dino", "mae"):
        return imagenet(image, 0.9)
    if flavour.startswith("clip") or tag == "bamboo":
        fractions = (fraction for pattern, fraction in _CLIP_CROPS if re.search(pattern, name))
        prepared = replace(clip(image), crop_fraction=next(fractions, 1.0))
        if re.search(r"vit_large_patch14_clip_\d+\.laion2b", name):
            prepared = replace(prepared, mean=HALF, std=HALF)
    else:
        whole = _SIGLIP_WHOLE.search(name) or (not flavour and image > 224)
        prepared = half(image, 1.0 if whole else 0.9)
    return replace(prepared, resize="squash") if _SQUASHED.search(name) else prepared


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """Make the table of names for a ViT, or None if timm has no such names."""
    if not isinstance(encoder, ViT) or encoder.config.pooler or (encoder.config.registers and encoder.config.class_position):
        return None
    config = encoder.config
    others = config.projection or config.rotary or config.mlp != "plain" or not config.key_bias
    if others or config.positions == "none":
        return None
    table = [NameRow("pos_embed", ("positions",), lead=1), *layers({"patches": "patch_embed.proj"}, bias=config.patch_bias)]
    if config.class_token:
        table.append(NameRow("cls_token", ("class_token",), lead=2))
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
