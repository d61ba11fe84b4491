"""1x1 convolutions of any stride that do not crash on any processor.

In torch 2.13 the backward pass of a strided 1x1 convolution of few channels in channels-last order ends in a segmentation fault
wherever oneDNN computes it (seen on Intel with AMX and on AMD with AVX-512, float32, with a trainable weight). A 1x1
convolution with a stride equals an unstrided one over every n-th row and column, so that is computed instead.
"""

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
