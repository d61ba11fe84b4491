"""The image network of TAPIR, and the mixer that refines tracks.

The image network is a pre-activation residual network with instance norm, applied to each frame separately.

Source: TAPIR (arXiv 2306.08637), section 3.1 and appendix; the extra convolution blocks are those of BootsTAP
(arXiv 2402.00847), section 3.3. Unusual: strided convolutions pad only at the right and at the bottom (the "SAME" rule
of JAX for even sizes), there is no norm after the last block, and every feature vector is scaled to length one.

    frames  f 3 h w --stem, stride 2--> groups 0, 1 --> hires (stride 4) --> groups 2, 3 --> extra blocks --> lowres (stride 8)

The PIPs mixer has depthwise convolutions over time and per-frame MLPs, for one point at a time (section 3.2). Unusual: layer
norms have a scale and no bias, and the temporal branch widens each channel into `expansion` copies that are summed again after
the second convolution. A causal mixer pads only the past; its state is the past that it needs, two steps for each convolution.

Sequences are [s, t, c], channels last; the convolutions view them as channels-last images of one row, which needs no copy.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.convolution import InstanceNorm, PointwiseConv2d
from tapetum.layers.precision import is_autocast, unrounded
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.types import BlockState


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


def over_time(
    x: Float[Tensor, "s t c"], weight: Float[Tensor, "o i 3"], bias: Float[Tensor, " o"], padding: int
) -> Float[Tensor, "s t2 o"]:
    """Convolve channels-last sequences with three taps, in as many groups as the weight asks for; on a CPU in float32, where
    such narrow convolutions take half of bfloat16's time (backward: a quarter)."""
    short = is_autocast(x) or weight.dtype.itemsize < 4
    if short and x.device.type == "cpu":
        with torch.autocast("cpu", enabled=False):
            return over_time(x.float(), weight.float(), bias.float(), padding)
    groups = x.shape[-1] // weight.shape[1]
    image = x.transpose(1, 2)[:, :, None]
    return F.conv2d(image, weight[:, :, None], bias, padding=(0, padding), groups=groups).squeeze(2).transpose(1, 2)


def _taps(layer: nn.Conv1d, copies: int) -> Float[Tensor, "3 e c"]:
    """The weights of a depthwise convolution, with all channels of one tap and one copy adjacent."""
    return layer.weight.float().view(-1, copies, 3).permute(2, 1, 0).contiguous()


