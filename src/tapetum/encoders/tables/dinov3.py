"""Names of DINOv3 (arXiv 2508.10104) in transformers and in timm, to ours and back.

    transformers   model_type dinov3_vit; in memory model.layer.I..., in files layer.I...: both are read
    timm           vit_SIZE_patch16_dinov3[_qkvb][.TAG], of timm's Eva: with _qkvb query and value have a bias, else none has

The pooled vector is the class token, as in the paper; timm pools by the mean unless told otherwise, and we do too if its
weights have a classifier. Keys have no bias (the original has one that is masked to 0). timm and transformers use the same
rotary positions. Images are prepared as in each library: squashed with bilinear interpolation, as by the authors, or bicubic
and cropped.

Omitted: the mask token of transformers' files (written as zeros), and its random shifts and scales of positions in training.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, ViTConfig, imagenet
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables import whole_config
from tapetum.encoders.tables.convolutional import blocks_in
from tapetum.encoders.tables.rows import NameRow, gated, layers, same
from tapetum.encoders.vit import ViT
from tapetum.encoders.vit_sizes import DINOV3, dinov3, prepare_dinov3

_State = Mapping[str, Tensor]
_NAME = re.compile(rf"vit_(?P<size>{'|'.join(DINOV3)})_patch16_dinov3(?P<bias>_qkvb)?(\.(?P<tag>\w+))?")
_ACTIVATIONS: dict[Any, Literal["gelu", "gelu_tanh", "silu"]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
}
_AERIAL = {"mean": (109.65, 104.805, 75.48), "std": (54.315, 39.78, 36.465)}
"""Of the images of satellites on which some weights were trained."""


def describe(architecture: Any, state: _State) -> tuple[Architecture, _State] | None:
    """Interpret a config of transformers, or a timm name; None for other models.

    Raises BadInput for a config with parts that tapetum does not have.
    """
    if isinstance(architecture, Mapping):
        if architecture.get("model_type") != "dinov3_vit":
            return None
        config = _of_transformers(whole_config(architecture))
        renamed = {re.sub(r"^layer\.", "model.layer.", name): tensor for name, tensor in state.items()}
        prepared = replace(prepare_dinov3(224), size=config.image_size)
        return Architecture(family="vit", config=config, preprocessing=prepared), renamed
    match = _NAME.fullmatch(architecture) if isinstance(architecture, str) else None
    if match is None:
        return None
    config = dinov3(match["size"], 256, bias=bool(match["bias"]))
    if "head.weight" in state:
        config = replace(config, classes=int(state["head.weight"].shape[0]), pooling="mean")
    prepared = imagenet(256, 1.0)
    if match["tag"] == "sat493m":
        prepared = replace(prepared, **_AERIAL)
    return Architecture(family="vit", config=config, preprocessing=prepared), state


def _of_transformers(c: Mapping[str, Any]) -> ViTConfig:
    size, patch = c["image_size"], c["patch_size"]
    rows, columns = (size, size) if isinstance(size, int) else size
    if c["num_channels"] != 3 or not isinstance(patch, int):
        raise BadInput("the images of this config have not 3 channels, or its patches are no squares; tapetum has no such ViT")
    if c["query_bias"] != c["value_bias"] or not c["proj_bias"] or not c["mlp_bias"]:
        raise BadInput("this config of DINOv3 leaves out a bias that all published ones have; tapetum has no such ViT")
    if c["rope_theta"] != 100 or c["hidden_act"] not in _ACTIVATIONS:
        raise BadInput(
            f"this config of DINOv3 has rope_theta {c['rope_theta']} and activation {c['hidden_act']!r}; tapetum has 100, and"
            f" {', '.join(_ACTIVATIONS)}"
        )
    return replace(
        dinov3("small", bias=bool(c["query_bias"])),
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_width=c["intermediate_size"],
        mlp="gated" if c["use_gated_mlp"] else "plain",
        activation=_ACTIVATIONS[c["hidden_act"]],
        patch=patch,
        image_size=(rows, columns),
        ragged=bool(rows % patch or columns % patch),
        registers=c["num_register_tokens"],
        key_bias=bool(c["key_bias"]),
        layer_scale=c["layerscale_value"],
        norm_eps=c["layer_norm_eps"],
    )


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


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """Make the table of names for a DINOv3, or None for another network."""
    if not isinstance(encoder, ViT):
        return None
    c = encoder.config
    other = c.positions != "none" or not c.class_token or not c.patch_bias or c.norm_before or c.norm != "tokens" or c.pooler
    if c.rotary != "dinov3" or other or c.stem != "patch":
        return None
    if source == "huggingface":
        return None if c.classes or c.layer_scale is None or c.pooling != "token" else _transformers_rows(c)
    return None if (c.qkv_bias and c.key_bias) or c.pooling not in ("token", "mean") else _timm_rows(c)


def _transformers_rows(c: ViTConfig) -> list[NameRow]:
    """DINOv3ViTModel."""
    table = [
        NameRow("embeddings.cls_token", ("class_token",), lead=2),
        NameRow("embeddings.mask_token", (), shape=(1, 1, c.width), optional=True),
        NameRow("embeddings.register_tokens", ("registers",), lead=1)
        if c.registers
        else NameRow("embeddings.register_tokens", (), shape=(1, 0, c.width), optional=True),
        *layers({"patches": "embeddings.patch_embeddings", "norm": "norm"}),
    ]
    for i in range(c.depth):
        ours, theirs = f"blocks.{i}", f"model.layer.{i}"
        for part, bias in (("query", c.qkv_bias), ("key", c.qkv_bias and c.key_bias), ("value", c.qkv_bias)):
            table += layers({f"{ours}.attention.{part}": f"{theirs}.attention.{part[0]}_proj"}, bias)
        table += layers({f"{ours}.attention.out": f"{theirs}.attention.o_proj"})
        table += layers({f"{ours}.attention_norm": f"{theirs}.norm1", f"{ours}.mlp_norm": f"{theirs}.norm2"})
        scales = {"attention_scale": "layer_scale1", "mlp_scale": "layer_scale2"}
        table += same({f"{ours}.{scale}.weight": f"{theirs}.{their}.lambda1" for scale, their in scales.items()})
        if c.mlp == "gated":
            table += gated(f"{ours}.mlp", *(f"{theirs}.mlp.{part}_proj" for part in ("gate", "up", "down")))
        else:
            table += layers({f"{ours}.mlp.hidden": f"{theirs}.mlp.up_proj", f"{ours}.mlp.out": f"{theirs}.mlp.down_proj"})
    return table


def _timm_rows(c: ViTConfig) -> list[NameRow]:
    """Eva, with the arguments of timm's DINOv3 names."""
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
