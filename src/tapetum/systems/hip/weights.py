"""Weights of HiP: those of the public JAX code, and files of weights.

No published checkpoint was found; the names are those that the public code gives its parameters (Haiku), so that what is
trained with it can be used here. A file of ours is a safetensors file with config and modalities in
its header.

Differs from the public code with several data sets in one network: there the first modality of each shares one projection of
codes, the second another, and so on; only weights for one data set at a time can be brought over.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from tapetum.core.errors import BadInput
from tapetum.hub.headed import load_headed, save_headed
from tapetum.hub.registry import known, resolve
from tapetum.systems.hip.config import HipConfig, Modality, Preparation
from tapetum.systems.hip.model import Hip

_ROOT = "perceiver"
_CROSS = {
    "query_norm": "layer_norm",
    "input_norm": "layer_norm_1",
    "attention.query": "attention/query_linear",
    "attention.key": "attention/key_linear",
    "attention.value": "attention/value_linear",
    "attention.out": "attention/attention_output_linear",
    "mlp_norm": "layer_norm_2",
    "mlp.hidden": "dense/mlp_hidden_linear",
    "mlp.out": "dense/mlp_output_linear",
}
_SELF = {ours: theirs for ours, theirs in _CROSS.items() if ours not in ("query_norm", "input_norm", "mlp_norm")}
_SELF |= {"norm": "layer_norm", "mlp_norm": "layer_norm_1"}


def haiku_modules(model: Hip) -> dict[str, str]:
    """Map our modules, and tables of codes and latents, to modules of the public code, for the modalities in their order."""
    config = model.config
    labels = [name for name in model.modalities if name in config.labels]
    inner = [name for name in model.modalities if name not in config.labels]
    names: dict[str, str] = {}
    for k, name in enumerate(inner):
        names[f"embed.{name}"] = f"embedder/~embed/embed_{name}"
        names[f"positions.{name}.table"] = f"position_encoder/pos_emb_mae_{name}"
        names[f"positions.{name}.projection"] = "position_encoder/position_encoding_linear" + (f"_{k}" if k else "")
        names[f"unembed.{name}"] = f"embedder/~unembed/unembed_{name}"
    for k, name in enumerate(labels, 1):
        names[f"label_embed.{name}"] = f"embedder_{k}/~embed/embed_{name}"
        names[f"label_positions.{name}.table"] = f"position_encoder_{k}/pos_emb_mae_{name}"
        names[f"label_unembed.{name}"] = f"embedder_{k}/~unembed/unembed_{name}"
    for i in range(config.blocks):
        block = f"{'perceiver_' if config.labels else ''}block_{i}/~"
        names[f"blocks.{i}.latents"] = f"{block}/hi_p_cross_attention/query_inputs"
        names[f"blocks.{i}.skip"] = f"{block}/hi_p_cross_attention/pre_attention_residual_linear"
        names |= {f"blocks.{i}.cross.{our}": f"{block}/hi_p_cross_attention/{their}" for our, their in _CROSS.items()}
        for j in range(config.self_layers[i]):
            names |= {f"blocks.{i}.layers.{j}.{our}": f"{block}/self_attend_id_{j}/{their}" for our, their in _SELF.items()}
    heads = {"head": "reconstruction_head"}
    if config.labels:
        heads = {"label_head": "reconstruction_head", "head": "reconstruction_head_1"}
    for ours, theirs in heads.items():
        names |= {f"{ours}.{our}": f"{theirs}/hi_p_cross_attention/{their}" for our, their in _CROSS.items()}
    return {ours: f"{_ROOT}/{theirs}" for ours, theirs in names.items()}


def haiku_names(model: Hip) -> dict[str, tuple[str, str]]:
    """Map each of our tensors to module and leaf of the public code; linear layers are (in, out) there."""
    modules, names_of = haiku_modules(model), {}
    for name in model.state_dict():
        if name in modules:
            names_of[name] = modules[name], "pos_embs"
            continue
        stem, _, leaf = name.rpartition(".")
        norm = stem.endswith("norm")
        names_of[name] = modules[stem], ({"weight": "scale", "bias": "offset"} if norm else {"weight": "w", "bias": "b"})[leaf]
    return names_of


def from_haiku(model: Hip, params: Mapping[str, Mapping[str, Any]]) -> None:
    """Load weights of the public code into `model`.

    Raises BadInput, naming module and leaf, for one that is missing, of another shape, not finite, or not part of this network.
    """
    left = {(module, leaf) for module, leaves in params.items() for leaf in leaves}
    state = {}
    for name, (module, leaf) in haiku_names(model).items():
        want = tuple(model.state_dict()[name].shape)
        if (module, leaf) not in left:
            raise BadInput(f"the weights lack {module}/{leaf}; are they of another variant, or of other modalities?")
        left.remove((module, leaf))
        array = np.asarray(params[module][leaf])
        array = array.T if leaf == "w" else array
        if array.shape != want:
            raise BadInput(f"{module}/{leaf} becomes {tuple(array.shape)} where {want} is wanted; are they of another variant?")
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise BadInput(f"{module}/{leaf} holds something else than finite numbers; get the weights again")
        state[name] = torch.from_numpy(np.array(array, np.float32, order="C"))
    if left:
        raise BadInput(f"this network has no {'/'.join(min(left))}; are the weights of another variant?")
    model.load_state_dict(state)


def save(model: Hip, path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> None:
    """Write weights (rounded to `dtype`), config, modalities and their preparations to a safetensors file, or nothing."""
    modalities = {name: asdict(m) for name, m in model.modalities.items()}
    preparations = {name: asdict(p) for name, p in model.preparations.items()}
    about = {"config": asdict(model.config), "modalities": modalities, "preparations": preparations}
    save_headed(model, path, "hip", about, dtype)


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: torch.dtype | None = None) -> Hip:
    """Load the network of a known name (`hip-nano` comes with the package), or in a file that `save` wrote; float32 by default.

    No code in the file is run. Raises BadInput: the file cannot be read, holds something else, or its tensors do not fit its
    config; the name is one of weights for another purpose.
    """
    path = resolve(name_or_path, "embed")[0] if os.fspath(name_or_path) in known() else Path(name_or_path)
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give a file of weights")
    return cast(Hip, load_headed(path, "hip", "HiP network", _maker)).to(device=device, dtype=dtype)


def _maker(about: Any) -> Callable[[], Hip]:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about["config"].items()}
    config = HipConfig(**fields)
    modalities = {name: Modality(tuple(m["shape"]), m["channels"]) for name, m in about["modalities"].items()}

    def make() -> Hip:
        model = Hip(config, modalities)
        for name, p in about.get("preparations", {}).items():
            model.preparations[name] = Preparation(tuple(p["mean"]), tuple(p["std"]), p.get("sample_rate"))
        return model

    return make
