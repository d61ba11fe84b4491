"""Names of open_clip's pairs of towers (`open_clip_config.json`, `open_clip_model.safetensors`), to ours.

One layout for CLIP of OpenAI, LAION, DataComp and MetaCLIP, for mirrors of SigLIP and, with a timm tower, for others:

    CLIP             visual.*                      text at the top level: token_embedding, transformer.resblocks.*, ln_final
    CustomTextCLIP   visual.* or visual.trunk.*    text.*; the towers of SigLIP end in a bias of all logits, and the head of a
                                                   trunk that timm computes, as of PE-Core (arXiv 2504.13181), projects images

Matrices that open_clip multiplies from the right (`visual.proj`, `text_projection`) are our linear layers, transposed.

Sources: open_clip 3.3.0, with whose models these are compared; CLIP (arXiv 2103.00020), LAION's (2212.07143), DataComp
(2304.14108).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders import library_net
from tapetum.encoders.config import CLIP_MEAN, CLIP_STD, Architecture, LibraryNetConfig, Preprocessing, ViTConfig
from tapetum.encoders.tables import timm
from tapetum.encoders.tables.rows import NameRow, layers, same
from tapetum.encoders.tables.timm import read_interpolation, read_levels
from tapetum.encoders.towers import Towers
from tapetum.encoders.towers_config import TextConfig, TowersConfig

_State = Mapping[str, Tensor]
_TEXT = {"context_length": 77, "vocab_size": 49_408, "width": 512, "heads": 8, "layers": 12}
"""Fields of a config's text tower that may be left out."""
_VISION = {"image_size": 224, "patch_size": 16, "width": 768, "layers": 12, "head_width": 64, "mlp_ratio": 4.0}
"""Fields of a config's vision tower that may be left out."""


def describe(architecture: Any, state: _State) -> tuple[Architecture, _State] | None:
    """Interpret the content of an open_clip_config.json; the weights keep their names.

    Raises BadInput for a config with parts that tapetum does not have, and names them.
    """
    if not isinstance(architecture, Mapping) or not isinstance(architecture.get("model_cfg"), Mapping):
        return None
    model, prepared = architecture["model_cfg"], architecture.get("preprocess_cfg") or {}
    text_given, vision_given = dict(model.get("text_cfg") or {}), dict(model.get("vision_cfg") or {})
    custom = bool(model.get("custom_text")) or any(name.startswith("text.") for name in state)
    if "hf_model_name" in text_given:
        raise BadInput(f"the text tower is {text_given['hf_model_name']!r} of transformers; tapetum has open_clip's own")
    text, bias = _text_config(model, text_given), "logit_bias" in state or model.get("init_logit_bias") is not None
    if "timm_model_name" in vision_given:
        vision, size = _timm_vision(vision_given, state)
    else:
        vision = _vision_config(model, vision_given)
        size = vision.image_size
    embed = int(model["embed_dim"])
    own_head = custom and bias  # SigLIP: the vision tower's pooling gives the vector, the text's has a layer with a bias
    if own_head:
        text = TextConfig(**{**text.__dict__, "projection": embed})
    config = TowersConfig(image=vision, text=text, projection=0 if own_head else embed, logit_bias=bias)
    return Architecture(family="towers", config=config, preprocessing=_preprocessing(prepared, size)), state


def rows(encoder: Towers) -> list[NameRow]:
    config = encoder.config
    by_timm = isinstance(config.image, LibraryNetConfig)
    custom = config.logit_bias or by_timm
    table = _trunk_rows(encoder) if custom else _vision_rows(config)
    pre = "text." if custom else ""
    table += [NameRow(f"{pre}token_embedding.weight", ("text.embedding.weight",))]
    table += [NameRow(f"{pre}positional_embedding", ("text.positions",))]
    for i in range(config.text.depth):
        table += _block(f"text.blocks.{i}", f"{pre}transformer.resblocks.{i}")
    table += layers({"text.norm": f"{pre}ln_final"})
    if config.text.projection:
        table += layers({"text.projection": f"{pre}text_projection"})
    if config.projection:
        table += [NameRow(f"{pre}text_projection", ("text_projection.weight",), order=(1, 0))]
        head = NameRow("visual.trunk.head.weight", ("image_projection.weight",))
        table += [head if by_timm else NameRow("visual.proj", ("image_projection.weight",), order=(1, 0))]
        table += [NameRow("visual.trunk.head.bias", (), shape=(config.projection,), optional=True)] if by_timm else []
    table += same({"logit_scale": "logit_scale"})
    return table + (same({"logit_bias": "logit_bias"}) if config.logit_bias else [])


