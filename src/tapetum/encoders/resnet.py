"""ResNet: residual networks of convolutions and batch norm (Deep Residual Learning, arXiv 1512.03385, section 3 and table 1).

    images --7x7, stride 2--> norm, ReLU --3x3 max, stride 2--> stages 0 to 3 (strides 4, 8, 16, 32) --mean--> pooled

    block     x --1x1--3x3--1x1--+--ReLU-->      each convolution followed by batch norm; x is projected where the size changes
              \\__________________/

Differs from the paper like all ResNets since torchvision's ("v1.5"): a bottleneck that halves the size does so in its
3x3 convolution, not in the first 1x1.
"""

from collections.abc import Iterable
from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.encoders.config import Preprocessing
from tapetum.encoders.convolutional import ConvolutionalEncoder, make_head
from tapetum.encoders.convolutional_config import ResNetConfig
from tapetum.layers.convolution import PointwiseConv2d, SameConv2d, convolve, convolve_chain, pad_same
from tapetum.layers.transformer import AdapterNames


class ResidualBlock(nn.Module):
    """Convolutions with batch norm and a shortcut, with ReLU after their sum."""

    def __init__(self, inward: int, width: int, stride: int, block: str, padding: str = "even"):
        super().__init__()
        # kernel, stride and channels of each convolution
        plan = (
            ((3, stride, width), (3, 1, width)) if block == "basic" else ((1, 1, width), (3, stride, width), (1, 1, 4 * width))
        )
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = inward
        for kernel, step, outward in plan:
            self.convs.append(convolution(channels, outward, kernel, step, padding))
            self.norms.append(nn.BatchNorm2d(outward))
            channels = outward
        project = stride != 1 or inward != channels
        self.shortcut = PointwiseConv2d(inward, channels, stride, bias=False) if project else None
        self.shortcut_norm = nn.BatchNorm2d(channels) if project else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Compute ReLU of branch and shortcut together."""
        pairs, last = zip(cast(Iterable[nn.Conv2d], self.convs), self.norms, strict=True), self.convs[-1]
        inner = convolve_chain(x, [(conv, norm, None if conv is last else "relu") for conv, norm in pairs])
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = convolve(x, self.shortcut, self.shortcut_norm)
        return F.relu_(inner + x)


def convolution(inward: int, outward: int, kernel: int, stride: int, padding: str) -> nn.Conv2d:
    """Make a convolution without bias; only those of stride 2 differ in their padding."""
    if padding == "same" and stride > 1:
        return SameConv2d(inward, outward, kernel, stride)
    return nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)


class ResNet(ConvolutionalEncoder):
    """A ResNet; its four maps have strides 4 to 32 (with a 3x3 stem 1 to 8), its pooled vector is the mean of the last."""

    config: ResNetConfig
    adapter_names = AdapterNames()

    def __init__(self, config: ResNetConfig, preprocessing: Preprocessing):
        super().__init__(config, preprocessing)
        large = config.stem == "7x7"
        self.stem = convolution(3, config.stem_width, *((7, 2) if large else (3, 1)), config.padding)
        self.strides = (4, 8, 16, 32) if large else (1, 2, 4, 8)
        self.stem_norm = nn.BatchNorm2d(config.stem_width)
        self.stages = nn.Sequential()
        inward = config.stem_width
        for i, (depth, outward) in enumerate(zip(config.depths, config.channels, strict=True)):
            stage = nn.Sequential()
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(ResidualBlock(inward, config.stem_width * 2**i, stride, config.block, config.padding))
                inward = outward
            self.stages.append(stage)
        self.map_channels, self.width = config.channels, config.channels[-1]
        self.head = make_head(self.width, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def see(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        x = convolve(images, self.stem, self.stem_norm, "relu")
        if self.config.stem == "7x7":
            # zeros around are as good as nothing there: no value is below
            x = F.max_pool2d(pad_same(x, 3, 2), 3, 2) if self.config.padding == "same" else F.max_pool2d(x, 3, 2, 1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
