"""The image network of TAPIR: a pre-activation residual network with instance norm, applied to each frame separately.

Source: TAPIR (arXiv 2306.08637), section 3.1 and appendix; the extra convolution blocks are those of BootsTAP
(arXiv 2402.00847), section 3.3. Unusual: strided convolutions pad only at the right and at the bottom (the "SAME" rule
of JAX for even sizes), there is no norm after the last block, and every feature vector is scaled to length one.

    frames  f 3 h w --stem, stride 2--> groups 0, 1 --> hires (stride 4) --> groups 2, 3 --> extra blocks --> lowres (stride 8)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.convolution import InstanceNorm, PointwiseConv2d
from tapetum.systems.tap.config import TapirConfig


def unit_length(features: Float[Tensor, "f c h w"]) -> Float[Tensor, "f c h w"]:
    """Scale the vector of every cell to length one; computed in float32, returned in the input's precision."""
    wide = features.float()
    return (wide * wide.square().sum(1, keepdim=True).clamp(min=1e-12).rsqrt()).to(features.dtype)


class PreActBlock(nn.Module):
    """Norm, ReLU, 3x3 convolution, twice, beside a shortcut that is projected where the size changes."""

    def __init__(self, inward: int, outward: int, stride: int, project: bool):
        super().__init__()
        self.stride = stride
        self.norm_0 = InstanceNorm(inward)
        self.conv_0 = nn.Conv2d(inward, outward, 3, stride, padding=1 if stride == 1 else 0, bias=False)
        self.norm_1 = InstanceNorm(outward)
        self.conv_1 = nn.Conv2d(outward, outward, 3, padding=1, bias=False)
        self.projection = PointwiseConv2d(inward, outward, stride, bias=False) if project else None

    def forward(self, x: Float[Tensor, "f c h w"]) -> Float[Tensor, "f c2 h2 w2"]:
        here = not torch.is_grad_enabled()  # with nothing to learn, results are changed in place: half the memory traffic
        active = F.relu(self.norm_0(x), inplace=here)
        shortcut = x if self.projection is None else self.projection(active)
        padded = active if self.stride == 1 else F.pad(active, (0, 1, 0, 1))
        inner = F.relu(self.norm_1(self.conv_0(padded)), inplace=here)
        inner = self.conv_1(inner)
        return inner.add_(shortcut) if here else inner + shortcut


class ExtraBlock(nn.Module):
    """Layer norm, then a wide two-convolution branch added to the normalised (not the original) features."""

    def __init__(self, channels: int, expansion: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Conv2d(channels, channels * expansion, 3, padding=1)
        self.narrow = nn.Conv2d(channels * expansion, channels, 3, padding=1)
        nn.init.zeros_(self.narrow.weight)  # as published: a new block starts as its norm alone

    def forward(self, x: Float[Tensor, "f c h w"]) -> Float[Tensor, "f c h w"]:
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.narrow(F.gelu(self.widen(x), approximate="tanh"))


class Backbone(nn.Module):
    """Frames to two maps of unit-length features: hires at stride 4 and lowres at stride 8."""

    def __init__(self, config: TapirConfig):
        super().__init__()
        self.stem = nn.Conv2d(3, config.stem_channels, 7, 2, bias=False)
        self.groups = nn.ModuleList()
        inward = config.stem_channels
        for channels, stride, blocks in zip(config.channels, config.strides, config.blocks_per_group, strict=True):
            group = [PreActBlock(inward, channels, stride, project=True)]
            group += [PreActBlock(channels, channels, 1, project=False) for _ in range(blocks - 1)]
            self.groups.append(nn.Sequential(*group))
            inward = channels
        self.extra = nn.Sequential(*(ExtraBlock(config.lowres_dim, config.extra_expansion) for _ in range(config.extra_convs)))

    def forward(self, frames: Float[Tensor, "f 3 h w"]) -> tuple[Float[Tensor, "f ch h4 w4"], Float[Tensor, "f cl h8 w8"]]:
        """Compute hires and lowres features of `frames` (values -1..1, height and width multiples of 8)."""
        x = self.stem(F.pad(frames.to(self.stem.weight.dtype), (2, 3, 2, 3)))
        hires = self.groups[1](self.groups[0](x))
        lowres = self.extra(self.groups[3](self.groups[2](hires)))
        return unit_length(hires), unit_length(lowres)

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names of the blocks after which an adapter fits, in forward order: `groups.0.0`, ..."""
        return tuple(f"groups.{i}.{j}" for i, group in enumerate(self.groups) for j in range(len(group)))  # pyright: ignore[reportArgumentType]


def backbone_in_chunks(
    backbone: Backbone, frames: Float[Tensor, "f 3 h w"], chunk: int | None
) -> tuple[Float[Tensor, "f ch h4 w4"], Float[Tensor, "f cl h8 w8"]]:
    """Run the backbone over `chunk` frames at a time, which bounds memory; None takes all at once."""
    if chunk is None or chunk >= len(frames):
        return backbone(frames)
    hires, lowres = zip(*(backbone(part) for part in frames.split(chunk)), strict=True)
    return torch.cat(hires), torch.cat(lowres)
