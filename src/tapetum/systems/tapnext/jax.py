"""The JAX checkpoints of TAPNext and BootsTAPNext, .npz archives, under the public PyTorch names."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe

_PARTS = "query", "key", "value"
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
        public = _public_name(name)
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


def _public_name(name: str) -> str:
    for pattern, template in _JAX_RULES:
        if match := re.fullmatch(pattern, name):
            public = match.expand(template).replace("/", ".")
            kept = ".ssm_block." in public and public.endswith(".scale")  # of an RMS norm
            return public if kept else re.sub(r"\.(kernel|scale)$", ".weight", public)
    raise BadInput(f"the array {name!r} is not of TAPNext's JAX checkpoint; is it another network's?")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file, without running code. Raises BadInput for any other file."""
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give a file of weights")
    try:
        with np.load(no_pipe(path), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise BadInput(f"{path} is no archive of arrays ({str(error)[:100]}); get it again") from error
