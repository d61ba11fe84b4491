"""Layers of TAPNext: embedding and decoding of positions, and the recurrence over time.

Positions are embedded in the query's token, and decoded from the logits of 256 bins per axis. The recurrence is Griffin's
recurrent block (arXiv 2402.19427, section 2) for each token of a video.

    x -> norm -+-> linear -> causal convolution -> RG-LRU -> * -> linear -> + x -> norm -> gated MLP -> +
               +-> linear -> GELU -------------------------->

RG-LRU, with gates i, s between 0 and 1 and a learned vector A:

    log a_t = -8 s_t softplus(A)            h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t v_t)            (equations 3, 4)

On the first frame of all the square root is left out. Every token (a patch of the image, or a point) is a sequence of its own.

Differs from the paper: the public scan for training divides by the running product of a, which gives wrong gradients
once that is small; here it is an associative scan, backward too.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from tapetum.encoders.decoder import RmsNorm
from tapetum.layers.transformer import GatedMlp

RADIUS = 8
"""Pixels around a position within which `compute_certainty` sums probability."""


def embed_positions(
    xy: Float[Tensor, "*s 2"], size: tuple[int, int], width: int, *, edge: bool = False
) -> Float[Tensor, "*s c"]:
    """Embed raster positions in an image of (height, width) `size` as sin(x w), cos(x w), sin(y w), cos(y w), w = 10000^-k.

    As the public code samples a table of all pixels bilinearly, high frequencies are damped between pixel centres; two rows an
    axis are enough. Outside of the outer pixel centres are zeros, or with `edge` the outer row.
    """
    parts, weights = [], []
    xy = xy.float().cpu() if xy.device.type == "mps" else xy.float()  # which has no double precision
    for axis, side in enumerate((size[1], size[0])):
        # In this order of operations as torch's grid_sample, for the same roundings.
        index = ((xy[..., axis] / side * 2 - 1 + 1) * side - 1) / 2
        index = index.clamp(0, side - 1) if edge else index.clamp(-2, side + 1)
        low = index.floor()
        part, total = index.new_zeros(*index.shape, width // 2), torch.zeros_like(index)
        for row, weight in ((low, low + 1 - index), (low + 1, index - low)):
            weight = weight * ((row >= 0) & (row < side))
            part = part + weight[..., None] * _waves(row, width)
            total = total + weight
        parts.append(part)
        weights.append(total[..., None])
    return torch.cat([parts[0] * weights[1], parts[1] * weights[0]], -1)


def embed_pixels(xy: Num[Tensor, "*s 2"], width: int) -> Float[Tensor, "*s c"]:
    """Embed whole numbers (x, y) of pixels: the rows of the table."""
    return torch.cat([_waves(xy[..., 0], width), _waves(xy[..., 1], width)], -1)


def _waves(index: Num[Tensor, "*s"], width: int) -> Float[Tensor, "*s c"]:
    """Sines and cosines along one axis, half of `width`; in double precision before they are rounded, as the public code."""
    frequencies = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64, device=index.device) / (width // 4 - 1))
    angles = index.double()[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1).float()


def decode_positions(logits: Float[Tensor, "*s 2 bins"], radius: int = 20, temperature: float = 0.5) -> Float[Tensor, "*s 2"]:
    """Compute the mean position, in raster pixels, of the bins within `radius` of the most likely one, weighted by
    softmax(temperature * logits), through which alone the gradient passes."""
    likeliest = logits.argmax(-1, keepdim=True)
    offset = torch.arange(logits.shape[-1], device=logits.device) - likeliest
    probability = (temperature * logits).softmax(-1) * (offset.abs() <= radius)
    mean = (probability / probability.sum(-1, keepdim=True) * offset).sum(-1)
    return likeliest[..., 0] + mean + 0.5


def compute_certainty(
    logits: Float[Tensor, "*s 2 bins"], xy: Float[Tensor, "*s 2"], radius: int = RADIUS
) -> Float[Tensor, "*s"]:
    """Compute the probability that a point is at most `radius` pixels from `xy`, if x and y are independent."""
    bins = logits.shape[-1]
    cells = min(2 * radius + 1, bins)
    start = (xy - radius - 0.5).floor().clamp(0, bins - cells).long()  # within the bins
    index = start[..., None] + torch.arange(cells, device=logits.device)  # (..., 2, cells)
    probability = logits.softmax(-1).gather(-1, index)
    offset = (index + 0.5 - xy[..., None]).square()
    near = offset[..., 0, :, None] + offset[..., 1, None, :] <= radius**2 + 1e-8
    both = probability[..., 0, :, None] * probability[..., 1, None, :]
    return (both * near).sum((-2, -1))


_MAX_SQRT_GRADIENT = 1000.0


@dataclass(frozen=True)
class RecurrentState:
    """State of one block after some frames."""

    hidden: Float[Tensor, "b n c"]
    """Of the RG-LRU; float32."""
    conv: Float[Tensor, "b k n c"]
    """The last inputs of the convolution, one fewer than it has taps."""


class BlockDiagonal(nn.Module):
    """Linear layer that mixes channels only within each of some blocks."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        size = width // blocks
        self.weight = nn.Parameter(torch.randn(blocks, size, size) * size**-0.5)  # (block, input, output)
        self.bias = nn.Parameter(torch.zeros(blocks, size))

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        blocks = x.unflatten(-1, (len(self.weight), -1))
        return (torch.einsum("...hi,hij->...hj", blocks, self.weight) + self.bias).flatten(-2)