def _text_config(model: Mapping[str, Any], given: Mapping[str, Any]) -> TextConfig:
    c = {**_TEXT, **given}
    siglip = bool(c.get("no_causal_mask"))
    quick = bool(model.get("quick_gelu"))
    kwargs = c.get("norm_kwargs") or {}
    tanh = (c.get("act_kwargs") or {}).get("approximate") == "tanh"
    return TextConfig(
        width=c["width"],
        depth=c["layers"],
        heads=c["heads"],
        mlp_width=int(c["width"] * c.get("mlp_ratio", 4.0)),
        vocabulary=c["vocab_size"],
        length=c["context_length"],
        causal=not siglip,
        pooling="last" if c.get("pool_type", "argmax") == "last" else "highest",
        norm_eps=float(kwargs.get("eps", 1e-5)),
        activation="quick_gelu" if quick else "gelu_tanh" if tanh else "gelu",
    )


def _vision_config(model: Mapping[str, Any], given: Mapping[str, Any]) -> ViTConfig:
    c = {**_VISION, **given}
    if not isinstance(c["layers"], int) or c.get("attentional_pool") or c.get("pool_type", "tok") != "tok":
        raise BadInput("the vision tower is a ResNet, or pools in another way than by its class token; tapetum has the ViTs")
    size = c["image_size"]
    rows, columns = (size, size) if isinstance(size, int) else size
    return ViTConfig(
        width=c["width"],
        depth=c["layers"],
        heads=c["width"] // c["head_width"],
        mlp_width=int(c["width"] * c["mlp_ratio"]),
        patch=c["patch_size"],
        image_size=(rows, columns),
        ragged=bool(rows % c["patch_size"] or columns % c["patch_size"]),
        norm_eps=1e-5,
        activation="quick_gelu" if model.get("quick_gelu") else "gelu",
        norm_before=True,
        patch_bias=False,
        resample="timm",
    )


def _timm_vision(given: Mapping[str, Any], state: _State) -> tuple[ViTConfig | LibraryNetConfig, tuple[int, int]]:
    """The config of a trunk of timm, and the size of its images."""
    name = str(given["timm_model_name"])
    trunk = {key.removeprefix("visual.trunk."): value for key, value in state.items() if key.startswith("visual.trunk.")}
    if "head.bias" in trunk and trunk["head.bias"].any():
        raise BadInput(f"the projection of the vision tower, timm's {name!r}, has a bias; that of PE-Core is 0, and left out")
    if given.get("timm_proj") not in (None, "none", ""):
        raise BadInput(f"the vision tower is timm's {name!r} with {given.get('timm_proj')!r}; tapetum has not that one")
    answer = timm.describe(name, trunk) or library_net.describe(name, trunk)
    assert answer is not None
    config: Any = replace(answer[0].config, classes=0)
    return config, answer[0].preprocessing.size


def _preprocessing(given: Mapping[str, Any], size: tuple[int, int]) -> Preprocessing:
    mode = given.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise BadInput(f"images are resized with mode {mode!r}; tapetum does not")
    return Preprocessing(
        size=size,
        resize="squash" if mode == "squash" else "crop",
        interpolation=read_interpolation(given.get("interpolation", "bicubic")),
        mean=read_levels(given["mean"]) if given.get("mean") else CLIP_MEAN,
        std=read_levels(given["std"]) if given.get("std") else CLIP_STD,
    )


def _block(ours: str, theirs: str) -> list[NameRow]:
    parts = [
        NameRow(f"{theirs}.attn.in_proj_{leaf}", tuple(f"{ours}.attention.{part}.{leaf}" for part in ("query", "key", "value")))
        for leaf in ("weight", "bias")
    ]
    return parts + layers(
        {
            f"{ours}.attention.out": f"{theirs}.attn.out_proj",
            f"{ours}.attention_norm": f"{theirs}.ln_1",
            f"{ours}.mlp_norm": f"{theirs}.ln_2",
            f"{ours}.mlp.hidden": f"{theirs}.mlp.c_fc",
            f"{ours}.mlp.out": f"{theirs}.mlp.c_proj",
        }
    )


def _vision_rows(config: TowersConfig) -> list[NameRow]:
    assert isinstance(config.image, ViTConfig)
    table = [
        NameRow("visual.conv1.weight", ("image.patches.weight",)),
        NameRow("visual.class_embedding", ("image.class_token",)),
        NameRow("visual.positional_embedding", ("image.positions",)),
    ]
    table += layers({"image.norm_before": "visual.ln_pre", "image.norm": "visual.ln_post"})
    for i in range(config.image.depth):
        table += _block(f"image.blocks.{i}", f"visual.transformer.resblocks.{i}")
    return table


def _trunk_rows(encoder: Towers) -> list[NameRow]:
    if isinstance(encoder.image, library_net.LibraryNet):
        return library_net.rows(encoder.image, "image.", "visual.trunk.")
    return [
        NameRow(f"visual.trunk.{row.theirs}", tuple(f"image.{name}" for name in row.ours), lead=row.lead, shape=row.shape)
        for row in timm.rows(encoder.image)  # pyright: ignore[reportArgumentType]
    ]
