"""The adapters themselves: small networks that add to the output of a module of the trunk.

    series       y + up(phi(down(y)))              tokens and vectors: a bottleneck (arXiv 1902.00751)
                 y + A y                           maps: a 1x1 convolution (arXiv 1705.08045)
    parallel     y + up(phi(down(x)))              tokens: beside the module (arXiv 2205.13535)
                 y + A x                           maps: a 1x1 convolution beside a k x k one (arXiv 1803.10082)
    bottleneck   y + up(phi(depthwise3x3(phi(down(y)))))       maps; ours
    lora         weight + up down                  linear layers (arXiv 2106.09685)

With `kernel=3` the convolutions A are 3x3 and include a pixel's neighbours.

x is the module's input and y its output. `up` and `A` start at 0: then y + 0 is y, bit for bit. All are plain layers, also in a
network without norms: standardising a weight of zeros would divide by almost zero.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.convolution import PointwiseConv2d
from tapetum.layers.transformer import make_activation
from tapetum.systems.adapters.config import Site


class Adapter(nn.Module):
    """Base class of the module at a site."""

    def __init__(self, site: Site):
        super().__init__()
        self.site = site
        self.scale = nn.Parameter(torch.ones(())) if site.scale else None

    @property
    def last(self) -> nn.Module:
        """Find the layer that starts at 0."""
        return self.get_submodule("mix" if isinstance(self, Pointwise | Conv3x3) else "up")

    def forward(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Change the module's output `y`, based on it or on the module's input `x`."""
        added = self.added(x, y)
        return y + (added if self.scale is None else self.scale * added)

    def added(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Compute what is added to `y`."""
        raise NotImplementedError


class Bottleneck(Adapter):
    """Two linear layers with an activation between, on the channels of tokens, vectors or maps."""

    def __init__(self, site: Site):
        super().__init__(site)
        self.activation = make_activation(site.activation)
        self.down = nn.Linear(site.inward if site.form == "parallel" else site.width, site.rank)
        self.up = nn.Linear(site.rank, site.width)

    def added(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Compute what is added to `y`."""
        source = x if self.site.form == "parallel" else y
        rows = (source.movedim(1, -1) if self.site.axis == 1 else source).contiguous()
        # of rows in another order torch multiplies one or all at a time, and so rounds, by whether the weight learns
        added = self.up(self.activation(self.down(rows)))
        return added.movedim(-1, 1) if self.site.axis == 1 else added


class ConvBottleneck(Adapter):
    """A projection to fewer channels, a depthwise 3x3, and back."""

    def __init__(self, site: Site):
        super().__init__(site)
        self.activation = make_activation(site.activation)
        self.down = nn.Conv2d(site.width, site.rank, 1)
        self.depthwise = nn.Conv2d(site.rank, site.rank, 3, padding=1, groups=site.rank)
        self.up = nn.Conv2d(site.rank, site.width, 1)

    def added(self, x: Float[Tensor, "b i H W"], y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Compute what is added to `y`."""
        return self.up(self.activation(self.depthwise(self.activation(self.down(y)))))


class Pointwise(Adapter):
    """A 1x1 convolution without bias, beside a convolution or after a module."""

    def __init__(self, site: Site):
        super().__init__(site)
        inward = site.inward if site.form == "parallel" else site.width
        self.mix = PointwiseConv2d(inward, site.width, site.stride, bias=False)

    def added(self, x: Float[Tensor, "b i H W"], y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Compute what is added to `y`; beside a convolution, from the pixels at the centre of its kernel."""
        if self.site.form == "series":
            return self.mix(y)
        first = self.site.offset
        return self.mix(x[:, :, first:, first:])[:, :, : y.shape[2], : y.shape[3]]


class Conv3x3(Adapter):
    """A 3x3 convolution without bias, beside a convolution or after a module; values outside the map are 0."""

    def __init__(self, site: Site):
        super().__init__(site)
        inward = site.inward if site.form == "parallel" else site.width
        self.mix = nn.Conv2d(inward, site.width, 3, site.stride, bias=False)

    def added(self, x: Float[Tensor, "b i H W"], y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Compute what is added to `y`; beside a convolution, around the pixels at the centre of its kernel."""
        first, source = (0, y) if self.site.form == "series" else (self.site.offset, x)
        around = F.pad(source, (1, 1, 1, 1))[:, :, first:, first:]
        return self.mix(around)[:, :, : y.shape[2], : y.shape[3]]


class LowRankAdapter(Adapter):
    """A low-rank update of a linear layer's weight: up @ down."""

    def __init__(self, site: Site):
        super().__init__(site)
        self.down = nn.Linear(site.inward, site.rank, bias=False)
        self.up = nn.Linear(site.rank, site.width, bias=False)

    def weight(self, frozen: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        """Add the update to the trunk's weight."""
        added = self.up.weight @ self.down.weight
        return frozen + (added if self.scale is None else self.scale * added)


def make_adapter(site: Site, generator: torch.Generator, near_zero: float | None = None) -> Adapter:
    """Make the adapter of a site, float32 on the CPU, with its last layer 0, or random with deviation `near_zero`.

    Other weights are uniform up to 1 / sqrt(fan-in), as in torch's layers, drawn only from `generator`; biases are 0.
    """
    with torch.random.fork_rng(devices=[]):
        adapter = undrawn(site)
    for module in adapter.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(module.weight.numel() // len(module.weight))
            if module is not adapter.last:
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            elif near_zero is None:
                nn.init.zeros_(module.weight)
            else:
                nn.init.normal_(module.weight, 0.0, near_zero, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return adapter


def undrawn(site: Site) -> Adapter:
    """Make the adapter of a site with torch's default weights."""
    return _kind(site)(site)


def _kind(site: Site) -> type[Adapter]:
    if site.form == "lora":
        return LowRankAdapter
    if site.form == "bottleneck":
        return ConvBottleneck
    if site.rank:
        return Bottleneck
    return Pointwise if site.kernel == 1 else Conv3x3
