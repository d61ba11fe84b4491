"""Weights of TAPNext: renaming from the public names of PyTorch and JAX, and our own files.

Public checkpoints of TAPNext++ are state dicts of a training program, under `state_dict`, names behind `tapnext.`; those of
TAPNext and BootsTAPNext are archives of JAX (.npz), whose names become those of PyTorch first. The sizes of the image are told
by the table of positions alone, which the public class keeps.
"""

import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.files import same_place
from tapetum.hub.headed import load_headed, save_headed
from tapetum.hub.loading import header_of
from tapetum.hub.state_dicts import check_numbers, read_npz, read_state
from tapetum.systems.tapnext.config import ARCHITECTURES, TapNextConfig, Variant
from tapetum.systems.tapnext.layers import embed_pixels
from tapetum.systems.tapnext.model import TapNext

HEADER = "tapnext"
TABLE = "query_pos_embed"
"""The public class keeps embedded positions of all pixels under this name; we compute them."""
_PLAIN = {
    "patches.weight": "lin_proj.weight",
    "patches.bias": "lin_proj.bias",
    "position_embedding": "image_pos_emb",
    "query_token": "point_query_token",
    "mask_token": "mask_token",
    "unknown_token": "unknown_token",
    "norm.weight": "encoder_norm.weight",
    "norm.bias": "encoder_norm.bias",
    **{
        f"{head}.{layer}.{leaf}": f"{head}.{layer}.{leaf}"
        for head in ("coordinate_head", "visible_head")
        for layer in (0, 1, 3, 4, 6)
        for leaf in ("weight", "bias")
    },
}
_RECURRENT = "ssm_block.recurrent_block"
_IN_BLOCK = {
    "temporal.norm.weight": "ssm_block.temporal_pre_norm.scale",
    "temporal.mlp_norm.weight": "ssm_block.channel_pre_norm.scale",
    "temporal.conv_weight": f"{_RECURRENT}.conv_1d.w",
    "temporal.conv_bias": f"{_RECURRENT}.conv_1d.b",
    "temporal.lru.decay": f"{_RECURRENT}.rg_lru.a_param",
    "temporal.lru.input_gate.weight": f"{_RECURRENT}.rg_lru.input_gate.w",
    "temporal.lru.input_gate.bias": f"{_RECURRENT}.rg_lru.input_gate.b",
    "temporal.lru.decay_gate.weight": f"{_RECURRENT}.rg_lru.a_gate.w",
    "temporal.lru.decay_gate.bias": f"{_RECURRENT}.rg_lru.a_gate.b",
    "temporal.mlp.gate_up.weight": "ssm_block.mlp_block.ffw_up.w",
    "temporal.mlp.gate_up.bias": "ssm_block.mlp_block.ffw_up.b",
    **{
        f"{ours}.{leaf}": f"{theirs}.{leaf}"
        for ours, theirs in (
            ("temporal.gate", f"{_RECURRENT}.linear_y"),
            ("temporal.value", f"{_RECURRENT}.linear_x"),
            ("temporal.out", f"{_RECURRENT}.linear_out"),
            ("temporal.mlp.out", "ssm_block.mlp_block.ffw_down"),
            ("spatial.attention_norm", "vit_block.ln_1"),
            ("spatial.mlp_norm", "vit_block.ln_2"),
            ("spatial.attention.out", "vit_block.self_attention.out_proj"),
            ("spatial.mlp.hidden", "vit_block.mlp.0"),
            ("spatial.mlp.out", "vit_block.mlp.3"),
        )
        for leaf in ("weight", "bias")
    },
}
"""Our name to the public one; of one block, less what stands before."""
_PACKED = "vit_block.self_attention.in_proj_"
"""Queries, keys and values of attention are one tensor, in that order."""
_PARTS = "query", "key", "value"
_FIRST = "lin_proj.weight"
_MARKS = "ssm_block.recurrent_block.rg_lru.a_param", "ssm_block/recurrent_block/rg_lru/a_param"


def has_names_of_tapnext(names: Collection[str]) -> bool:
    """Check whether tensors of these names are of TAPNext, as published in PyTorch or JAX."""
    return any(name.endswith(_MARKS) for name in names)


