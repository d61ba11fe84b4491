"""The JAX checkpoints of TAPIR under the public PyTorch names.

A JAX checkpoint is a pickled dict with the key `params`: {module: {leaf: array}}. Convolutions are stored height, width,
in, out there, linear layers in, out, depthwise ones time, 1, channels; PyTorch has the output first.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tapetum.core.errors import BadInput

_HEADS = {
    "cost_volume_regression_1": "hid1",
    "cost_volume_regression_2": "hid2",
    "cost_volume_occlusion_1": "hid3",
    "cost_volume_occlusion_2": "hid4",
    "occlusion_out": "occ_out",
}
_LEAVES = {"w": "weight", "b": "bias", "scale": "weight", "offset": "bias"}


def _module(path: str) -> str | None:
    """The PyTorch name of a haiku module; None if it is not part of the network. `~` and a method's name mark nesting.

    >>> _module("tapir/~/resnet/~/block_group_1/~/block_0/~/shortcut_conv")
    'resnet_torch.block_groups.1.blocks.0.proj_conv'
    >>> _module("tapir/~/pips_mlp_mixer/block_3/mlp2_up"), _module("tapir/~/extra_convs/conv2_d_3")
    ('torch_pips_mixer.blocks.3.conv_channels_mixer.mlp2_up', 'extra_convs.blocks.1.conv_1')
    """
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
    """Convert a JAX checkpoint to a state dict under the published PyTorch names.

    Raises BadInput, naming the module, for anything that is not TAPIR's.
    """
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
