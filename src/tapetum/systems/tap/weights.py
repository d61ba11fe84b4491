"""Weights of TAPIR: renaming from the published names, our own files, and conversion of published files.

Tensors of the published PyTorch state dicts (https://github.com/google-deepmind/tapnet) are ours under other names. Our own
files are safetensors with the config as JSON in the header. No file can run code.

A JAX checkpoint is a pickled dict, `params`: {module: {leaf: array}}; its names become those of PyTorch first. It stores
convolutions as height, width, in, out, linear layers as in, out, depthwise ones as time, 1, channels.
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.fields import LARGEST_SIZE, check_sizes
from tapetum.core.files import cannot_write, same_place
from tapetum.core.reading import parse_json, sha256_of
from tapetum.hub.download import Record, record_of, write_record
from tapetum.hub.headed import save_headed
from tapetum.hub.loading import header_of
from tapetum.hub.state_dicts import check_numbers, read_state
from tapetum.systems.tap.config import OFFICIAL, TapirConfig
from tapetum.systems.tap.model import Tapir

_RULES = (
    (r"resnet_torch\.initial_conv", "backbone.stem"),
    (r"resnet_torch\.block_groups\.(\d+)\.blocks\.(\d+)\.bn_([01])", r"backbone.groups.\1.\2.norm_\3"),
    (r"resnet_torch\.block_groups\.(\d+)\.blocks\.(\d+)\.conv_([01])", r"backbone.groups.\1.\2.conv_\3"),
    (r"resnet_torch\.block_groups\.(\d+)\.blocks\.(\d+)\.proj_conv", r"backbone.groups.\1.\2.projection"),
    (r"extra_convs\.blocks\.(\d+)\.layer_norm", r"backbone.extra.\1.norm"),
    (r"extra_convs\.blocks\.(\d+)\.conv", r"backbone.extra.\1.widen"),
    (r"extra_convs\.blocks\.(\d+)\.conv_1", r"backbone.extra.\1.narrow"),
    (r"torch_cost_volume_track_mods\.hid1", "matching.trunk"),
    (r"torch_cost_volume_track_mods\.hid2", "matching.position"),
    (r"torch_cost_volume_track_mods\.hid3", "matching.occlusion_conv"),
    (r"torch_cost_volume_track_mods\.hid4", "matching.occlusion_hidden"),
    (r"torch_cost_volume_track_mods\.occ_out", "matching.occlusion_out"),
    (r"torch_pips_mixer\.linear", "mixer.inward"),
    (r"torch_pips_mixer\.layer_norm", "mixer.norm"),
    (r"torch_pips_mixer\.linear_1", "mixer.outward"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.layer_norm", r"mixer.blocks.\1.time_norm"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.layer_norm_1", r"mixer.blocks.\1.channel_norm"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.mlp1_up", r"mixer.blocks.\1.time_up"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.mlp1_up_1", r"mixer.blocks.\1.time_down"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.conv_channels_mixer\.mlp2_up", r"mixer.blocks.\1.channel_up"),
    (r"torch_pips_mixer\.blocks\.(\d+)\.conv_channels_mixer\.mlp2_down", r"mixer.blocks.\1.channel_down"),
)
"""Official name as a pattern, our name as its replacement; both without the last word (weight or bias)."""

_IN_SHAPES = "pyramid_level", "extra_convs", "extra_expansion", "stem_channels", "channels", "blocks_per_group"
_IN_SHAPES += "matching_channels", "mixer_width", "mixer_blocks", "mixer_expansion"
"""Fields of a config that the shapes of its tensors tell."""
_HEADER = "tapir_config"
_STEM = "backbone.stem.weight"
"""A tensor by which our names are known."""


def has_names_of_tapir(names: Collection[str]) -> bool:
    """Check whether these tensor names are TAPIR's, ours or published; some may be others."""
    stems = [name.rpartition(".")[0] for name in names]
    known = sum(any(re.fullmatch(pattern, stem) for pattern, _ in _RULES) for stem in stems)
    return _STEM in names or 2 * known > len(stems)


