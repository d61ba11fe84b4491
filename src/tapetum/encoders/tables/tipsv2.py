"""Names of transformers' TIPSv2 (Tipsv2Model), to ours and back (arXiv 2604.12012).

Files use the names of the authors' code, which transformers also writes; in its memory, and from `to_state`, an image tower
has the names of DINOv2 with registers, a text tower those of CLIP:

    file        vision_encoder.blocks.I.attn.qkv                       text_encoder.transformer.resblocks.I.attn.in_proj_*
    in memory   vision_model.encoder.layer.I.attention.q_proj, k_, v_  text_model.encoder.layers.I.self_attn.q_proj, k_, v_

Instead of a scale of the logits there is its inverse, a temperature; files omit it, and the config has its value.

Not part of an encoder, and omitted: the mask token (written as zeros).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables import huggingface
from tapetum.encoders.tables.rows import NameRow, layers, same
from tapetum.encoders.towers import Towers
from tapetum.encoders.towers_config import TextConfig, TowersConfig, tipsv2

_TRANSFORMER = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
_VISION = _TRANSFORMER | {"mlp_ratio": 4, "image_size": 448, "patch_size": 14, "num_register_tokens": 1, "hidden_act": "gelu"}
_TEXT = _TRANSFORMER | {"intermediate_size": 3072, "vocab_size": 32_000, "max_position_embeddings": 64, "hidden_act": "relu"}
_TEXT |= {"layer_norm_eps": 1e-5, "scale_sqrt_depth": True}
_TEMPERATURE = 0.005065968260169029
"""Defaults of transformers for fields that a config leaves out."""

_OLD_VISION = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^(cls_token|mask_token|register_tokens)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.qkv\.", ".attention.*_proj."),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.mlp\.w12\.", ".mlp.*_proj."),
    (r"\.mlp\.w3\.", ".mlp.down_proj."),
)
_OLD_TEXT = (
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.in_proj_", ".self_attn.*_proj."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
"""Names of files to those in memory; the star stands for q, k and v, or of a gated MLP for gate and up, which are joined."""


def describe(architecture: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, Mapping[str, Tensor]] | None:
    """Interpret a config given as a dict, and rename the weights to in-memory names; None for other kinds of models."""
    if not isinstance(architecture, Mapping) or architecture.get("model_type") != "tipsv2":
        return None
    t = _TEXT | dict(architecture.get("text_config") or {})
    v = _VISION | dict(architecture.get("vision_config") or {}) | {"model_type": "dinov2_with_registers"}
    if t["hidden_act"] != "relu":
        raise BadInput(f"the text tower of this config has {t['hidden_act']!r}; tapetum has TIPSv2 with relu")
    answer = huggingface.describe(v, {})
    assert answer is not None
    image = replace(answer[0].config, resample="naflex")
    text = TextConfig(
        width=t["hidden_size"],
        depth=t["num_hidden_layers"],
        heads=t["num_attention_heads"],
        mlp_width=t["intermediate_size"],
        vocabulary=t["vocab_size"],
        length=t["max_position_embeddings"],
        causal=False,
        pooling="mean",
        norm_eps=t["layer_norm_eps"],
        activation="relu",
        positions="sine",
        scale_embedding=bool(t["scale_sqrt_depth"]),
    )
    named = _in_memory(state)
    named.setdefault("temperature", torch.tensor(float(architecture.get("temperature_init_value", _TEMPERATURE))))
    config = TowersConfig(image=image, text=text)  # pyright: ignore[reportArgumentType]
    return Architecture(family="towers", config=config, preprocessing=tipsv2(config.image.image_size[0])), named


def _in_memory(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for old, new, pairs in (("vision_encoder.", "vision_model.", _OLD_VISION), ("text_encoder.", "text_model.", _OLD_TEXT)):
            if name.startswith(old):
                rest = name.removeprefix(old)
                for pattern, today in pairs:
                    rest = re.sub(pattern, today, rest)
                name = new + rest
        if "*" in name:
            joined = ("gate", "up") if ".mlp." in name else ("q", "k", "v")
            parts = tensor.tensor_split(len(joined))
            out |= {name.replace("*", part): value for part, value in zip(joined, parts, strict=True)}
        elif not name.endswith(("position_ids", "position_embedding.weights")):
            out[name] = tensor
    return out


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """Make the table of names for the two towers of TIPSv2; None for another network."""
    if not isinstance(encoder, Towers) or encoder.config.text.positions != "sine":
        return None
    text, image = encoder.config.text, huggingface.rows(encoder.image, source)
    if image is None or encoder.config.projection or text.projection or encoder.logit_bias is not None:
        return None
    table = [
        replace(row, theirs=f"vision_model.{row.theirs}", ours=tuple(f"image.{name}" for name in row.ours)) for row in image
    ]
    table += same({"text.embedding.weight": "text_model.embeddings.token_embedding.weight"})
    for i in range(text.depth):
        table += huggingface.clip_block(f"text.blocks.{i}", f"text_model.encoder.layers.{i}")
    table += layers({"text.norm": "text_model.final_layer_norm"})
    return [*table, NameRow("temperature", ("logit_scale",), to_ours=_inverted, to_theirs=_raised)]


def _inverted(temperature: Tensor) -> Tensor:
    return -temperature.log()


def _raised(scale: Tensor) -> Tensor:
    return (-scale).exp()
