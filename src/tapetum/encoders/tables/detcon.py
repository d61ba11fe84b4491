"""ResNets of DetCon's public JAX code (google-deepmind/detcon), and so of everything built on haiku's ResNet blocks.

Names are haiku's, without the network's prefix: "block_group_2/~/block_0/~/conv_1/w". Weights of convolutions are
(rows, columns, in, out) there, scales of norms (1, 1, 1, channels); `tapetum.systems.odin.weights` reads files and transposes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tapetum.encoders.architectures import changed
from tapetum.encoders.config import Architecture
from tapetum.encoders.convolutional_config import RESNETS
from tapetum.encoders.resnet import ResNet
from tapetum.encoders.tables.rows import NameRow, same

_COUNTER = "mean_ema/counter"


def describe(
    architecture: str | Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[Architecture, dict[str, Tensor]] | None:
    """Describe the weights of DetCon, by our name of the ResNet; None for an unknown one."""
    if not isinstance(architecture, str) or architecture not in RESNETS:
        return None
    padded = changed(RESNETS[architecture], {"padding": "same", "classes": 0})
    prepared = replace(padded.preprocessing, interpolation="bicubic")
    stems = [name.removesuffix("mean_ema/average") for name in state if name.endswith("mean_ema/average")]
    return replace(padded, preprocessing=prepared), {f"{stem}{_COUNTER}": torch.tensor(0) for stem in stems} | dict(state)


def rows(encoder: ResNet) -> list[NameRow]:
    pairs = _unit("stem", "initial_conv", "stem_norm", "initial_batchnorm")
    for i, stage in enumerate(encoder.stages.children()):
        for j, block in enumerate(stage.children()):
            ours, theirs = f"stages.{i}.{j}", f"block_group_{i}/~/block_{j}/~"
            for k in range(len(block.convs)):  # pyright: ignore[reportArgumentType]
                pairs |= _unit(f"{ours}.convs.{k}", f"{theirs}/conv_{k}", f"{ours}.norms.{k}", f"{theirs}/batchnorm_{k}")
            if block.shortcut is not None:
                short = f"{theirs}/shortcut_conv", f"{ours}.shortcut_norm", f"{theirs}/shortcut_batchnorm"
                pairs |= _unit(f"{ours}.shortcut", *short)
    return same(pairs)


def _unit(conv: str, their_conv: str, norm: str, their_norm: str) -> dict[str, str]:
    return {
        f"{conv}.weight": f"{their_conv}/w",
        f"{norm}.weight": f"{their_norm}/scale",
        f"{norm}.bias": f"{their_norm}/offset",
        f"{norm}.running_mean": f"{their_norm}/~/mean_ema/average",
        f"{norm}.running_var": f"{their_norm}/~/var_ema/average",
        f"{norm}.num_batches_tracked": f"{their_norm}/~/{_COUNTER}",
    }
