"""Fast inference on a CPU: layers that are swapped once, after a model is loaded.

    model = speed_up(load(...))         products by oneDNN, a GELU applied before the result leaves the cache;
                                        convolutions together with their norms and ReLUs
    model = speed_up(..., copies=True)  and weights in the order in which oneDNN reads them, if memory allows
    model = quantise(load(...))         weights in 8 bits, a quarter or half of the memory

Models themselves use plain `nn.Linear`; a swapped layer has the same weights under the same names, and computes like torch
during training, under autocast, under torch.compile and on other devices.

In float32 MKL, with which torch (2.13) multiplies on x86, runs AMD processors at less than half of their capacity, while
oneDNN reaches the limit; on Intel MKL is faster. The processor's maker decides, not a measurement: the last
bits of the two differ, and all processes and runs on a machine must agree. In bfloat16 torch also uses oneDNN.
`benchmarks/linear_kernels.py` measures each.

For a step of few tokens oneDNN converts a plain weight to its own order each time, which takes longer than the product: a copy
in that order is up to twice as fast. If a weight has changed since, its copy is not used.
"""

import os
from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.devices import free_bytes, processor
from tapetum.core.errors import BadInput
from tapetum.layers.transformer import TokenEmbedding

M = TypeVar("M", bound=nn.Module)
Kernel = Literal["onednn", "torch"]
VARIABLE = "TAPETUM_LINEAR"
"""Of the environment: the kernel to take in place of that of the processor."""


def choose_kernel(vendor: str, override: str | None = None) -> Kernel:
    """Choose the kernel of float32 products for a maker of processors. Raises BadInput for an unknown `override`.

    >>> choose_kernel("AuthenticAMD"), choose_kernel("GenuineIntel"), choose_kernel("GenuineIntel", "onednn")
    ('onednn', 'torch', 'onednn')
    """
    for kernel in get_args(Kernel):
        if override == kernel:
            return kernel
    if override:
        raise BadInput(f"{VARIABLE} is {override!r}; it may be {' or '.join(get_args(Kernel))}, or not set")
    return "torch" if vendor == "GenuineIntel" else "onednn"


_THERE = torch.backends.mkldnn.is_available()
_ONEDNN: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if _THERE else None
_REORDER: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None) if _THERE else None
_BFLOAT16 = _THERE and torch.ops.mkldnn._is_mkldnn_bf16_supported()
KERNEL: Kernel = choose_kernel(processor().vendor, os.environ.get(VARIABLE)) if _ONEDNN is not None else "torch"
"""The kernel of float32 products in this process."""
_REORDERED_FOR = 4
"""Rows for which the order of a copy is chosen; it does for one and for many, too."""
_SHARE = 8
"""The part of the free memory that copies may take: one in eight."""


def onednn_suits(x: Tensor) -> bool:
    """Check whether a product with `x` currently goes through oneDNN."""
    if _ONEDNN is None or x.device.type != "cpu" or not x.numel():
        return False
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    return KERNEL == "onednn" if x.dtype == torch.float32 else x.dtype == torch.bfloat16 and _BFLOAT16


class _Copy:
    """A weight in oneDNN's order, valid for the values that the weight had; it is neither copied nor saved."""

    def __init__(self, weight: Tensor):
        assert _REORDER is not None
        self.source, self.version = weight.detach(), weight._version  # the source is kept so that its memory is not used again
        self.packed = _REORDER(self.source, _REORDERED_FOR)

    def fits(self, weight: Tensor) -> bool:
        return self.source.data_ptr() == weight.data_ptr() and self.version == weight._version

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


class _Swapped(nn.Module):
    """What `speed_up` adds to layers: a copy of the weight, or none."""

    weight: nn.Parameter
    copied: _Copy | None = None

    def multiply(self, x: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
        kind, approximation = ("gelu", "tanh") if gelu else ("none", "")
        weight = self.copied.packed if self.copied is not None and self.copied.fits(self.weight) else self.weight
        return _ONEDNN(x.contiguous(), weight, bias, kind, [], approximation)  # type: ignore[misc]


class FastLinear(nn.Linear, _Swapped):
    """A linear layer by oneDNN where suitable, with a GELU (tanh) after it if `gelu` is set."""

    gelu: bool = False

    def forward(self, input: Float[Tensor, "*s i"]) -> Float[Tensor, "*s o"]:
        """Compute the layer."""
        if onednn_suits(input) and input.dtype == self.weight.dtype:
            return self.multiply(input, self.bias, self.gelu)
        y = F.linear(input, self.weight, self.bias)
        return F.gelu(y, approximate="tanh") if self.gelu else y


class FastEmbedding(TokenEmbedding, _Swapped):
    """A token embedding whose logits are computed by oneDNN where suitable."""

    def project(self, x: Float[Tensor, "*s c"], count: int | None = None) -> Float[Tensor, "*s v"]:
        if onednn_suits(x) and (self.copied is not None or count is None):
            return self.multiply(x, None)[..., :count]
        return super().project(x, count)


def speed_up(module: M, copies: bool = False) -> M:
    """Swap linear layers and token embeddings of a module for fast ones, and let `convolve` fuse, for inference; returns it.

    A GELU (tanh) that is registered right after a linear layer, as in `Mlp` or `nn.Sequential`, becomes part of it. With
    `copies` all of their weights are copied, if this takes at most an eighth of the free memory: steps of few tokens are then
    faster. Calling it again makes copies that are missing or outdated.
    """
    from tapetum.layers.convolution import FusedConvolution

    fast: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: FastLinear, TokenEmbedding: FastEmbedding}
    for part in module.modules():
        part.__class__ = fast.get(type(part), type(part))
        if isinstance(part, nn.Conv2d) and part.bias is None and not hasattr(part, "fused"):
            part.fused = FusedConvolution()  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    for part in module.modules():
        before: nn.Module | None = None
        for name, child in list(part.named_children()):
            if isinstance(child, nn.GELU) and child.approximate == "tanh" and isinstance(before, FastLinear):
                before.gelu = True
                setattr(part, name, nn.Identity())
            before = child
    if copies:
        _copy_weights([part for part in module.modules() if isinstance(part, _Swapped)])
    return module