def from_official(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a published state dict to our names. Raises BadInput for a tensor that does not belong."""
    renamed = {}
    for name, tensor in state_dict.items():
        stem, _, leaf = name.rpartition(".")
        matches = [(match, template) for pattern, template in _RULES if (match := re.fullmatch(pattern, stem))]
        if not matches or leaf not in ("weight", "bias"):
            raise BadInput(f"tensor {name!r} is not TAPIR's; give the published state dict of a TAPIR or BootsTAPIR network")
        match, template = matches[0]
        renamed[f"{match.expand(template)}.{leaf}"] = tensor
    return renamed


def infer_config(state_dict: dict[str, Tensor], *, causal: bool = False) -> TapirConfig:
    """Find the config that fits the shapes of a state dict under our names, with the published strides.

    Shapes tell neither whether a network is causal nor its temperature. Raises BadInput if a tensor is missing or no config
    fits.
    """

    def shape(name: str) -> torch.Size:
        if name not in state_dict:
            raise BadInput(f"the weights lack the tensor {name!r}; give the whole state dict of a TAPIR network")
        return state_dict[name].shape

    def count(prefix: str) -> int:
        return len({name.split(".")[prefix.count(".")] for name in state_dict if name.startswith(prefix)})

    try:
        c0, c1, c2, c3 = (shape(f"backbone.groups.{g}.0.conv_0.weight")[0] for g in range(4))
        b0, b1, b2, b3 = (count(f"backbone.groups.{g}.") for g in range(4))
        strided, trunk = shape("matching.occlusion_conv.weight")[:2]
        width, inward = shape("mixer.inward.weight")
        extra = count("backbone.extra.")
        return TapirConfig(
            causal=causal,
            pyramid_level=max(0, (inward - 4 - c1 - c3) // 49 - 2),
            extra_convs=extra,
            extra_expansion=shape("backbone.extra.0.widen.weight")[0] // c3 if extra else 4,
            stem_channels=shape("backbone.stem.weight")[0],
            channels=(c0, c1, c2, c3),
            blocks_per_group=(b0, b1, b2, b3),
            matching_channels=(trunk, strided, shape("matching.occlusion_hidden.weight")[0]),
            mixer_width=width,
            mixer_blocks=count("mixer.blocks."),
            mixer_expansion=shape("mixer.blocks.0.time_up.weight")[0] // width,
        )
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise BadInput(f"the shapes of these weights are not those of a TAPIR network ({error})") from error


def to_model(config: TapirConfig, state_dict: dict[str, Tensor]) -> Tapir:
    """Make a float32 network with these weights (our names). Raises BadInput, naming the first tensor that does not fit."""
    with torch.device("meta"):
        model = Tapir(config)
    expected = model.state_dict()
    for name in expected.keys() | state_dict.keys():
        if name not in expected:
            raise BadInput(f"the weights have a tensor {name!r} that this network lacks; is it another architecture?")
        if name not in state_dict:
            raise BadInput(f"the weights lack the tensor {name!r}; give the whole state dict of a TAPIR network")
        have, want = state_dict[name], expected[name].shape
        if have.shape != want:
            raise BadInput(f"the tensor {name!r} is {tuple(have.shape)} where {tuple(want)} is wanted; another version?")
        check_numbers(name, have, expected[name])
    model.load_state_dict({name: tensor.float().clone() for name, tensor in state_dict.items()}, assign=True)
    return model.requires_grad_(True)


def save(model: Tapir, path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> None:
    """Write weights (rounded to `dtype`) and config to a safetensors file, whole or not at all, else BadInput."""
    save_headed(model, path, _HEADER, asdict(model.config), dtype)  # one entry: the order of several changes from run to run


def load(path: str | os.PathLike[str], *, causal: bool | None = None, softmax_temperature: float | None = None) -> Tapir:
    """Load the network in a file: ours (safetensors), or published (.pt, or .npy of JAX). No code in the file is run.

    Published files store neither `causal`, which None takes from the file's name, nor `softmax_temperature`, by default 20.
    Raises BadInput if the file cannot be read, holds something else, or its tensors do not fit.
    """
    path = Path(path)
    config, tensors = _read(path)
    if config is None:
        config = infer_config(tensors, causal="causal" in path.name.lower() if causal is None else causal)
    if causal is not None:
        config = replace(config, causal=causal, second_pass=config.second_pass and not causal)
    if softmax_temperature is not None:
        config = replace(config, softmax_temperature=softmax_temperature)
    return to_model(config, tensors)


def convert(
    source: Path,
    target: Path,
    architecture: str | None = None,
    *,
    causal: bool | None = None,
    softmax_temperature: float | None = None,
) -> None:
    """Write the published weights in `source` (.pt, or .npy of JAX) to the safetensors file `target`, with a record next to it.

    An `architecture` of `config.OFFICIAL` says whether the network is causal, else `causal`, else the name of the file. Raises
    BadInput if the file does not hold such a network, or `target` cannot be written.
    """
    if target.suffix != ".safetensors":
        raise BadInput(f"{target} must be named .safetensors: that is what is written")
    if same_place(target, source):
        raise BadInput(f"{source} would be overwritten by what is made of it: give --out another name")
    if architecture is not None:
        causal = OFFICIAL[architecture].causal
    model = load(source, causal=causal, softmax_temperature=softmax_temperature)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(target, error) from error
    save(model, target)
    origin = record_of(source)
    address = origin.source if origin else f"sha256:{sha256_of(source)}"
    write_record(target, Record(source=address, size=target.stat().st_size, sha256=sha256_of(target)))


def _read(path: Path) -> tuple[TapirConfig | None, dict[str, Tensor]]:
    if path.suffix == ".npy" and path.is_file():
        from tapetum.hub.unpickle import load_npy

        return None, from_official(from_haiku(load_npy(path)))
    tensors, header = read_state(path), header_of(path)
    if _HEADER in header:
        tensors = ours(tensors)
        return _config(header[_HEADER], tensors, path), tensors
    if path.suffix == ".safetensors" and _STEM in tensors:
        raise BadInput(
            f"{path} has tensors of tapetum but no longer the config that tapetum.systems.tap.weights.save put into its "
            "header, without which they would be used wrongly; give the file as it was"
        )
    if "tapnext" in header:
        raise BadInput(f"{path} holds a TAPNext network, and TAPIR is wanted here; give weights such as tapir-nano")
    return None, ours(tensors)


def ours(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a state dict to our names, if they have the published ones."""
    return tensors if _STEM in tensors else from_official(tensors)


def _config(text: str, tensors: dict[str, Tensor], path: Path) -> TapirConfig:
    try:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in parse_json(text).items()}
        check_sizes(fields, f" in the config of {path}", LARGEST_SIZE)
        config = TapirConfig(**fields)
    except (ValueError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise BadInput(f"the config in {path} cannot be read ({reason}); save the model again") from error
    inferred = infer_config(tensors)
    if any(getattr(inferred, name) != getattr(config, name) for name in _IN_SHAPES):
        raise BadInput(f"the config in {path} does not fit the tensors beside it; save the model again")
    return config


_HEADS = {
    "cost_volume_regression_1": "hid1",
    "cost_volume_regression_2": "hid2",
    "cost_volume_occlusion_1": "hid3",
    "cost_volume_occlusion_2": "hid4",
    "occlusion_out": "occ_out",
}
_LEAVES = {"w": "weight", "b": "bias", "scale": "weight", "offset": "bias"}


def _module(path: str) -> str | None:
    """The PyTorch name of a haiku module; None if it is not part of the network. `~` and a method's name mark nesting."""
    path = re.sub(r"/~\w*/", "/", path).removeprefix("tapir/")
    if path in _HEADS:
        return f"torch_cost_volume_track_mods.{_HEADS[path]}"
    if path == "resnet/initial_conv":
        return "resnet_torch.initial_conv"
    if match := re.fullmatch(r"resnet/block_group_(\d+)/block_(\d+)/(\w+)", path):
        group, block, leaf = match.groups()
        leaf = leaf.replace("shortcut_conv", "proj_conv").replace("instancenorm", "bn")
        return f"resnet_torch.block_groups.{group}.blocks.{block}.{leaf}"
    if match := re.fullmatch(r"pips_mlp_mixer/(linear|linear_1|layer_norm)", path):
        return f"torch_pips_mixer.{match[1]}"
    if match := re.fullmatch(r"pips_mlp_mixer/block(?:_(\d+))?/(\w+)", path):
        leaf = match[2].replace("mlp2", "conv_channels_mixer.mlp2")
        return f"torch_pips_mixer.blocks.{match[1] or 0}.{leaf}"
    if match := re.fullmatch(r"extra_convs/(layer_norm|conv2_?d)(?:_(\d+))?", path):
        number = int(match[2] or 0)
        if match[1] == "layer_norm":
            return f"extra_convs.blocks.{number}.layer_norm"
        return f"extra_convs.blocks.{number // 2}.conv{'_1' if number % 2 else ''}"
    return None


def _output_first(array: np.ndarray, leaf: str) -> np.ndarray:
    if leaf == "w" and array.ndim in (2, 3, 4):
        return np.transpose(array, {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}[array.ndim])
    # Instance norms keep their channels in an image-shaped array.
    return array.reshape(-1) if array.size == max(array.shape, default=1) else array


def from_haiku(checkpoint: Any) -> dict[str, Tensor]:
    """Convert a JAX checkpoint to the published PyTorch names. Raises BadInput, naming the module, for anything that is not
    TAPIR's."""
    params = checkpoint.get("params") if isinstance(checkpoint, Mapping) else None
    if not isinstance(params, Mapping):
        raise BadInput("this .npy file holds no 'params'; give a JAX checkpoint of TAPIR")
    tensors = {}
    for path, leaves in params.items():
        module = _module(str(path))
        if module is None or not isinstance(leaves, Mapping):
            raise BadInput(f"module {path!r} is not one of TAPIR's; give a JAX checkpoint of TAPIR")
        for leaf, array in leaves.items():
            if leaf not in _LEAVES or not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                raise BadInput(f"{path}/{leaf} is not an array of weights; give a JAX checkpoint of TAPIR")
            tensor = np.array(_output_first(array, leaf), dtype=np.float32, order="C")
            tensors[f"{module}.{_LEAVES[leaf]}"] = torch.from_numpy(tensor)
    return tensors
