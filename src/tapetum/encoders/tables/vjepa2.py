"""Names of transformers' V-JEPA 2 (VJEPA2Model), to ours and back (arXiv 2506.09985).

Not part of an encoder, and omitted: the predictor. Video classifiers, which pool by attention, are refused.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables.rows import NameRow, layers
from tapetum.encoders.vjepa2 import VJEPA2
from tapetum.encoders.vjepa2_config import VJEPA2Config, clips

_DEFAULTS = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "mlp_ratio": 4.0, "patch_size": 16}
_DEFAULTS |= {"tubelet_size": 2, "crop_size": 256, "frames_per_clip": 64, "layer_norm_eps": 1e-6, "qkv_bias": True}
"""Of transformers, for fields that a config leaves out."""


def describe(architecture: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, Mapping[str, Tensor]] | None:
    """Interpret a config given as a dict; None for other kinds of models."""
    if not isinstance(architecture, Mapping) or architecture.get("model_type") != "vjepa2":
        return None
    c = _DEFAULTS | dict(architecture)
    if c.get("hidden_act", "gelu") != "gelu" or not isinstance(c["patch_size"], int) or c.get("in_chans", 3) != 3:
        raise BadInput("this V-JEPA 2 has not GELU, square patches and three channels; tapetum has no such network")
    if any(name.startswith(("vjepa2.", "pooler.", "classifier.")) for name in state):
        raise BadInput("these weights are of a classifier of videos, which tapetum has not; give those of VJEPA2Model")
    config = VJEPA2Config(
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_width=int(c["hidden_size"] * c["mlp_ratio"]),
        patch=c["patch_size"],
        tubelet=c["tubelet_size"],
        image_size=(c["crop_size"], c["crop_size"]),
        frames=c["frames_per_clip"],
        norm_eps=c["layer_norm_eps"],
        qkv_bias=c["qkv_bias"],
    )
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("predictor.")}
    return Architecture(family="vjepa2", config=config, preprocessing=clips(c["crop_size"])), kept


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """Make the table of names for an encoder, or None for another network."""
    if not isinstance(encoder, VJEPA2) or encoder.config.classes:
        return None
    table = layers({"tubelets": "encoder.embeddings.patch_embeddings.proj", "norm": "encoder.layernorm"})
    for i in range(encoder.config.depth):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        turned = {f"{ours}.attention.{part}": f"{theirs}.attention.{part}" for part in ("query", "key", "value")}
        table += layers(turned, encoder.config.qkv_bias)
        table += layers(
            {
                f"{ours}.attention.out": f"{theirs}.attention.proj",
                f"{ours}.attention_norm": f"{theirs}.norm1",
                f"{ours}.mlp_norm": f"{theirs}.norm2",
                f"{ours}.mlp.hidden": f"{theirs}.mlp.fc1",
                f"{ours}.mlp.out": f"{theirs}.mlp.fc2",
            }
        )
    return table
