"""Names of transformers' models, to ours: ViT, DINO, MAE, DINOv2 with or without registers, CLIP,
MetaCLIP 2, SigLIP.

The names are those of transformers 5 models in memory. Files on the Hub use older names (which transformers 4 also had in
memory): these are read too. Not part of an encoder, and omitted: the decoder of MAE.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import HALF, Architecture, Preprocessing, ViTConfig, clip, imagenet, squashed
from tapetum.encoders.tables import whole_config
from tapetum.encoders.tables.rows import NameRow, gated, layers, same
from tapetum.encoders.towers import Towers
from tapetum.encoders.towers_config import TextConfig, TowersConfig

_ACTIVATIONS: dict[str, Literal["gelu", "gelu_tanh", "quick_gelu"]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
_OLD_NAMES = (
    (r"attention\.attention\.([qkv])(uery|ey|alue)\.", r"attention.\1_proj."),
    (r"attention\.output\.dense\.", "attention.o_proj."),
    (r"intermediate\.dense\.", "mlp.fc1."),
    (r"(layer\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.mlp\.weights_out\.", ".mlp.down_proj."),
)

_State = Mapping[str, Tensor]


def describe(architecture: Any, state: _State) -> tuple[Architecture, _State] | None:
    """Interpret a config given as a dict, and rename the weights to current names; None for other kinds of models."""
    if not isinstance(architecture, Mapping):
        raise BadInput(f"{architecture!r} is no config; for Hugging Face give model.config.to_dict()")
    read = _READERS.get(str(architecture.get("model_type")))
    try:
        kept = {k: v for k, v in state.items() if not k.endswith("position_ids")}
        return None if read is None else read(whole_config(architecture), kept)
    except KeyError as error:
        raise BadInput(f"the config has no {error}; give model.config.to_dict()") from error


def _common(c: Mapping[str, Any], activation: str, eps: float) -> ViTConfig:
    size = c["image_size"]
    rows, columns = (size, size) if isinstance(size, int) else size
    if c.get("num_channels", 3) != 3 or not isinstance(c["patch_size"], int):
        raise BadInput("the images of this config have not 3 channels, or its patches are no squares; tapetum has no such ViT")
    return ViTConfig(
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_width=int(c["hidden_size"] * c["mlp_ratio"]) if "mlp_ratio" in c else c["intermediate_size"],
        patch=c["patch_size"],
        image_size=(rows, columns),
        ragged=bool(rows % c["patch_size"] or columns % c["patch_size"]),
        norm_eps=c.get("layer_norm_eps", eps),
        qkv_bias=c.get("qkv_bias", True),
        activation=_activation(c, activation),
        resample="transformers",
    )


def _activation(c: Mapping[str, Any], default: str) -> Literal["gelu", "gelu_tanh", "quick_gelu"]:
    name = c.get("hidden_act", default)
    if name not in _ACTIVATIONS:
        raise BadInput(f"the activation of this config is {name!r}; tapetum has {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _vit(config: ViTConfig, preprocessing: Preprocessing, state: _State) -> tuple[Architecture, _State]:
    return Architecture(family="vit", config=config, preprocessing=preprocessing), state


def _renamed(state: _State, prefix: str, old_layers: str, new_layers: str) -> dict[str, Tensor]:
    """Look up the current names, without prefix."""
    out = {}
    for name, tensor in state.items():
        name = name.removeprefix(prefix)
        for old, new in _OLD_NAMES:
            name = re.sub(old, new, name)
        out[re.sub(old_layers, new_layers, name)] = tensor
    return out


def _read_vit(c: Mapping[str, Any], state: _State) -> tuple[Architecture, _State]:
    config = _common(c, "gelu", 1e-12)
    state = _renamed(state, "vit.", r"^encoder\.layer\.", "layers.")
    side = config.image_size
    if c["model_type"] == "vit_mae":
        config = replace(config, positions="sine")
        return _vit(config, imagenet(side[0]), {k: v for k, v in state.items() if not k.startswith("decoder.")})
    if "classifier.weight" in state:
        config = replace(config, classes=int(state["classifier.weight"].shape[0]))
        state = {k if k.startswith("classifier.") else f"vit.{k}": v for k, v in state.items()}
    elif "pooler.dense.weight" in state:
        if c.get("pooler_act", "tanh") != "tanh":
            raise BadInput(f"the pooler of this config ends in {c['pooler_act']!r}; tapetum has tanh")
        config = replace(config, pooler=True)
    prepared = Preprocessing(size=side, resize="squash", interpolation="bilinear", mean=HALF, std=HALF)
    return _vit(config, prepared, state)


def _read_dinov2(c: Mapping[str, Any], state: _State) -> tuple[Architecture, _State]:
    registers = c["num_register_tokens"] if c["model_type"] == "dinov2_with_registers" else 0
    config = replace(_common(c, "gelu", 1e-6), layer_scale=c.get("layerscale_value", 1.0), registers=registers)
    config = replace(config, mask_token=any(name.endswith("embeddings.mask_token") for name in state))
    config = replace(config, resample="timm" if registers else "transformers")
    if c.get("use_swiglu_ffn"):  # the giant one: two thirds of the usual hidden channels, up to a multiple of 8
        config = replace(config, mlp="gated", mlp_width=(config.mlp_width * 2 // 3 + 7) // 8 * 8, activation="silu")
    prefix = "dinov2_with_registers." if registers else "dinov2."
    return _vit(config, imagenet(224 - 224 % config.patch), _in_halves(_renamed(state, prefix, "^$", "")))


def _in_halves(state: _State) -> dict[str, Tensor]:
    """Split the layers of gated MLPs that are fused in files."""
    out = {}
    for name, tensor in state.items():
        parts = ("gate_proj", "up_proj") if ".mlp.weights_in." in name and tensor.ndim else ("weights_in",)
        split = tensor.tensor_split(2) if len(parts) == 2 else (tensor,)
        out |= {name.replace("weights_in", part): half for part, half in zip(parts, split, strict=True)}
    return out


def _clip_image(c: Mapping[str, Any]) -> ViTConfig:
    return replace(_common(c, "quick_gelu", 1e-5), norm_before=True, patch_bias=False)


def _siglip_image(c: Mapping[str, Any], head: bool) -> ViTConfig:
    return replace(_common(c, "gelu_pytorch_tanh", 1e-6), class_token=False, pooling="attention" if head else "mean")


def _read_clip_image(c: Mapping[str, Any], state: _State) -> tuple[Architecture, _State]:
    config = _clip_image(c)
    state = {k.removeprefix("vision_model."): v for k, v in state.items()}
    if "visual_projection.weight" in state:  # CLIPVisionModelWithProjection, whose names have a prefix in memory too
        config = replace(config, projection=int(state["visual_projection.weight"].shape[0]))
        state = {k if k.startswith("visual_projection.") else f"vision_model.{k}": v for k, v in state.items()}
    return _vit(config, clip(config.image_size[0]), state)


def _read_siglip_image(c: Mapping[str, Any], state: _State) -> tuple[Architecture, _State]:
    state = {k.removeprefix("vision_model."): v for k, v in state.items()}
    config = _siglip_image(c, "head.probe" in state)
    return _vit(config, squashed(config.image_size[0]), state)


def _read_towers(c: Mapping[str, Any], state: _State) -> tuple[Architecture, _State]:
    siglip, t = c["model_type"] == "siglip", c["text_config"]
    if siglip:
        image = _siglip_image(c["vision_config"], "vision_model.head.probe" in state)
        own: dict[str, Any] = {"pooling": "last", "projection": t.get("projection_size", t["hidden_size"]), "norm_eps": 1e-6}
    else:
        image = _clip_image(c["vision_config"])
        end = t.get("eos_token_id", 49407)  # 2 is what all configs said before mid-2023, and means the highest token
        old = end == 2 and c["model_type"] == "clip"  # MetaCLIP 2 has another tokenizer, whose end token may be 2
        own = {"pooling": "highest"} if old else {"pooling": "end", "end_token": end}
    text = TextConfig(
        width=t["hidden_size"],
        depth=t["num_hidden_layers"],
        heads=t["num_attention_heads"],
        mlp_width=t["intermediate_size"],
        vocabulary=t["vocab_size"],
        length=t["max_position_embeddings"],
        causal=not siglip,
        activation=_activation(t, "gelu_pytorch_tanh" if siglip else "quick_gelu"),
        **own | ({"norm_eps": t["layer_norm_eps"]} if "layer_norm_eps" in t else {}),
    )
    config = TowersConfig(image=image, text=text, projection=0 if siglip else c["projection_dim"], logit_bias=siglip)
    prepared = (squashed if siglip else clip)(image.image_size[0])
    return Architecture(family="towers", config=config, preprocessing=prepared), state


_READERS = {
    "vit": _read_vit,
    "vit_mae": _read_vit,
    "dinov2": _read_dinov2,
    "dinov2_with_registers": _read_dinov2,
    "clip_vision_model": _read_clip_image,
    "metaclip_2_vision_model": _read_clip_image,
    "siglip_vision_model": _read_siglip_image,
    "clip": _read_towers,
    "metaclip_2": _read_towers,
    "siglip": _read_towers,
}


def rows(encoder: Any) -> list[NameRow]:
    """List the names for an encoder: of two towers, CLIP's and SigLIP's image towers, and ViTs."""
    if isinstance(encoder, Towers):
        return _contrastive(encoder.config.image, "image.", "vision_model.") + text_rows(encoder.config)
    config = encoder.config
    if config.class_token and not config.norm_before:
        return _plain(config)
    if not config.projection:
        return _contrastive(config)
    return _contrastive(config, theirs="vision_model.") + layers({"projection": "visual_projection"}, bias=False)


def _plain(config: ViTConfig) -> list[NameRow]:
    """ViTModel, ViTMAEModel, ViTForImageClassification, Dinov2Model, Dinov2WithRegistersModel."""
    dinov2, pre = config.layer_scale is not None, "vit." if config.classes else ""
    table = [
        NameRow(f"{pre}embeddings.cls_token", ("class_token",), lead=2),
        NameRow(f"{pre}embeddings.position_embeddings", ("positions",), lead=1),
    ]
    if dinov2:
        own = ("mask_token",) if config.mask_token else ()
        table.append(NameRow("embeddings.mask_token", own, shape=(1, config.width), optional=True))
    if config.registers:
        table.append(NameRow("embeddings.register_tokens", ("registers",), lead=1))
    table += layers({"patches": f"{pre}embeddings.patch_embeddings.projection", "norm": f"{pre}layernorm"})
    norms = ("norm1", "norm2") if dinov2 else ("layernorm_before", "layernorm_after")
    for i in range(config.depth):
        name, theirs = f"blocks.{i}", f"{pre}{'encoder.layer' if dinov2 else 'layers'}.{i}"
        table += _block(name, theirs, norms, "attention", "o_proj", config.qkv_bias, config.mlp == "gated")
        if dinov2:
            table += same({f"{name}.{part}_scale.weight": f"{theirs}.layer_scale{k}.lambda1" for k, part in _SCALES})
    if config.pooler:
        table += layers({"pooler": "pooler.dense"})
    if config.classes:
        table += layers({"head": "classifier"})
    return table


_SCALES = ((1, "attention"), (2, "mlp"))


def _block(
    ours: str, theirs: str, norms: tuple[str, str], attention: str, out: str, qkv_bias: bool = True, two_halves: bool = False
) -> list[NameRow]:
    parts = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
    table = layers({f"{ours}.attention.{our}": f"{theirs}.{attention}.{their}" for our, their in parts.items()}, qkv_bias)
    mlp = {f"{ours}.mlp.hidden": f"{theirs}.mlp.fc1", f"{ours}.mlp.out": f"{theirs}.mlp.fc2"}
    if two_halves:
        table += gated(f"{ours}.mlp", *(f"{theirs}.mlp.{part}_proj" for part in ("gate", "up", "down")))
        mlp = {}
    return table + layers(
        {
            f"{ours}.attention.out": f"{theirs}.{attention}.{out}",
            f"{ours}.attention_norm": f"{theirs}.{norms[0]}",
            f"{ours}.mlp_norm": f"{theirs}.{norms[1]}",
            **mlp,
        }
    )


def clip_block(ours: str, theirs: str) -> list[NameRow]:
    """Make the rows of a block of CLIP, SigLIP or the text tower of TIPSv2."""
    return _block(ours, theirs, ("layer_norm1", "layer_norm2"), "self_attn", "out_proj")


def _contrastive(config: Any, ours: str = "", theirs: str = "") -> list[NameRow]:
    table = layers({f"{ours}patches": f"{theirs}embeddings.patch_embedding"}, config.patch_bias)
    table += same({f"{ours}positions": f"{theirs}embeddings.position_embedding.weight"})
    table += layers({f"{ours}norm": f"{theirs}post_layernorm"})
    if config.class_token:
        table += same({f"{ours}class_token": f"{theirs}embeddings.class_embedding"})
        table += layers({f"{ours}norm_before": f"{theirs}pre_layrnorm"})
    for i in range(config.depth):
        table += clip_block(f"{ours}blocks.{i}", f"{theirs}encoder.layers.{i}")
    if config.pooling == "attention":
        pool, head = f"{ours}pool", f"{theirs}head"
        table.append(NameRow(f"{head}.probe", (f"{pool}.query",), lead=1))
        for leaf in ("weight", "bias"):
            parts = tuple(f"{pool}.attention.{part}.{leaf}" for part in ("query", "key", "value"))
            table.append(NameRow(f"{head}.attention.in_proj_{leaf}", parts))
        table += layers({f"{pool}.attention.out": f"{head}.attention.out_proj", f"{pool}.norm": f"{head}.layernorm"})
        table += layers({f"{pool}.mlp.hidden": f"{head}.mlp.fc1", f"{pool}.mlp.out": f"{head}.mlp.fc2"})
    return table


def text_rows(config: TowersConfig) -> list[NameRow]:
    """Make the rows of the text tower, the projections and the scale of the logits of CLIPModel and SiglipModel."""
    table = same({"text.embedding.weight": "text_model.embeddings.token_embedding.weight"})
    table += same({"text.positions": "text_model.embeddings.position_embedding.weight"})
    for i in range(config.text.depth):
        table += clip_block(f"text.blocks.{i}", f"text_model.encoder.layers.{i}")
    table += layers({"text.norm": "text_model.final_layer_norm"})
    if config.text.projection:
        table += layers({"text.projection": "text_model.head"})
    if config.projection:
        table += layers({"image_projection": "visual_projection", "text_projection": "text_projection"}, bias=False)
    lead = 1 if config.logit_bias else 0
    table.append(NameRow("logit_scale", ("logit_scale",), lead=lead))
    return table + ([NameRow("logit_bias", ("logit_bias",), lead=lead)] if config.logit_bias else [])
