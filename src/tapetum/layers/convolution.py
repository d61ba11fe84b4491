"""Layers of convolutional networks that avoid slow or broken kernels of torch on a CPU; and features standardised.

`PointwiseConv2d`: in torch 2.13 the backward pass of a strided 1x1 convolution of few channels in channels-last order ends in a
segmentation fault wherever oneDNN computes it (seen on Intel with AMX and on AMD with AVX-512, float32, with a trainable
weight). A 1x1 convolution with a stride equals an unstrided one over every n-th row and column, so that is computed instead.

`InstanceNorm` keeps images channels-last, forward and backward: `torch.nn.InstanceNorm2d` copies channels-last images to
channels-first and back, which costs more than the convolutions of a small network. A group norm with one channel per group is
the same function and has a channels-last kernel; its backward kernel is slow, so it is written out as dx = a*dy + b*x + c with
numbers a, b, c for each image and channel.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


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
