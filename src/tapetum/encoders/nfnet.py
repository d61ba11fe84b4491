"""NFNet: a residual network without normalisation (High-Performance Large-Scale Image Recognition Without Normalization, arXiv
2102.06171, section 4; the scaled weight standardisation is that of arXiv 2101.08692, section 4.3).

Fixed scaling replaces batch norm: every filter is standardised to mean 0 and variance 1 / fan-in, an activation is multiplied
by the gain that preserves the variance of a standard normal input, and each block divides its input by its expected standard
deviation (times `beta`), whose square grows by alpha^2 with each block of a stage.

    block   x --gelu-- * beta --+--1x1--3x3--3x3--1x1-- squeeze-excite -- * 2 * skip gain * alpha --+-->
                                \\__ mean of 2x2, 1x1, where the size changes; else x itself ________/

Differs from the paper: 1e-5 is added to the variance to avoid division by 0, as in timm; the public JAX code instead clamps
variance times fan-in to at least 1e-4. Dropout and stochastic depth, used in the paper's training, are not included.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.encoders.config import Preprocessing
from tapetum.encoders.convolutional import ConvolutionalEncoder, make_head
from tapetum.encoders.convolutional_config import NFNetConfig
from tapetum.layers.convolution import pad_same
from tapetum.layers.transformer import AdapterNames

GELU_GAIN = 1.7015043497085571
"""One over the standard deviation of GELU of a standard normal number."""
_EPSILON = 1e-5


class ScaledConv2d(nn.Conv2d):
    """A convolution whose filters are standardised, then scaled by a learned gain per channel; odd kernels keep the size."""

    def __init__(self, config: NFNetConfig, inward: int, outward: int, kernel: int, stride: int = 1, groups: int = 1):
        same = config.same_padding and stride > 1
        super().__init__(inward, outward, kernel, stride, 0 if same else kernel // 2, groups=groups)
        self.same = same
        self.scale = (GELU_GAIN if config.gamma_in_weights else 1.0) * (self.weight.numel() // len(self.weight)) ** -0.5
        self.gain = nn.Parameter(torch.ones(outward, 1, 1, 1))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        nn.init.zeros_(self.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        x = pad_same(input, self.kernel_size[0], self.stride[0]) if self.same else input
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        weight = (self.weight - mean) * ((variance + _EPSILON).rsqrt() * (self.gain * self.scale))
        return self._conv_forward(x, weight, self.bias)


class SqueezeExcite(nn.Module):
    """Scale each channel by a number from 0 to 1 that is computed from the means of all channels (arXiv 1709.01507)."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 2, 1)
        self.excite = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))).sigmoid()


class NormFreeBlock(nn.Module):
    """Activation, then four convolutions and squeeze-excite beside a shortcut."""

    def __init__(self, config: NFNetConfig, inward: int, outward: int, stride: int, beta: float):
        super().__init__()
        inner = outward // 2
        groups = inner // config.group_width
        self.alpha, self.beta, self.stride = config.alpha, beta, stride
        self.gain = 1.0 if config.gamma_in_weights else GELU_GAIN
        self.shortcut = ScaledConv2d(config, inward, outward, 1) if stride != 1 or inward != outward else None
        self.convs = nn.ModuleList(
            (
                ScaledConv2d(config, inward, inner, 1),
                ScaledConv2d(config, inner, inner, 3, stride, groups),
                ScaledConv2d(config, inner, inner, 3, 1, groups),
                ScaledConv2d(config, inner, outward, 1),
            )
        )
        self.excite = SqueezeExcite(outward)
        self.skip_gain = nn.Parameter(torch.zeros(())) if config.skip_gain else None
        if self.skip_gain is None:
            nn.init.zeros_(self.convs[-1].gain)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        active = F.gelu(x) * (self.gain * self.beta)
        if self.shortcut is not None:
            pooled = F.avg_pool2d(active, 2, 2, ceil_mode=True, count_include_pad=False) if self.stride > 1 else active
            x = self.shortcut(pooled)
        inner = self.convs[0](active)
        for conv in self.convs[1:]:
            inner = conv(F.gelu(inner) * self.gain)
        inner = 2.0 * self.excite(inner)
        if self.skip_gain is not None:
            inner = inner * self.skip_gain
        return x + self.alpha * inner


class NFNet(ConvolutionalEncoder):
    """An NFNet; its maps have strides 4, 8 and 16, and 32 after the last convolution, whose mean is the pooled vector."""

    config: NFNetConfig
    adapter_names = AdapterNames("stem.0", "stem.3")
    strides = (4, 8, 16, 32)

    def __init__(self, config: NFNetConfig, preprocessing: Preprocessing):
        super().__init__(config, preprocessing)
        self.gain = 1.0 if config.gamma_in_weights else GELU_GAIN
        self.stem = nn.ModuleList()
        inward = 3
        for part, stride in ((8, 2), (4, 1), (2, 1), (1, 2)):
            self.stem.append(ScaledConv2d(config, inward, config.stem_width // part, 3, stride))
            inward = config.stem_width // part
        self.stages, variance = nn.Sequential(), 1.0
        for i, (depth, outward) in enumerate(zip(config.depths, config.channels, strict=True)):
            stage = nn.Sequential()
            for j in range(depth):
                stage.append(NormFreeBlock(config, inward, outward, 2 if i > 0 and j == 0 else 1, variance**-0.5))
                variance = (1.0 if j == 0 else variance) + config.alpha**2
                inward = outward
            self.stages.append(stage)
        self.final = ScaledConv2d(config, inward, config.final_width, 1)
        self.map_channels = (*config.channels[:3], config.final_width)
        self.width = config.final_width
        self.head = make_head(self.width, config.classes)
        if self.head is not None:
            nn.init.normal_(self.head.weight, 0.0, 0.01)
            nn.init.zeros_(self.head.bias)

    def see(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        """Compute the maps of the first three stages, and the last after its convolution and activation."""
        x = self.stem[0](images)
        for conv in self.stem[1:]:
            x = conv(F.gelu(x) * self.gain)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        maps[-1] = F.gelu(self.final(x)) * self.gain
        return tuple(maps)