class _BoundedSqrt(torch.autograd.Function):
    """A square root whose derivative is at most 1000, since 1 - a^2 may be 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sqrt()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] / (4 * x).clamp_min(_MAX_SQRT_GRADIENT**-2).sqrt()


class _Scan(torch.autograd.Function):
    """h_t = a_t h_{t-1} + b_t, forward and backward by an associative scan."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, initial: Tensor) -> Tensor:
        b = torch.cat([(b[:, 0] + a[:, 0] * initial)[:, None], b[:, 1:]], 1)
        h = _associative_scan(a, b)
        ctx.save_for_backward(a, h, initial)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, initial = ctx.saved_tensors
        # The gradient of b follows the same recurrence from the end: g_t = dh_t + a_{t+1} g_{t+1}.
        following = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1)
        grad = _associative_scan(following.flip(1), grads[0].flip(1)).flip(1)
        before = torch.cat([initial[:, None], h[:, :-1]], 1)
        return grad * before, grad, grad[:, 0] * a[:, 0]


def _associative_scan(a: Float[Tensor, "b t n c"], b: Float[Tensor, "b t n c"]) -> Float[Tensor, "b t n c"]:
    """Compute h_t = a_t h_{t-1} + b_t from h = 0 in log2(t) steps, of which each joins pairs of stretches:
    (a, b) before (a', b') is (a a', a' b + b')."""
    stretch = 1
    while stretch < b.shape[1]:
        b = torch.cat([b[:, :stretch], a[:, stretch:] * b[:, :-stretch] + b[:, stretch:]], 1)
        a = torch.cat([a[:, :stretch], a[:, stretch:] * a[:, :-stretch]], 1)
        stretch *= 2
    return b


def scan(
    a: Float[Tensor, "b t n c"], b: Float[Tensor, "b t n c"], initial: Float[Tensor, "b n c"], *, parallel: bool = False
) -> Float[Tensor, "b t n c"]:
    """Compute h_t = a_t h_{t-1} + b_t over time, from h = initial, frame by frame or in parallel."""
    if parallel and b.shape[1] > 1:
        return _Scan.apply(a, b, initial)
    states, h = [], initial
    for now in range(b.shape[1]):
        h = a[:, now] * h + b[:, now]
        states.append(h)
    return torch.stack(states, 1)


