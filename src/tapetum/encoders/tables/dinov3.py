"""Names of DINOv3 (arXiv 2508.10104) in timm: vit_SIZE_patch16_dinov3[_qkvb][.TAG], of its Eva.

With _qkvb query and value have a bias, else none has; keys have none (the original has one that is masked to 0). The pooled
vector is the class token, as in the paper; timm pools by the mean unless told otherwise, and we do too if its weights have a
classifier. transformers computes its own DINOv3 (`tapetum.encoders.library_net`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.encoders.config import Architecture, imagenet
from tapetum.encoders.tables.convolutional import blocks_in
from tapetum.encoders.tables.rows import NameRow, gated, layers, same
from tapetum.encoders.vit import ViT
from tapetum.encoders.vit_sizes import DINOV3, dinov3

_State = Mapping[str, Tensor]
_NAME = re.compile(rf"vit_(?P<size>{'|'.join(DINOV3)})_patch16_dinov3(?P<bias>_qkvb)?(\.\w+)?")


def describe(architecture: Any, state: _State) -> tuple[Architecture, _State] | None:
    """Interpret a timm name; None for other models."""
    match = _NAME.fullmatch(architecture) if isinstance(architecture, str) else None
    if match is None:
        return None
    config = dinov3(match["size"], 256, bias=bool(match["bias"]))
    if "head.weight" in state:
        config = replace(config, classes=int(state["head.weight"].shape[0]), pooling="mean")
    return Architecture(family="vit", config=config, preprocessing=imagenet(256, 1.0)), state


def candidates(state: _State) -> Iterator[str]:
    """Name the timm model that weights may belong to, if the sizes of their tensors are unambiguous."""
    patches, plain, gate = (state.get(f"{name}.weight") for name in ("patch_embed.proj", _HIDDEN, f"{_HIDDEN}_g"))
    hidden = plain if gate is None else gate
    if patches is None or hidden is None or "pos_embed" in state or not {"reg_token", "blocks.0.gamma_1"} <= state.keys():
        return
    sizes = len(patches), blocks_in(state, "blocks.{}.attn.qkv.weight"), len(hidden), gate is not None
    size = next((name for name, (width, depth, _, *mlp) in DINOV3.items() if (width, depth, *mlp) == sizes), None)
    if size is not None:
        yield f"vit_{size}_patch16_dinov3" + ("_qkvb" if "blocks.0.attn.q_bias" in state else "")


_HIDDEN = "blocks.0.mlp.fc1"


def rows(encoder: ViT) -> list[NameRow]:
    c = encoder.config
    table = [NameRow("cls_token", ("class_token",), lead=2), *layers({"patches": "patch_embed.proj", "norm": "norm"})]
    if c.registers:
        table.append(NameRow("reg_token", ("registers",), lead=1))
    for i in range(c.depth):
        name = f"blocks.{i}"
        parts = tuple(f"{name}.attention.{part}.weight" for part in ("query", "key", "value"))
        table.append(NameRow(f"{name}.attn.qkv.weight", parts))
        if c.qkv_bias:
            table += same({f"{name}.attention.{part}.bias": f"{name}.attn.{part[0]}_bias" for part in ("query", "value")})
        table += layers({f"{name}.attention.out": f"{name}.attn.proj"})
        table += layers({f"{name}.attention_norm": f"{name}.norm1", f"{name}.mlp_norm": f"{name}.norm2"})
        if c.layer_scale is not None:
            table += same({f"{name}.attention_scale.weight": f"{name}.gamma_1", f"{name}.mlp_scale.weight": f"{name}.gamma_2"})
        if c.mlp == "gated":
            table += gated(f"{name}.mlp", *(f"{name}.mlp.{part}" for part in ("fc1_g", "fc1_x", "fc2")))
        else:
            table += layers({f"{name}.mlp.hidden": f"{name}.mlp.fc1", f"{name}.mlp.out": f"{name}.mlp.fc2"})
    return table + (layers({"head": "head"}) if c.classes else [])
