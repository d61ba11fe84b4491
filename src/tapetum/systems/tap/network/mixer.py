"""The PIPs mixer of TAPIR: depthwise convolutions over time and per-frame MLPs, for one point at a time.

Source: TAPIR (arXiv 2306.08637), section 3.2 and appendix. Unusual: layer norms have a scale and no bias, and the temporal
branch widens each channel into `expansion` copies that are summed again after the second convolution. A causal mixer pads
only the past; its state is the past that it needs, two steps for each convolution.

Sequences are [s, t, c], channels last; the convolutions view them as channels-last images of one row, which needs no copy.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.precision import is_autocast, unrounded
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.network.types import BlockState


def over_time(
    x: Float[Tensor, "s t c"], weight: Float[Tensor, "o i 3"], bias: Float[Tensor, " o"], padding: int
) -> Float[Tensor, "s t2 o"]:
    """Convolve channels-last sequences with three taps, in as many groups as the weight's input channels ask for.

    On a CPU this runs in float32, where such narrow convolutions take half of bfloat16's time (backward: a quarter).
    """
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
        """Make the state before the first frame."""
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
        """Make the state before the first frame."""
        return tuple(block.start(sequences) for block in self.blocks if isinstance(block, MixerBlock))

    def forward(
        self, x: Float[Tensor, "s t i"], state: tuple[BlockState, ...] | None = None
    ) -> tuple[Float[Tensor, "s t o"], tuple[BlockState, ...] | None]:
        """Compute the correction, and the state after the last frame for a causal mixer (else None).

        A causal mixer without a state starts at the first frame: the past is zero.
        """
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