class RgLru(nn.Module):
    """Real-gated linear recurrent unit."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        # a = r^8 at an open gate and r^4 at a half-open one, with r between 0.9 and 0.999.
        radius = torch.empty(width).uniform_(0.9**2, 0.999**2).sqrt()
        self.decay = nn.Parameter(torch.log(1 / radius - 1))
        self.input_gate, self.decay_gate = BlockDiagonal(width, blocks), BlockDiagonal(width, blocks)

    def forward(
        self, x: Float[Tensor, "b t n c"], hidden: Float[Tensor, "b n c"], first: bool
    ) -> tuple[Float[Tensor, "b t n c"], Float[Tensor, "b n c"]]:
        """Run over t frames, of which the `first` has no past; also gives the state after them. In training in parallel."""
        log_a = -8.0 * torch.sigmoid(self.decay_gate(x)) * F.softplus(self.decay)
        scale = _BoundedSqrt.apply(1 - torch.exp(2 * log_a))
        if first:
            scale = torch.cat([torch.ones_like(scale[:, :1]), scale[:, 1:]], 1)
        gated = x * torch.sigmoid(self.input_gate(x)) * scale.to(x.dtype)
        states = scan(torch.exp(log_a).to(hidden.dtype), gated.to(hidden.dtype), hidden, parallel=self.training)
        return states.to(x.dtype), states[:, -1].clone()  # the rest is not kept alive


class RecurrentBlock(nn.Module):
    """Recurrence over time, then a gated MLP, both added to their input."""

    def __init__(self, width: int, lru_width: int, gate_blocks: int, mlp_width: int, taps: int, depth: int):
        """`depth`: of the network, by which the initial output layers are scaled."""
        super().__init__()
        self.norm, self.mlp_norm = RmsNorm(width), RmsNorm(width)
        self.gate, self.value = nn.Linear(width, lru_width), nn.Linear(width, lru_width)
        self.conv_weight = nn.Parameter(torch.randn(taps, lru_width) * math.sqrt(0.01 / taps))
        self.conv_bias = nn.Parameter(torch.zeros(lru_width))
        self.lru = RgLru(lru_width, gate_blocks)
        self.out = nn.Linear(lru_width, width)
        self.mlp = GatedMlp(width, mlp_width, "gelu_tanh", bias=True)
        deviations = (
            (self.gate, width**-0.5),
            (self.value, width**-0.5),
            (self.mlp.gate_up, width**-0.5),
            (self.out, math.sqrt(2 / depth / lru_width)),
            (self.mlp.out, math.sqrt(2 / depth / mlp_width)),
        )
        for layer, deviation in deviations:
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def start(self, batch: int, tokens: int) -> RecurrentState:
        taps, width = self.conv_weight.shape
        device = self.conv_weight.device  # no new_zeros of the weight, which under FSDP would be in shards as the weight is
        hidden = torch.zeros(batch, tokens, width, device=device)
        return RecurrentState(hidden, torch.zeros(batch, taps - 1, tokens, width, device=device, dtype=self.conv_weight.dtype))

    def forward(
        self, x: Float[Tensor, "b t n c"], state: RecurrentState, first: bool
    ) -> tuple[Float[Tensor, "b t n c"], RecurrentState]:
        normed = self.norm(x)
        value = self.value(normed)
        padded = torch.cat([state.conv.to(value.dtype), value], 1)
        frames, taps = x.shape[1], len(self.conv_weight)
        mixed = self.conv_bias + sum(self.conv_weight[tap] * padded[:, tap : tap + frames] for tap in range(taps))
        recurrent, hidden = self.lru(mixed, state.hidden, first)
        x = x + self.out(recurrent * F.gelu(self.gate(normed), approximate="tanh"))
        return x + self.mlp(self.mlp_norm(x)), RecurrentState(hidden, padded[:, 1 - taps :].clone())
