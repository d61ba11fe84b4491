"""Names of Perception Encoder (arXiv 2504.13181) in timm, to ours and back: PE-Core and PE-Spatial, of timm's Eva.

    vit_pe_core_SIZE_patchP_IMAGE      the image tower of PE-Core; its projection, with timm's added bias, is the classifier
    vit_pe_spatial_SIZE_patchP_IMAGE   without norm and pooling at the end; pooled by the mean of the grid, as timm does

PE-Core with its text tower is in open_clip's layout (`tapetum.encoders.tables.open_clip`), whose image tower this is.

Images are prepared as in timm, bicubic; the authors, and configs of open_clip, use bilinear.
Differs from timm: for images of a size other than the name's, learned positions are interpolated and rotary ones continue in
integer steps, as in the authors' code; timm scales rotary positions to the grid in the name (as EVA does), and interpolates
with another filter. At the size of the name both agree.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, half
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables.convolutional import blocks_in
from tapetum.encoders.tables.rows import NameRow
from tapetum.encoders.tables.timm import vit_rows
from tapetum.encoders.vit import ViT
from tapetum.encoders.vit_sizes import PE, perception_encoder

_State = Mapping[str, Tensor]
_NAME = re.compile(rf"vit_pe_(?P<kind>core|spatial)_(?P<size>{'|'.join(PE)})_patch(?P<patch>\d+)_(?P<image>\d+)(\.\w+)?")


def describe(architecture: Any, state: _State) -> tuple[Architecture, _State] | None:
    """Interpret a timm name, with a classifier if the weights have one; None for other models.

    Raises BadInput for weights with positions of a grid other than the name's, whose rotary positions timm scales.
    """
    match = _NAME.fullmatch(architecture) if isinstance(architecture, str) else None
    if match is None:
        return None
    config = perception_encoder(match["size"], "core" if match["kind"] == "core" else "spatial")
    if (int(match["patch"]), int(match["image"])) != (config.patch, config.image_size[0]):
        return None
    places = state["pos_embed"].shape[-2] if "pos_embed" in state else 0
    if places and places != config.prefix + math.prod(config.grid):
        raise BadInput(
            f"{architecture} has {places} positions where {config.prefix + math.prod(config.grid)} are wanted: timm scales the"
            " rotary ones to the grid of the name, and tapetum does not; give weights of its own size"
        )
    if "head.weight" in state:
        config = replace(config, classes=int(state["head.weight"].shape[0]))
    return Architecture(family="vit", config=config, preprocessing=half(config.image_size[0], 1.0)), state


def candidates(state: _State) -> Iterator[str]:
    """Name the model that weights may belong to, if the sizes of their tensors are unambiguous."""
    patches, hidden, positions = (
        state.get(name) for name in ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "pos_embed")
    )
    core, normed = "attn_pool.latent" in state, bool({"norm.weight", "fc_norm.weight"} & state.keys())
    if patches is None or hidden is None or positions is None or "norm_pre.weight" not in state or core != normed:
        return
    kind = "core" if core else "spatial"
    sizes = len(patches), blocks_in(state, "blocks.{}.attn.qkv.weight"), len(hidden), patches.shape[-1], positions.shape[-2]
    for size, (width, depth, _, mlp_width, patch, *images) in PE.items():
        side = images[kind == "spatial"]
        places = (side // patch) ** 2 + (size != "gigantic")
        if sizes == (width, depth, mlp_width, patch, places):
            yield f"vit_pe_{kind}_{size}_patch{patch}_{side}"


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """Make the table of timm's names for a Perception Encoder, or None for another network."""
    if not isinstance(encoder, ViT):
        return None
    c = encoder.config
    ends = (c.pooling, c.norm) in (("attention_all", "tokens"), ("mean", "none"))
    other = c.registers or c.pooler or c.mlp != "plain" or not c.qkv_bias or not c.key_bias or not c.norm_before or c.patch_bias
    if c.rotary != "pe" or c.positions != "learned" or not c.class_position or not ends or other or c.stem != "patch":
        return None
    return [replace(row, theirs=re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", row.theirs)) for row in vit_rows(c)]
