"""EfficientNet-Lite: EfficientNet for small machines (arXiv 1905.11946, table 1; the changes of the Lite networks are in their
authors' public code, https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).

Inverted residual blocks: channels are expanded six times, filtered separately (depthwise), and projected back.

    block   x --1x1, x6--norm, ReLU6--depthwise--norm, ReLU6--1x1--norm--+-->
            \\______________ where size and channels stay ________________/

Differs from EfficientNet as the Lite networks do: ReLU6 instead of Swish, no squeeze-excite, and neither the stem, the depth of
the first and last stage, nor the last convolution (1280 channels) scale with the network. Convolutions are padded as TensorFlow
does. Stochastic depth and dropout, used in their training, are not included.
"""

import math

from jaxtyping import Float
from torch import Tensor, nn

from tapetum.encoders.config import Preprocessing
from tapetum.encoders.convolutional import ConvolutionalEncoder, make_head
from tapetum.encoders.convolutional_config import EfficientNetLiteConfig
from tapetum.layers.convolution import Activation, SameConv2d, convolve, convolve_chain
from tapetum.layers.transformer import AdapterNames

STEM_WIDTH, FINAL_WIDTH = 32, 1280
LITE0 = (
    # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
MAPPED = (1, 2, 4)
"""Stages whose outputs are maps, of strides 4, 8 and 16."""


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Make a batch norm with the constants of the published networks."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand, filter within channels, project; the input is added if it has the same shape."""

    def __init__(self, inward: int, outward: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = inward * expansion
        self.residual = stride == 1 and inward == outward
        self.expand = SameConv2d(inward, inner, 1) if expansion > 1 else None
        self.expand_norm = batch_norm(inner) if expansion > 1 else None
        self.depthwise = SameConv2d(inner, inner, kernel, stride, inner)
        self.depthwise_norm = batch_norm(inner)
        self.project = SameConv2d(inner, outward, 1)
        self.project_norm = batch_norm(outward)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        layers: list[tuple[nn.Conv2d, nn.Module, Activation | None]]
        layers = [(self.depthwise, self.depthwise_norm, "relu6"), (self.project, self.project_norm, None)]
        if self.expand is not None and self.expand_norm is not None:
            layers.insert(0, (self.expand, self.expand_norm, "relu6"))
        inner = convolve_chain(x, layers)
        return x + inner if self.residual else inner


class EfficientNetLite(ConvolutionalEncoder):
    """An EfficientNet-Lite; its maps have strides 4, 8 and 16, and 32 after the last convolution, whose mean is pooled."""

    config: EfficientNetLiteConfig
    adapter_names = AdapterNames(inside="expand", first_stage=1)
    strides = (4, 8, 16, 32)

    def __init__(self, config: EfficientNetLiteConfig, preprocessing: Preprocessing):
        super().__init__(config, preprocessing)
        self.stem, self.stem_norm = SameConv2d(3, STEM_WIDTH, 3, 2), batch_norm(STEM_WIDTH)
        self.stages = nn.Sequential()
        inward, channels = STEM_WIDTH, []
        for i, (blocks, kernel, stride, expansion, base) in enumerate(LITE0):
            outward, stage = config.channels(base), nn.Sequential()
            for j in range(blocks if i in (0, len(LITE0) - 1) else config.blocks(blocks)):
                stage.append(InvertedResidual(inward, outward, kernel, stride if j == 0 else 1, expansion))
                inward = outward
            self.stages.append(stage)
            channels.append(outward)
        self.final, self.final_norm = SameConv2d(inward, FINAL_WIDTH, 1), batch_norm(FINAL_WIDTH)
        self.map_channels = (*(channels[i] for i in MAPPED), FINAL_WIDTH)
        self.width = FINAL_WIDTH
        self.head = make_head(self.width, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def see(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        """Compute the maps of three stages, and the last after the final convolution."""
        x = convolve(images, self.stem, self.stem_norm, "relu6")
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in MAPPED:
                maps.append(x)
        return (*maps, convolve(x, self.final, self.final_norm, "relu6"))
