"""Layers of convolutional networks that avoid slow or broken kernels of torch on a CPU; and features standardised.

`convolve` computes a convolution with its norm and activation, in one pass over memory where that is possible; `convolve_chain`
several in a row, whose inner results nothing else reads: in 8 bits these stay bytes.

`PointwiseConv2d`: in torch 2.13 the backward pass of a strided 1x1 convolution of few channels in channels-last order ends in a
segmentation fault wherever oneDNN computes it (seen on Intel with AMX and on AMD with AVX-512, float32, with a trainable
weight). A 1x1 convolution with a stride equals an unstrided one over every n-th row and column, so that is computed instead.

`InstanceNorm` keeps images channels-last, forward and backward: `torch.nn.InstanceNorm2d` copies channels-last images to
channels-first and back, which costs more than the convolutions of a small network. A group norm with one channel per group is
the same function and has a channels-last kernel; its backward kernel is slow, so it is written out as dx = a*dy + b*x + c with
numbers a, b, c for each image and channel.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

Activation = Literal["relu", "relu6"]
_POINTWISE: dict[Activation | None, tuple[str, list[float]]] = {
    None: ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}
_CONVOLVE: Callable[..., Tensor] | None = None
_CONVOLVE_BYTES: Callable[..., Tensor] | None = getattr(torch.ops.onednn, "qconv2d_pointwise", None)
_FUSED_DTYPES = {torch.float32}
if torch.backends.mkldnn.is_available():
    _CONVOLVE = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        _FUSED_DTYPES.add(torch.bfloat16)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution without padding; names and shapes of its weights are those of `nn.Conv2d`.

    >>> layer = PointwiseConv2d(3, 8, stride=2)
    >>> layer.weight.shape, layer(layer.weight.new_ones(1, 3, 5, 6)).shape
    (torch.Size([8, 3, 1, 1]), torch.Size([1, 8, 3, 3]))
    """

    def __init__(self, inward: int, outward: int, stride: int = 1, groups: int = 1, bias: bool = True):
        super().__init__(inward, outward, 1, stride, groups=groups, bias=bias)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Compute the convolution of every `stride`-th pixel, the first one included."""
        rows, columns = self.stride
        if self.stride != (1, 1):  # in the order of the input, which the steps hide where sides are odd
            order = torch.channels_last if input.stride(1) == 1 else torch.contiguous_format
            input = input[:, :, ::rows, ::columns].contiguous(memory_format=order)
        return F.conv2d(input, self.weight, self.bias, groups=self.groups)


def pad_same(x: Float[Tensor, "b c h w"], kernel: int, stride: int) -> Float[Tensor, "b c h2 w2"]:
    """Pad with zeros so that a convolution gives ceil(side / stride) cells; odd padding goes to the right and the bottom.

    >>> import torch
    >>> pad_same(torch.ones(1, 1, 4, 5), 3, 2).shape  # 4: one more below; 5: one on either side
    torch.Size([1, 1, 5, 7])
    """
    left, right, top, bottom = pads = same_padding(x.shape[-2:], kernel, stride)
    return F.pad(x, pads) if left or right or top or bottom else x


def same_padding(shape: Sequence[int], kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Compute how many zeros `pad_same` puts left, right, above and below an image of (rows, columns)."""
    down, right = (max((-(-int(side) // stride) - 1) * stride + kernel - int(side), 0) for side in shape)
    return right // 2, right - right // 2, down // 2, down - down // 2


class SameConv2d(nn.Conv2d):
    """A convolution with square kernel and without bias, padded by `pad_same`."""

    def __init__(self, inward: int, outward: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inward, outward, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Convolve."""
        return super().forward(pad_same(input, self.kernel_size[0], self.stride[0]))


class _Bytes(NamedTuple):
    """Numbers as bytes, (values - zero) * scale."""

    values: UInt8[Tensor, "b c h w"]
    scale: float
    zero: int

    @classmethod
    def of(cls, x: Float[Tensor, "b c h w"], scale: float, zero: int) -> "_Bytes":
        x = x.contiguous(memory_format=torch.channels_last)
        return cls(x.mul(1 / scale).add_(zero + 0.5).clamp_(0, 255).to(torch.uint8), scale, zero)

    def floats(self) -> Float[Tensor, "b c h w"]:
        return self.values.float().sub_(self.zero).mul_(self.scale)


class FusedConvolution:
    """A convolution that computes its batch norm and activation before its result leaves the cache (oneDNN), for inference.

    The norm is folded into a copy of the weight, which is made again where a tensor has changed; it is not saved.
    """

    def __init__(self) -> None:
        self.made_of: tuple[Any, ...] = ()
        self.weight, self.bias = torch.empty(0), torch.empty(0)

    def __reduce__(self) -> tuple[type["FusedConvolution"], tuple[()]]:
        return FusedConvolution, ()

    def suits(self, x: "Tensor | _Bytes", conv: nn.Conv2d, norm: nn.Module) -> bool:
        """Check whether the fused function currently computes what the layers would: no gradient, no hooks, an ordinary CPU."""
        if _CONVOLVE is None or not self.takes(x, conv):
            return False
        learning = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
        if learning or torch.compiler.is_compiling() or torch._C._is_tracing():
            return False
        hooks = conv._forward_hooks or conv._forward_pre_hooks or norm._forward_hooks or norm._forward_pre_hooks
        known = type(norm) is nn.BatchNorm2d and not norm.training and norm.affine and norm.running_mean is not None
        return known and not hooks and not conv.weight.is_inference()  # such weights have no version

    def takes(self, x: "Tensor | _Bytes", conv: nn.Conv2d) -> bool:
        """Check whether the fused function is there for such an input."""
        if isinstance(x, _Bytes) or x.device.type != "cpu":
            return False
        return x.dtype == conv.weight.dtype and x.dtype in _FUSED_DTYPES and x.numel() > 0

    def __call__(
        self, x: Any, conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: Activation | None, inside: bool = False
    ) -> Any:
        """Compute the layers; what stays `inside` may be of the function's own kind."""
        self._fold(conv, norm)
        x = x.contiguous(memory_format=torch.channels_last)  # twice as fast; the outputs, which are the next inputs, have it
        x, padding = self.padded(x, conv)
        kind, bounds = _POINTWISE[activation]
        stride, dilation = list(conv.stride), list(conv.dilation)
        return _CONVOLVE(  # type: ignore[misc]
            x, self.weight, self.bias, padding, stride, dilation, conv.groups, kind, bounds, ""
        )

    @staticmethod
    def padded(x: Tensor, conv: nn.Conv2d, zero: int = 0) -> tuple[Tensor, list[int]]:
        """Pad by hand what the function can't, as it differs from side to side; returns the padding that is left to it."""
        if not isinstance(conv, SameConv2d):
            return x, [int(each) for each in conv.padding]
        left, right, top, bottom = pads = same_padding(x.shape[-2:], conv.kernel_size[0], conv.stride[0])
        return (x, [top, left]) if (top, left) == (bottom, right) else (F.pad(x, pads, value=zero), [0, 0])

    def _fold(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        parts = [conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var]
        made_of = tuple((each.data_ptr(), each._version) for each in parts if each is not None)
        if made_of == self.made_of:
            return
        weight, scale, shift, mean, variance = (each.detach().double() for each in parts if each is not None)
        scale = scale / torch.sqrt(variance + norm.eps)
        dtype = conv.weight.dtype
        folded = (weight * scale[:, None, None, None]).to(dtype)
        self.weight, self.bias = folded.contiguous(memory_format=torch.channels_last), (shift - mean * scale).to(dtype)
        self.made_of = made_of


class Int8Convolution(FusedConvolution):
    """The same in 8 bits (oneDNN): inputs are bytes of one scale, weights bytes with a scale for each filter, symmetric.

    While `measuring` it computes in floats and widens the range of its inputs and the largest of its outputs; then it rounds to
    these, and what lies outside is clipped. Results are floats but for those that stay inside a chain.
    """

    def __init__(self, low: float = 0.0, high: float = 0.0, top: float = 0.0, measuring: bool = True):
        super().__init__()
        self.low, self.high, self.top, self.measuring = low, high, top, measuring
        self.scales, self.packed, self.packed_for = torch.empty(0), torch.empty(0), (0.0, 0)

    def __reduce__(self) -> tuple[type["Int8Convolution"], tuple[float, float, float, bool]]:
        return Int8Convolution, (self.low, self.high, self.top, self.measuring)

    def takes(self, x: Tensor | _Bytes, conv: nn.Conv2d) -> bool:
        return isinstance(x, _Bytes) or (x.dtype == torch.float32 and super().takes(x, conv))

    def __call__(
        self, x: Any, conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: Activation | None, inside: bool = False
    ) -> Any:
        if self.measuring:
            y = super().__call__(x, conv, norm, activation)
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
            self.top = max(self.top, float(y.max()))
            return y
        if not isinstance(x, _Bytes):
            scale = max(self.high - self.low, 1e-6) / 255
            x = _Bytes.of(x, scale, round(-self.low / scale))
        values, padding = self.padded(x.values, conv, x.zero)
        place = list(conv.stride), padding, list(conv.dilation), conv.groups
        self._pack(x, conv, norm, place)
        kind, bounds = _POINTWISE[activation]
        scale, dtype = 1.0, torch.float32
        if inside and activation is not None:  # bytes end where ReLU6 does, too
            top = min(self.top, 6.0) if activation == "relu6" else self.top
            scale, dtype, kind, bounds = max(top, 1e-6) / 255, torch.uint8, "relu", []
        zeros = torch.zeros(len(self.scales), dtype=torch.int64)
        y = _CONVOLVE_BYTES(  # type: ignore[misc]
            values, x.scale, x.zero, self.packed, self.scales, zeros, self.bias, *place, scale, 0, dtype, kind, bounds, ""
        )
        return y if dtype == torch.float32 else _Bytes(y, scale, 0)

    def _pack(self, x: _Bytes, conv: nn.Conv2d, norm: nn.BatchNorm2d, place: tuple[Any, ...]) -> None:
        before = self.made_of
        self._fold(conv, norm)
        if self.made_of is before and self.packed_for == x[1:]:
            return
        self.scales = self.weight.abs().amax((1, 2, 3)).clamp_(min=1e-12) / 127
        rounded = (self.weight / self.scales[:, None, None, None]).round_().to(torch.int8)
        self.packed = torch.ops.onednn.qconv_prepack(rounded, self.scales, x.scale, x.zero, *place, list(x.values.shape))
        self.packed_for = x[1:]


def convolve(
    x: Float[Tensor, "b c h w"], conv: nn.Conv2d, norm: nn.Module, activation: Activation | None = None
) -> Float[Tensor, "b c2 h2 w2"]:
    """Compute a convolution without bias, its norm and activation; in one where `tapetum.layers.cpu.speed_up` allows it."""
    return _convolve(x, conv, norm, activation, inside=False)


def convolve_chain(
    x: Float[Tensor, "b c h w"], layers: Sequence[tuple[nn.Conv2d, nn.Module, Activation | None]]
) -> Float[Tensor, "b c2 h2 w2"]:
    """Compute convolutions in a row, each as `convolve` does."""
    for number, layer in enumerate(layers, 1):
        x = _convolve(x, *layer, inside=number < len(layers))
    return x


def _convolve(x: Any, conv: nn.Conv2d, norm: nn.Module, activation: Activation | None, inside: bool) -> Any:
    fused: FusedConvolution | None = getattr(conv, "fused", None)
    if fused is not None and fused.suits(x, conv, norm):
        return fused(x, conv, cast(nn.BatchNorm2d, norm), activation, inside)
    x = norm(conv(x.floats() if isinstance(x, _Bytes) else x))
    return x if activation is None else (F.relu if activation == "relu" else F.relu6)(x)


class _InstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        n, c, h, w = x.shape
        y, mean, rstd = torch.native_group_norm(x, weight, bias, n, c, h * w, c, eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (dy,) = grads
        x, weight, mean, rstd = ctx.saved_tensors
        cells = x.shape[2] * x.shape[3]
        mean, rstd = mean.float(), rstd.float()
        total = dy.sum((2, 3), dtype=torch.float32)
        along = rstd * ((dy * x).sum((2, 3), dtype=torch.float32) - mean * total)
        a = weight.float() * rstd
        b = -a * rstd * along / cells
        c = -a * total / cells - b * mean
        a, b, c = (k.to(x.dtype)[:, :, None, None] for k in (a, b, c))
        dx = torch.addcmul(torch.addcmul(c, b, x), a, dy)
        return dx, along.sum(0).to(weight.dtype), total.sum(0).to(weight.dtype), None


class InstanceNorm(nn.Module):
    """Normalise every channel of every image to mean 0 and variance 1, then scale and shift it; eps 1e-5."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if torch.is_grad_enabled() and x.device.type == "cpu":
            return _InstanceNorm.apply(x, self.weight, self.bias, 1e-5)
        return torch.group_norm(x, x.shape[1], self.weight, self.bias, 1e-5)


class Standardize(nn.Module):
    """Features minus their mean, divided by their standard deviation, both found by `measure`; not trained."""

    mean: Float[Tensor, " width"]
    deviation: Float[Tensor, " width"]

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def measure(self, features: Float[Tensor, "n width"]) -> None:
        """Compute the statistics of these features; a constant feature keeps its scale."""
        deviation = features.float().std(0)
        self.mean.copy_(features.float().mean(0))
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def forward(self, features: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Normalise the features, to mean 0 and standard deviation 1 if they are distributed like the measured ones."""
        return (features - self.mean) / self.deviation