class MixerBlock(nn.Module):
    """One temporal branch and one per-frame branch, both added to the stream."""

    def __init__(self, width: int, expansion: int, causal: bool):
        super().__init__()
        wide = width * expansion
        self.expansion = expansion
        self.padding = 0 if causal else 1
        self.time_norm = nn.LayerNorm(width, bias=False)
        self.time_up = nn.Conv1d(width, wide, 3, groups=width)
        self.time_down = nn.Conv1d(wide, wide, 3, groups=wide)
        self.channel_norm = nn.LayerNorm(width, bias=False)
        self.channel_up, self.gelu = nn.Linear(width, wide), nn.GELU("tanh")
        self.channel_down = nn.Linear(wide, width)

    def start(self, sequences: int) -> BlockState:
        weight = self.time_up.weight
        wide, width = self.time_down.in_channels, self.time_up.in_channels
        return weight.new_zeros(sequences, 2, width), weight.new_zeros(sequences, 2, wide)

    def forward(self, x: Float[Tensor, "s t c"], state: BlockState | None) -> tuple[Float[Tensor, "s t c"], BlockState | None]:
        inner = self.time_norm(x.to(self.time_norm.weight.dtype))
        if state is not None and x.shape[1] == 1:
            change, state = self._single_step(inner[:, 0].float(), state)
        else:
            change, state = self._over_clip(inner, state)
        x = x + change
        inner = self.channel_norm(x.to(self.channel_norm.weight.dtype))
        return x + self.channel_down(self.gelu(self.channel_up(inner))), state

    def _over_clip(
        self, inner: Float[Tensor, "s t c"], state: BlockState | None
    ) -> tuple[Float[Tensor, "s t c"], BlockState | None]:
        up, down = self.time_up, self.time_down
        assert up.bias is not None
        assert down.bias is not None
        if state is not None:
            inner = torch.cat([state[0].to(inner.dtype), inner], 1)
        wide = F.gelu(over_time(inner, up.weight, up.bias, self.padding), approximate="tanh")
        if state is not None:
            before = state[1].unflatten(-1, (self.expansion, -1)).transpose(-1, -2).flatten(2)
            wide = torch.cat([before.to(wide.dtype), wide], 1)
            state = inner[:, -2:], wide[:, -2:].unflatten(-1, (-1, self.expansion)).transpose(-1, -2).flatten(2)
        # A depthwise convolution whose copies are summed: one that reads all copies of a channel.
        weight = down.weight.view(-1, self.expansion, down.weight.shape[-1])
        return over_time(wide, weight, down.bias.view(-1, self.expansion).sum(1), self.padding), state

    def _single_step(self, inner: Float[Tensor, "s c"], state: BlockState) -> tuple[Float[Tensor, "s 1 c"], BlockState]:
        """The same for the next single frame, as products and sums in float32: convolutions this small are slow."""
        up, down, copies = self.time_up, self.time_down, self.expansion
        assert up.bias is not None
        assert down.bias is not None
        taps, bias = _taps(up, copies), up.bias.float().view(-1, copies).T
        first, second = state[0].float()[:, :, None].unbind(1)
        wide = torch.addcmul(bias, first, taps[0]).addcmul(second, taps[1]).addcmul(inner[:, None], taps[2])  # s e c
        wide = F.gelu(wide, approximate="tanh")
        taps, bias = _taps(down, copies), down.bias.float().view(-1, copies).sum(1)
        before, last = state[1].float().unflatten(-1, (copies, -1)).unbind(1)
        change = (before * taps[0]).addcmul(last, taps[1]).addcmul(wide, taps[2]).sum(1)
        after = torch.stack([state[0][:, 1], inner.to(state[0].dtype)], 1)
        after_wide = torch.stack([state[1][:, 1], wide.flatten(1).to(state[1].dtype)], 1)
        return (change + bias)[:, None], (after, after_wide)


class Mixer(nn.Module):
    """Map position, logits, features and correlations of a point in every frame to their updates; float32 between blocks."""

    def __init__(self, config: TapirConfig):
        super().__init__()
        outward = 4 + config.hires_dim + config.lowres_dim
        inward = outward + 49 * (config.pyramid_level + 2)
        self.causal = config.causal
        self.inward = nn.Linear(inward, config.mixer_width)
        self.blocks = nn.ModuleList(
            MixerBlock(config.mixer_width, config.mixer_expansion, config.causal) for _ in range(config.mixer_blocks)
        )
        self.norm = nn.LayerNorm(config.mixer_width, bias=False)
        self.outward = nn.Linear(config.mixer_width, outward)

    def start(self, sequences: int) -> tuple[BlockState, ...]:
        return tuple(block.start(sequences) for block in self.blocks if isinstance(block, MixerBlock))

    def forward(
        self, x: Float[Tensor, "s t i"], state: tuple[BlockState, ...] | None = None
    ) -> tuple[Float[Tensor, "s t o"], tuple[BlockState, ...] | None]:
        """Compute the correction, and the state after the last frame of a causal mixer, whose past is zero without a state
        (else None)."""
        x = self.inward(x.to(self.inward.weight.dtype)).float()
        states = state or (self.start(len(x)) if self.causal else [None] * len(self.blocks))
        after = []
        for block, before in zip(self.blocks, states, strict=True):
            x, now = block(x, before)
            after.append(now)
        with unrounded(x):  # lower precision would round positions to a tenth of a pixel
            x = F.layer_norm(x, x.shape[-1:], self.norm.weight.float())
            out = F.linear(x, self.outward.weight.float(), self.outward.bias.float())
        return out, tuple(after) if self.causal else None
