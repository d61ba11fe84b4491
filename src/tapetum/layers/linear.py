"""Linear layers at the speed of the processor.

On a CPU torch (2.13) multiplies float32 matrices with MKL, which drives AMD processors at less than half of what they can do;
oneDNN, which torch uses for convolutions, reaches the limit there, and can apply a GELU before the result leaves the cache. So
where nothing is to be learned `linear` goes through oneDNN: 2.3 times faster on an AMD EPYC, three times with GELU. Large
float32 layers that learn do too, with gradients of their own: 1.6 to 1.8 times faster. On Intel processors float32 layers are
torch's own, see `tapetum.layers.kernels`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers import kernels, packed

_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
_FAST = {torch.float32} | ({torch.bfloat16} if _ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported() else set())


def linear(x: Float[Tensor, "... i"], layer: nn.Module, gelu: bool = False) -> Float[Tensor, "... o"]:
    """Return `layer` of `x`, then a GELU (the tanh approximation) if asked for; in the precision of the layer's weight.

    A layer that is not a plain `nn.Linear` (quantised, adapted) computes by itself.

    >>> layer = nn.Linear(3, 2)
    >>> x = torch.ones(5, 3)
    >>> with torch.no_grad():
    ...     torch.testing.assert_close(linear(x, layer, gelu=True), F.gelu(layer(x), approximate="tanh"))
    """
    if type(layer) is nn.Linear:
        x = in_precision(x, layer.weight)
        if _suits(x):
            return _fast(x, layer.weight, layer.bias, gelu)
        if _learns_fast(x, layer):
            x = _Learned.apply(x, layer.weight, layer.bias)  # type: ignore[assignment]
            return F.gelu(x, approximate="tanh") if gelu else x
        if not torch.compiler.is_compiling():  # rows in another order torch would round by whether the weight learns
            x = x.contiguous()
    x = layer(x)
    return F.gelu(x, approximate="tanh") if gelu else x


def times(x: Float[Tensor, "... i"], weight: Float[Tensor, "o i"], rows: int | None = None) -> Float[Tensor, "... o"]:
    """Multiply by a weight that belongs to no layer, such as a table of tokens, or by its first rows; in its precision."""
    x = in_precision(x, weight)
    if not _suits(x):
        return F.linear(x, weight if rows is None else weight[:rows])
    if rows is None or packed.found(weight) is not None:
        return _fast(x, weight, None, False)[..., :rows]
    return _fast(x, weight[:rows], None, False)


def _fast(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    kind = ("gelu", "tanh") if gelu else ("none", "")
    held = packed.found(weight)
    return _ONEDNN(x.contiguous(), weight if held is None else held, bias, kind[0], [], kind[1])  # type: ignore[misc]


class _Learned(torch.autograd.Function):
    """A linear layer whose three products, one forward and two back, are oneDNN's; of gradients there are gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _ONEDNN(x.contiguous(), weight.contiguous(), bias, "none", [], "")  # type: ignore[misc]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        rows, back = x.flatten(0, -2), gradient.flatten(0, -2)
        wanted = ctx.needs_input_grad
        to_x = _Learned.apply(gradient, weight.T.contiguous(), None) if wanted[0] else None
        to_weight = _Learned.apply(back.T.contiguous(), rows.T.contiguous(), None) if wanted[1] else None
        return to_x, to_weight, back.sum(0) if wanted[2] else None  # type: ignore[return-value]


_LEAST = 1 << 22
"""Multiply-adds of a layer that learns for which oneDNN is worth its way; smaller ones are torch's."""


_ROWS = 32
"""Rows for which it is; for fewer, bringing the weight into order for the gradients takes longer than the products."""


def _learns_fast(x: Tensor, layer: nn.Linear) -> bool:
    plain = _ONEDNN is not None and type(x) is Tensor and type(layer.weight) is nn.Parameter and x.device.type == "cpu"
    if not plain or kernels.LINEAR != "onednn" or x.dtype != torch.float32 or x.ndim < 2:
        return False
    if x.numel() * layer.out_features < _LEAST or x.numel() < _ROWS * layer.in_features:
        return False
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:  # for which the layer must be called
        return False
    return torch.is_grad_enabled() and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())


def in_precision(x: Tensor, weight: Tensor) -> Tensor:
    """Return x in the weight's precision; under autocast as it is, since the product chooses one."""
    autocast = x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)
    return x if autocast else x.to(weight.dtype)


def _suits(x: Tensor) -> bool:
    plain = _ONEDNN is not None and x.device.type == "cpu" and x.dtype in _FAST and x.numel() > 0
    plain = plain and (x.dtype != torch.float32 or kernels.LINEAR == "onednn")
    return plain and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())
