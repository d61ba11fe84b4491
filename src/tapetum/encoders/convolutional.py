"""The base class of convolutional encoders: from maps to `Features`, and convolutions padded as TensorFlow and JAX do."""

import re

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.encoders.features import Encoder, Features


class ConvolutionalEncoder(Encoder):
    """An encoder that outputs its last map: its cells are the tokens, their mean is the pooled vector."""

    stages: nn.Sequential
    """Stages of blocks, finest first."""

    def see(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        """Compute the maps of prepared images, finest first; the last one is pooled."""
        raise NotImplementedError

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Features:
        """Encode prepared images of any size, in the precision of the weights; see `prepare`."""
        maps = self.see(self.checked(images).to(next(self.parameters()).dtype))
        last = maps[-1]
        rows, columns = last.shape[-2:]
        return Features(tokens=last.flatten(2).mT, grid=(int(rows), int(columns)), pooled=last.mean((2, 3)), maps=maps)

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names of all stages' blocks, after each of which an adapter fits, in the order of the forward pass."""
        return tuple(name for name, _ in self.named_modules() if re.fullmatch(r"stages\.\d+\.\d+", name))


def make_head(width: int, classes: int) -> nn.Linear | None:
    """Make the classifier of a pooled vector, or none for 0 classes."""
    return nn.Linear(width, classes) if classes else None


def pad_same(x: Float[Tensor, "b c h w"], kernel: int, stride: int) -> Float[Tensor, "b c h2 w2"]:
    """Pad with zeros so that a convolution gives ceil(side / stride) cells; odd padding goes to the right and the bottom.

    >>> import torch
    >>> pad_same(torch.ones(1, 1, 4, 5), 3, 2).shape  # 4: one more below; 5: one on either side
    torch.Size([1, 1, 5, 7])
    """

    def missing(side: int) -> int:
        return max((-(-side // stride) - 1) * stride + kernel - side, 0)

    down, right = (missing(int(side)) for side in x.shape[-2:])
    if not down and not right:
        return x
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))


class SameConv2d(nn.Conv2d):
    """A convolution with square kernel and without bias, padded by `pad_same`."""

    def __init__(self, inward: int, outward: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inward, outward, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Convolve."""
        return super().forward(pad_same(input, self.kernel_size[0], self.stride[0]))