def from_official(
    state_dict: Mapping[str, Tensor],
    heads: int | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    variant: Variant = "torch",
) -> TapNext:
    """Build the network of a public state dict, in evaluation mode, with all sizes that the shapes of its tensors give.

    Names are those of the public PyTorch class, with or without the prefix and the extras of a training program. By default
    there are as many `heads` as the gates of the recurrence have blocks, and `image_size` is that of the table of positions, or
    a square. Raises BadInput for a tensor that is missing, unknown or of a shape that does not fit.
    """
    state = _without_prefix(state_dict)
    config = _infer_config(state, heads, image_size, variant)
    tensors: dict[str, Tensor] = {}
    with torch.device("meta"):
        network = TapNext(config)
    expected = network.state_dict()
    for ours, theirs in _names(config.depth).items():
        tensor = _tensor(state, theirs)
        if ours.endswith("gate_up.weight") and tensor.ndim == 3:  # gate and up, (2, input, output), are one linear layer
            tensor = tensor.transpose(1, 2).flatten(0, 1)
        tensors[ours] = tensor.flatten() if ours.endswith(("gate_up.bias", "_token")) else tensor
    packed_names = [f"blocks.{k}.{_PACKED}{leaf}" for k in range(config.depth) for leaf in ("weight", "bias")]
    for name in packed_names:
        packed, leaf = _tensor(state, name), name.rpartition("_")[2]
        if len(packed) % 3:
            raise BadInput(f"{name} has {len(packed)} rows; they must be three times the width")
        for part, tensor in zip(_PARTS, packed.chunk(3), strict=True):
            tensors[f"{name.removesuffix(_PACKED + leaf)}spatial.attention.{part}.{leaf}"] = tensor
    if unknown := state.keys() - {*_names(config.depth).values(), TABLE, *packed_names}:
        raise BadInput(f"the tensor {min(unknown)!r} is not of a TAPNext network of {config.depth} blocks; is it another one?")
    for ours, want in expected.items():
        if tensors[ours].numel() != want.numel() or (tensors[ours].ndim > 1 and tensors[ours].shape[-1] != want.shape[-1]):
            raise BadInput(f"the tensor for {ours!r} is {tuple(tensors[ours].shape)} where {tuple(want.shape)} is wanted")
        check_numbers(ours, tensors[ours], want)
        tensors[ours] = tensors[ours].detach().float().reshape(want.shape).clone()
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_(True).eval()


def save(network: TapNext, path: str | os.PathLike[str], dtype: torch.dtype | None = None) -> None:
    """Write weights, rounded to `dtype`, and config to a safetensors file, atomically."""
    save_headed(network, path, HEADER, asdict(network.config), dtype)


def convert(source: Path, target: Path, architecture: str | None = None) -> None:
    """Write the published weights in `source` to the safetensors file `target`. An `architecture` of `config.ARCHITECTURES`
    knows the size of frames; None takes it as `load`.

    Raises BadInput if `source` has no such network, or `target` cannot be written.
    """
    if target.suffix != ".safetensors":
        raise BadInput(f"{target} must be named .safetensors: that is what is written")
    if same_place(target, source):
        raise BadInput(f"{source} would be overwritten by what is made of it: give --out another name")
    network = load(source)
    if architecture is not None:
        network.config = replace(network.config, video_size=ARCHITECTURES[architecture].video_size)
    save(network, target)


def load(path: str | os.PathLike[str], heads: int | None = None) -> TapNext:
    """Load the network in a file: ours (safetensors), or published (.pt, .ckpt, .pth, or .npz of JAX). No code in it is run.

    A published file with 512 in its name is taken to be for frames of 512x512. Raises BadInput for any other file.
    """
    path = Path(path)
    if HEADER in header_of(path):
        return cast(TapNext, load_headed(path, HEADER, "TAPNext network", _maker))
    if path.suffix == ".npz":
        state, heads = from_jax(read_npz(path))
        network = from_official(state, heads, variant="jax")
    else:
        network = from_official(read_state(path), heads)
    if "512" in path.stem:
        network.config = replace(network.config, video_size=(512, 512))
    return network


