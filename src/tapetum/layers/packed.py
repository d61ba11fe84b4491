"""Copies of weights in the order in which oneDNN reads them.

For a step of few tokens oneDNN (as in torch 2.13) brings a plain weight into its own order each time, which takes longer than
the product: with bfloat16 a product is more than twice as fast with weights that are in that order already, with float32 and
several rows up to twice. The copies cost as much memory as the weights, so they are made only where there is plenty, and are
gone when the weights are.

A copy belongs to the numbers that a weight had: where it was changed since, `pack` makes it anew. Between `pack` and the end of
`using_packed` weights are not to be changed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from tapetum.core.memory import free_bytes
from tapetum.layers import kernels

_REORDER = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None) if torch.backends.mkldnn.is_available() else None
_KINDS = (torch.float32, torch.bfloat16) if _REORDER and torch.ops.mkldnn._is_mkldnn_bf16_supported() else (torch.float32,)
"""Precisions for which this processor has such products; elsewhere oneDNN refuses with an error."""
_ROWS = 4
"""Tokens for which the order is chosen; it does for one and for many, too."""
_SAMPLE = 512
_PART = 8
"""The part of the memory that is free, of which copies may take so much: one in eight."""


class _Copy(NamedTuple):
    packed: Tensor
    place: int
    version: int
    sample: Tensor

    def is_of(self, weight: Tensor) -> bool:
        same = self.place == weight.data_ptr() and self.version == weight._version
        return same and torch.equal(self.sample, _sample(weight))  # `module.to` changes numbers without a new version


_HELD = WeakTensorKeyDictionary()
_STATE = threading.local()


def is_packed(weight: Tensor) -> bool:
    """Tell whether there is a copy of a weight as it is now."""
    held = _HELD.get(weight)
    return held is not None and held.is_of(weight)


def has_copies(module: nn.Module) -> bool:
    """Tell whether copies of the weights of a module were made, though they may be old."""
    weight = next((part.weight for part in module.modules() if type(part) is nn.Linear), None)
    return weight is not None and weight in _HELD


def pack(module: nn.Module) -> bool:
    """Make copies of the weights of all linear layers and tables of tokens in a module, where that helps and there is room.

    Returns whether there are such copies now.
    """
    parts = [part for part in module.modules() if type(part) in (nn.Linear, nn.Embedding)]
    weights = [part.weight for part in parts if isinstance(part.weight, Tensor)]
    if _REORDER is None or not weights or not all(_suits(weight) for weight in weights):
        return False
    new = [weight for weight in weights if not is_packed(weight)]
    free = free_bytes()
    if new and (free is None or sum(weight.nbytes for weight in new) > free / _PART):
        return False
    with torch.no_grad():
        for weight in new:
            packed = _REORDER(weight.detach(), _ROWS)
            _HELD[weight] = _Copy(packed, weight.data_ptr(), weight._version, _sample(weight))
    return True


def _suits(weight: Tensor) -> bool:
    plain = weight.device.type == "cpu" and weight.dtype in _KINDS and weight.is_contiguous()
    used = weight.dtype != torch.float32 or kernels.LINEAR == "onednn"
    return plain and used and not weight.is_inference() and weight.numel() > 0


def _sample(weight: Tensor) -> Tensor:
    flat = weight.detach().view(-1)
    return flat[:: max(1, len(flat) // _SAMPLE)].clone()


@contextmanager
def using_packed(wanted: bool = True) -> Iterator[None]:
    """Let `tapetum.layers.linear` use the copies that there are, in this thread."""
    before = getattr(_STATE, "on", False)
    _STATE.on = wanted
    try:
        yield
    finally:
        _STATE.on = before


def found(weight: Tensor) -> Tensor | None:
    """Give the copy of a weight within `using_packed`, if there is one."""
    if not getattr(_STATE, "on", False):
        return None
    held = _HELD.get(weight)
    return None if held is None else held.packed