def _copy_weights(parts: list[_Swapped]) -> None:
    kinds = {torch.bfloat16} if _BFLOAT16 else set()
    kinds |= {torch.float32} if KERNEL == "onednn" else set()
    suit = all(part.weight.device.type == "cpu" and part.weight.dtype in kinds and part.weight.numel() for part in parts)
    new = [part for part in parts if part.copied is None or not part.copied.fits(part.weight)]
    free = free_bytes()
    if _REORDER is None or not suit or free is None or sum(part.weight.nbytes for part in new) > free / _SHARE:
        return
    for part in new:
        part.copied = _Copy(part.weight)


_FEW = 32
"""Tokens up to which the product of bytes is faster than making the weight float again."""
_VECTOR, _ROWS = 64, 16
"""Of which a weight has a multiple where it is multiplied as bytes."""
_BYTES_PRODUCT = getattr(torch, "_weight_int8pack_mm", None)
"""Private to torch; its numbers on the way in and out are bfloat16."""


class _Int8(nn.Module):
    """Rows of bytes, each with its scale: weight-only quantisation, symmetric around 0, by the largest magnitude of a row."""

    def __init__(self, weight: Float[Tensor, "o i"]):
        super().__init__()
        # Scales that bfloat16 can hold, so that both ways of computing have the same weight.
        scale = (weight.detach().float().abs().amax(1) / 127).clamp_min(1e-12).bfloat16().float()
        bytes_ = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
        for part, rounded, by in zip(weight.detach().split(4096), bytes_.split(4096), scale.split(4096), strict=True):
            rounded.copy_((part.float() / by[:, None]).round_().clamp_(-127, 127))
        self.bytes_: Tensor
        self.scale: Tensor
        self.scale_bfloat16: Tensor
        self.register_buffer("bytes_", bytes_)
        self.register_buffer("scale", scale.to(weight.dtype))
        self.register_buffer("scale_bfloat16", scale.bfloat16(), persistent=False)

    def weight(self, count: int | None = None) -> Float[Tensor, "o i"]:
        """Compute the rounded weight."""
        return self.bytes_[:count].to(self.scale.dtype).mul_(self.scale[:count, None])

    def project(self, x: Float[Tensor, "*s i"], count: int | None = None) -> Float[Tensor, "*s o"]:
        """Multiply by the weight, or by its first `count` rows; in the precision of the original weight."""
        x = x.to(self.scale.dtype)
        flat = x.reshape(-1, x.shape[-1])
        bytes_ = self.bytes_[:count]
        # The product reads whole vectors, past the end of rows of other lengths.
        whole = bytes_.shape[1] % _VECTOR == 0 and bytes_.shape[0] % _ROWS == 0
        if _BYTES_PRODUCT is not None and whole and 0 < len(flat) <= _FEW and x.device.type == "cpu":
            y = _BYTES_PRODUCT(flat.bfloat16(), bytes_, self.scale_bfloat16[:count])
            return y.to(x.dtype).reshape(*x.shape[:-1], -1)
        if onednn_suits(x):
            return _ONEDNN(x.contiguous(), self.weight(count), None, "none", [], "")  # type: ignore[misc]
        return F.linear(x, self.weight(count))


class Int8Linear(_Int8):
    """A linear layer with byte weights."""

    def __init__(self, layer: nn.Linear):
        super().__init__(layer.weight)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)

    def forward(self, x: Float[Tensor, "*s i"]) -> Float[Tensor, "*s o"]:
        y = self.project(x)
        return y if self.bias is None else y + self.bias


class Int8Embedding(_Int8):
    """A token embedding with byte weights."""

    def __init__(self, embedding: nn.Embedding):
        super().__init__(embedding.weight)

    def forward(self, ids: Int[Tensor, "*s"]) -> Float[Tensor, "*s i"]:
        return F.embedding(ids, self.bytes_).to(self.scale.dtype) * self.scale[ids][..., None]


def quantise(module: M) -> M:
    """Replace all linear layers and token embeddings within a module by byte versions, for inference only; returns it."""
    for name, part in list(module.named_children()):
        if type(part) in (nn.Linear, FastLinear):
            assert isinstance(part, nn.Linear)
            fast = Int8Linear(part)
            setattr(module, name, nn.Sequential(fast, nn.GELU("tanh")) if getattr(part, "gelu", False) else fast)
        elif isinstance(part, nn.Embedding):
            setattr(module, name, Int8Embedding(part))
        else:
            quantise(part)
    return module.eval()


def renew_scales(module: nn.Module) -> None:
    """Recompute the values derived from the scales, after these were written."""
    for part in module.modules():
        if isinstance(part, _Int8):
            part.scale_bfloat16 = part.scale.bfloat16()


def is_quantised(module: nn.Module) -> bool:
    """Check whether a module has byte weights."""
    return any(isinstance(part, _Int8) for part in module.modules())