def _maker(about: Any) -> Callable[[], TapNext]:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
    config = TapNextConfig(**fields)
    return lambda: TapNext(config)


def _without_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    inner: Any = state_dict.get("state_dict", state_dict)
    if not isinstance(inner, Mapping):
        raise BadInput("the checkpoint has no state dict under state_dict; give names and tensors")
    prefixes = [name.removesuffix(_FIRST) for name in inner if name.endswith(_FIRST)]
    if not prefixes:
        raise BadInput(f"there is no tensor {_FIRST!r}; give the state dict of a TAPNext network")
    prefix = min(prefixes, key=len)
    return {name.removeprefix(prefix): tensor for name, tensor in inner.items() if name.startswith(prefix)}


def _tensor(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise BadInput(f"the weights lack the tensor {name!r}; give the whole state dict of a TAPNext network")
    return state[name]


def _names(depth: int) -> dict[str, str]:
    """Our names to the public ones, without what attention packs."""
    in_blocks = {f"blocks.{k}.{ours}": f"blocks.{k}.{theirs}" for k in range(depth) for ours, theirs in _IN_BLOCK.items()}
    return {**_PLAIN, **in_blocks}


def _infer_config(
    state: Mapping[str, Tensor], heads: int | None, image_size: tuple[int, int] | None, variant: Variant
) -> TapNextConfig:
    def shape(name: str, axes: int) -> torch.Size:
        tensor = _tensor(state, name)
        if tensor.ndim != axes:
            raise BadInput(f"the tensor {name!r} has shape {tuple(tensor.shape)}; it must have {axes} axes")
        return tensor.shape

    width, _, patch_h, patch_w = shape("lin_proj.weight", 4)
    blocks = [int(match[1]) for name in state if (match := re.match(r"blocks\.(\d+)\.", name))]
    taps, lru_width = shape(f"blocks.0.{_RECURRENT}.conv_1d.w", 2)
    gate_blocks = shape(f"blocks.0.{_RECURRENT}.rg_lru.a_gate.w", 3)[0]
    patches = shape("image_pos_emb", 3)[1]
    size = image_size or _image_size(state, patches, (patch_h, patch_w))
    return TapNextConfig(
        image_size=size,
        video_size=size,
        patch_size=(patch_h, patch_w),
        width=width,
        depth=max(blocks, default=0) + 1,
        heads=heads or gate_blocks,
        mlp_width=shape("blocks.0.vit_block.mlp.0.weight", 2)[0],
        lru_width=lru_width,
        gate_blocks=gate_blocks,
        gated_mlp_width=shape("blocks.0.ssm_block.mlp_block.ffw_up.w", 3)[2],
        taps=taps,
        head_width=shape("coordinate_head.0.weight", 2)[0],
        bins=shape("coordinate_head.6.weight", 2)[0] // 2,
        variant=variant,
    )


def _image_size(state: Mapping[str, Tensor], patches: int, patch: tuple[int, int]) -> tuple[int, int]:
    """Height and width: of the table, whose first column is sin(x) at pixels (x, y), row by row; else of a square."""
    if TABLE in state and state[TABLE].ndim == 3 and state[TABLE].shape[-1] >= 8:
        table = state[TABLE][0].float()
        starts = (table[:, 0] == 0).nonzero()[:, 0].tolist()  # x is 0
        width = starts[1] if len(starts) > 1 else len(table)
        size = len(table) // width, width
        if size[0] * width == len(table) and (table - _table(size, table.shape[-1])[0]).abs().max() < 0.01:
            return size
        raise BadInput(f"the tensor {TABLE!r} is not the table of sines of the public class; leave it out of the state dict")
    side = math.isqrt(patches)
    if side * side != patches:
        raise BadInput(f"{patches} patches are of no square image; give image_size, as from_official(..., image_size=(h, w))")
    return side * patch[0], side * patch[1]


def _table(size: tuple[int, int], width: int) -> Tensor:
    """Embedded positions of the centres of all pixels, (1, height * width, c)."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return embed_pixels(torch.stack([x, y], -1).flatten(0, 1), width)[None]


_JAX_BLOCK = r"backbone/Transformer/encoderblock_(\d+)"
_JAX_ATTENTION = re.compile(_JAX_BLOCK + r"/vit_block/MultiHeadDotProductAttention_0/(query|key|value|out)/(kernel|bias)")
_JAX_RULES = (
    (r"backbone/embedding/(kernel|bias)", r"lin_proj/\1"),
    (r"backbone/pos_embedding", "image_pos_emb"),
    (r"backbone/((mask|unknown|point_query)_token)", r"\1"),
    (r"backbone/Transformer/(encoder_norm/(scale|bias))", r"\1"),
    (_JAX_BLOCK + r"/(ssm_block/.*)", r"blocks/\1/\2"),
    (_JAX_BLOCK + r"/vit_block/LayerNorm_0/(scale|bias)", r"blocks/\1/vit_block/ln_1/\2"),
    (_JAX_BLOCK + r"/vit_block/LayerNorm_1/(scale|bias)", r"blocks/\1/vit_block/ln_2/\2"),
    (_JAX_BLOCK + r"/vit_block/MlpBlock_0/Dense_0/(kernel|bias)", r"blocks/\1/vit_block/mlp/0/\2"),
    (_JAX_BLOCK + r"/vit_block/MlpBlock_0/Dense_1/(kernel|bias)", r"blocks/\1/vit_block/mlp/3/\2"),
    (r"((visible|coordinate)_head)/layers_(\d)/(kernel|scale|bias)", r"\1/\3/\4"),
)
"""Name of an array of JAX as a pattern, the public PyTorch name with slashes as its replacement."""


def from_jax(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, Tensor], int]:
    """Rename and transpose the arrays of a JAX checkpoint to the public PyTorch names; also finds the attention heads.

    Raises BadInput for an array that does not belong to TAPNext.
    """
    state: dict[str, Tensor] = {}
    attention: dict[tuple[str, str, str], np.ndarray] = {}
    for name, array in arrays.items():
        if match := _JAX_ATTENTION.fullmatch(name):
            attention[match[1], match[2], match[3]] = array
            continue
        rules = ((re.fullmatch(pattern, name), template) for pattern, template in _JAX_RULES)
        public = next((match.expand(template).replace("/", ".") for match, template in rules if match), None)
        if public is None:
            raise BadInput(f"the array {name!r} is not of TAPNext's JAX checkpoint; is it another network's?")
        if not (".ssm_block." in public and public.endswith(".scale")):  # which is of an RMS norm
            public = re.sub(r"\.(kernel|scale)$", ".weight", public)
        if name.endswith("embedding/kernel"):
            array = array[0].transpose(3, 2, 0, 1)  # (1, h, w, 3, c)
        elif name.endswith("/kernel"):
            array = array.T
        state[public] = torch.from_numpy(np.array(array))
    heads = [array.shape[1] for (_, part, leaf), array in attention.items() if (part, leaf) == ("query", "kernel")]
    if not heads:
        raise BadInput("the arrays have no attention; give the checkpoint of a TAPNext network")
    for block in {block for block, _, _ in attention}:
        try:
            kernels = [attention[block, part, "kernel"] for part in _PARTS]
            biases = [attention[block, part, "bias"] for part in _PARTS]
            out, bias = attention[block, "out", "kernel"], attention[block, "out", "bias"]
        except KeyError as error:
            raise BadInput(f"block {block} lacks {error} of its attention; get the checkpoint again") from error
        before = f"blocks.{block}.vit_block.self_attention"
        packed = np.concatenate([kernel.reshape(len(kernel), -1).T for kernel in kernels])
        state[f"{before}.in_proj_weight"] = torch.from_numpy(packed)
        state[f"{before}.in_proj_bias"] = torch.from_numpy(np.concatenate([each.ravel() for each in biases]))
        state[f"{before}.out_proj.weight"] = torch.from_numpy(out.reshape(-1, out.shape[-1]).T.copy())
        state[f"{before}.out_proj.bias"] = torch.from_numpy(np.array(bias))
    return state, heads[0]
