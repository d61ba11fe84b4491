"""Weights in 8 bits, computing in floating point (weight-only quantisation): a quarter or half of the memory, faster steps.

Each row of a weight is divided by its largest magnitude / 127 and rounded, symmetrically around 0. A step of few tokens is
bound by the reading of weights, of which there are fewer bytes now; it goes through torch's `_weight_int8pack_mm`, whose
numbers on the way in and out are bfloat16. Many tokens are multiplied by the weight made float again, which costs some time.

For inference alone: what is quantised learns nothing.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.layers.linear import times

_FEW = 32
"""Tokens up to which the product of bytes is faster than making the weight float again."""
_VECTOR, _ROWS = 64, 16
"""Of which a weight has a multiple where it is multiplied as bytes."""
_PRODUCT = getattr(torch, "_weight_int8pack_mm", None)
"""Private to torch."""


class _Int8(nn.Module):
    """Rows of bytes, each with its scale."""

    def __init__(self, weight: Float[Tensor, "o i"]):
        super().__init__()
        # Scales that bfloat16 can hold, so that both ways of computing have the same weight.
        scale = (weight.detach().float().abs().amax(1) / 127).clamp_min(1e-12).bfloat16().float()
        bytes_ = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
        for part, held, by in zip(weight.detach().split(4096), bytes_.split(4096), scale.split(4096), strict=True):
            held.copy_((part.float() / by[:, None]).round_().clamp_(-127, 127))
        self.bytes_: Tensor
        self.scale: Tensor
        self.scale_bfloat16: Tensor
        self.register_buffer("bytes_", bytes_)
        self.register_buffer("scale", scale.to(weight.dtype))
        self.register_buffer("scale_bfloat16", scale.bfloat16(), persistent=False)

    def weight(self, rows: int | None = None) -> Float[Tensor, "o i"]:
        """Give the weight as it is after rounding."""
        return self.bytes_[:rows].to(self.scale.dtype).mul_(self.scale[:rows, None])

    def times(self, x: Float[Tensor, "*s i"], rows: int | None = None) -> Float[Tensor, "*s o"]:
        """Multiply by the weight, or by its first rows; in the precision of the weight before it was rounded."""
        x = x.to(self.scale.dtype)
        flat = x.reshape(-1, x.shape[-1])
        held = self.bytes_[:rows]
        # The product reads whole vectors, past the end of rows of other lengths.
        whole = held.shape[1] % _VECTOR == 0 and held.shape[0] % _ROWS == 0
        if _PRODUCT is None or not whole or not 0 < len(flat) <= _FEW or x.device.type != "cpu":
            return times(x, self.weight(rows))
        y = _PRODUCT(flat.bfloat16(), held, self.scale_bfloat16[:rows])
        return y.to(x.dtype).reshape(*x.shape[:-1], -1)


class Int8Linear(_Int8):
    """A linear layer of bytes."""

    def __init__(self, layer: nn.Linear):
        super().__init__(layer.weight)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)

    def forward(self, x: Float[Tensor, "*s i"]) -> Float[Tensor, "*s o"]:
        y = self.times(x)
        return y if self.bias is None else y + self.bias


class Int8Embedding(_Int8):
    """A table of tokens of bytes; `times` is the last layer where that is the table again."""

    def __init__(self, table: nn.Embedding):
        super().__init__(table.weight)

    def forward(self, ids: Int[Tensor, "*s"]) -> Float[Tensor, "*s i"]:
        return F.embedding(ids, self.bytes_).to(self.scale.dtype) * self.scale[ids][..., None]


def quantise(module: nn.Module) -> nn.Module:
    """Put bytes in the place of all linear layers and tables of tokens within a module, one after the other; returns it."""
    for name, part in list(module.named_children()):
        if type(part) is nn.Linear:
            setattr(module, name, Int8Linear(part))
        elif type(part) is nn.Embedding:
            setattr(module, name, Int8Embedding(part))
        else:
            quantise(part)
    return module.eval()


def renew_scales(module: nn.Module) -> None:
    """Make what is computed from the scales anew, once these were written."""
    for part in module.modules():
        if isinstance(part, _Int8):
            part.scale_bfloat16 = part.scale.bfloat16()


def is_quantised(module: nn.Module) -> bool:
    """Tell whether a module has weights of bytes."""
    return any(isinstance(part, _Int8) for part in module.modules())
