"""SigLIP 2 NaFlex (arXiv 2502.14786) and TIPSv2 (2604.12012): image towers of transformers beside text towers of ours.

Files of TIPSv2 have the names of the authors' code, which transformers renames. Instead of a scale of the logits they have its
inverse, a temperature, or omit it: the config has its value.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders import library_net
from tapetum.encoders.config import Architecture, LibraryNetConfig, naflex, tipsv2
from tapetum.encoders.library_net import of_transformers, transformers
from tapetum.encoders.tables import huggingface
from tapetum.encoders.tables.rows import NameRow, layers, same
from tapetum.encoders.towers import Towers
from tapetum.encoders.towers_config import TextConfig, TowersConfig
from tapetum.hub.headed import blueprint

_State = Mapping[str, Tensor]
_TIPSV2_TEXT: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
_TIPSV2_TEXT |= {"intermediate_size": 3072, "vocab_size": 32_000, "max_position_embeddings": 64}
_TIPSV2_TEXT |= {"hidden_act": "relu", "layer_norm_eps": 1e-5, "scale_sqrt_depth": True}
_TEMPERATURE = 0.005065968260169029
"""Defaults of transformers for fields that a config leaves out."""


def describe(architecture: Any, state: _State) -> tuple[Architecture, _State] | None:
    """Interpret a config given as a dict; None for other kinds of models."""
    kind = architecture.get("model_type") if isinstance(architecture, Mapping) else None
    if kind == "siglip2":
        return _siglip2(architecture, state)
    return _tipsv2(architecture, state) if kind == "tipsv2" else None


def _siglip2(architecture: Mapping[str, Any], state: _State) -> tuple[Architecture, _State]:
    vision = dict(architecture.get("vision_config") or {})
    patches, patch = vision.get("num_patches", 256), vision.get("patch_size", 16)
    if not (isinstance(patches, int) and isinstance(patch, int) and math.isqrt(patches) ** 2 == patches > 0):
        raise BadInput(f"this config has {patches!r} patches of {patch!r} pixels; tapetum has square grids of square patches")
    fixed = huggingface.describe({**architecture, "model_type": "siglip"}, state)
    assert fixed is not None
    config: Any = replace(fixed[0].config, image=of_transformers("siglip2_vision_model", vision))  # pyright: ignore[reportCallIssue]
    return replace(fixed[0], config=config, preprocessing=naflex(patches, patch)), fixed[1]


def _tipsv2(architecture: Mapping[str, Any], state: _State) -> tuple[Architecture, _State]:
    t = _TIPSV2_TEXT | dict(architecture.get("text_config") or {})
    vision = dict(architecture.get("vision_config") or {})
    if t["hidden_act"] != "relu":
        raise BadInput(f"the text tower of this config has {t['hidden_act']!r}; tapetum has TIPSv2 with relu")
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
    image = of_transformers("tipsv2_vision_model", vision)
    config = TowersConfig(image=image, text=text)
    if any(name.startswith(("vision_encoder.", "text_encoder.")) for name in state):
        state = _renamed(image, {name: t[name] for name in _TIPSV2_TEXT}, state)
    temperature = torch.tensor(float(architecture.get("temperature_init_value", _TEMPERATURE)))
    state = {"temperature": temperature, **state}
    prepared = tipsv2(vision.get("image_size", 448))
    return Architecture(family="towers", config=config, preprocessing=prepared), state


def _renamed(image: LibraryNetConfig, text: Mapping[str, Any], state: _State) -> _State:
    """The weights of a file under the names that transformers has in memory."""
    library, numbers = transformers(), sum(each.numel() for each in state.values())
    try:
        config = library.AutoConfig.for_model("tipsv2", vision_config=dict(image.settings), text_config=text)
        with blueprint(config.to_dict(), len(state), "these weights of TIPSv2"):
            expected = sum(each.numel() for each in library.AutoModel.from_config(config).parameters())
        if expected > 1.01 * numbers + 1000:  # or transformers would draw what is missing
            raise BadInput("the config asks for more numbers than the weights have; get them again")
        library.utils.logging.disable_progress_bar()
        model, tensors = library.Tipsv2Model.from_pretrained(
            None, config=config, state_dict=dict(state), output_loading_info=True
        )
    except BadInput:
        raise
    except Exception as error:  # its configs check themselves, by classes of errors of their own
        reason = " ".join(str(error).split())[:100]
        raise BadInput(f"these weights of TIPSv2 do not fit their config ({reason}); get them again") from error
    if wrong := sorted(tensors["missing_keys"] | tensors["unexpected_keys"]):
        raise BadInput(f"{wrong[0]} of these weights of TIPSv2 is missing or unknown; get them again")
    temperature = {"temperature"} - state.keys()
    return {name: value for name, value in model.state_dict().items() if name not in temperature}


def rows(encoder: Towers) -> list[NameRow]:
    """List the names of two towers whose image tower is of transformers."""
    table = library_net.rows(encoder.image, "image.", "vision_model.")  # pyright: ignore[reportArgumentType]
    if encoder.config.logit_bias:
        return table + huggingface.text_rows(encoder.config)
    table += same({"text.embedding.weight": "text_model.embeddings.token_embedding.weight"})
    for i in range(encoder.config.text.depth):
        table += huggingface.clip_block(f"text.blocks.{i}", f"text_model.encoder.layers.{i}")
    table += layers({"text.norm": "text_model.final_layer_norm"})
    return [*table, NameRow("temperature", ("logit_scale",), to_ours=lambda t: -t.log())]
