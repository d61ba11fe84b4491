"""The two layers of a Perceiver, on grouped arrays (b, g, index, channels), and the codes of positions.

Groups are as good as a second batch axis.

Source: the public code of HiP (arXiv 2202.10890). Both normalise before they attend, and end in an MLP with squared ReLU. A
cross-attention works at the width of what it looks at, and a self-attention at its own.

Codes of positions are of few channels and learned by masked auto-encoding; or Fourier features, as in Perceiver IO (arXiv
2107.14795), or frozen random numbers. A code is added to the embedded element, and is the query that reconstructs it.

Differs from the public code: attention is torch's fused one; a fully masked query is none of its cases.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tapetum.systems.hip.config import HipConfig, Modality


def variance_scaling(rows: int, *shape: int) -> Tensor:
    """Draw a tensor (rows, *shape) of truncated normal numbers with deviation 1 / sqrt(rows), as Haiku's VarianceScaling
    draws.

    For the weight (in, out) of a linear layer `rows` are its inputs; for a table of codes, its length.
    """
    deviation = rows**-0.5 / 0.87962566103423978  # of a normal distribution that, cut at two of these, deviates by rows**-0.5
    return nn.init.trunc_normal_(torch.empty(rows, *shape), std=deviation, a=-2 * deviation, b=2 * deviation)


class Linear(nn.Linear):
    """A linear layer with Haiku's initial values."""

    def reset_parameters(self) -> None:
        """Draw weights by variance scaling, biases 0."""
        with torch.no_grad():
            self.weight.copy_(variance_scaling(self.in_features, self.out_features).T)
            if self.bias is not None:
                self.bias.zero_()


_IN_CACHE = 1 << 17
"""Numbers (512 KB) in the groups that a cross-attention works on at a time where nothing is learned: they stay in a core's own
cache, while passes over a million elements of few channels are bound by memory."""


class GroupedAttention(nn.Module):
    """Queries of `queries` channels look at inputs of `keys` channels, at width `width`; the answer is like the queries."""

    def __init__(self, queries: int, keys: int, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = Linear(queries, width), Linear(keys, width), Linear(keys, width)
        self.out = Linear(width, queries)

    def forward(
        self, x: Float[Tensor, "b g n q"], y: Float[Tensor, "b g m k"], mask: Bool[Tensor, "#b g #n m"] | None = None
    ) -> Float[Tensor, "b g n q"]:
        """Compute answers for `x` from `y`; only from where `mask` is true."""
        batch, groups = x.shape[:2]

        def split(z: Tensor) -> Tensor:
            return z.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2)

        if mask is not None:
            mask = mask.expand(batch, -1, -1, -1).flatten(0, 1)[:, None]
        q, k, v = split(self.query(x)), split(self.key(y)), split(self.value(y))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(attended.transpose(1, 2).flatten(2).unflatten(0, (batch, groups)))


class SquaredReluMlp(nn.Module):
    """Two linear layers with a squared ReLU between."""

    def __init__(self, channels: int, widening: int):
        super().__init__()
        self.hidden, self.out = Linear(channels, widening * channels), Linear(widening * channels, channels)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        return self.out(F.relu(self.hidden(x)).square())


class CrossAttention(nn.Module):
    """Queries become what they find in their group of inputs, then an MLP; with `residual` they stay part of it."""

    def __init__(self, queries: int, inputs: int, *, heads: int = 1, widening: int = 1, residual: bool):
        super().__init__()
        self.residual = residual
        self.query_norm, self.input_norm = nn.LayerNorm(queries), nn.LayerNorm(inputs)
        self.attention = GroupedAttention(queries, inputs, inputs, heads)
        self.mlp_norm, self.mlp = nn.LayerNorm(queries), SquaredReluMlp(queries, widening)

    def forward(
        self, queries: Float[Tensor, "b g n q"], inputs: Float[Tensor, "b g m k"], mask: Bool[Tensor, "#b g #n m"] | None = None
    ) -> Float[Tensor, "b g n q"]:
        largest = max(queries[:, 0].numel(), inputs[:, 0].numel())
        some = max(1, _IN_CACHE // largest)
        if torch.is_grad_enabled() or some >= inputs.shape[1]:
            return self._attend(queries, inputs, mask)
        parts = [slice(first, first + some) for first in range(0, inputs.shape[1], some)]
        masks = [mask if mask is None or mask.shape[1] == 1 else mask[:, part] for part in parts]
        outputs = [self._attend(queries[:, p], inputs[:, p], own) for p, own in zip(parts, masks, strict=True)]
        return torch.cat(outputs, 1)

    def _attend(self, queries: Tensor, inputs: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention(self.query_norm(queries), self.input_norm(inputs), mask)
        if self.residual:
            x = x + queries
        return x + self.mlp(self.mlp_norm(x))


class SelfAttention(nn.Module):
    """A transformer layer within each group."""

    def __init__(self, channels: int, *, heads: int, widening: int, dropout: float = 0.0, drop_path: float = 0.0):
        super().__init__()
        self.dropout, self.drop_path = dropout, drop_path
        self.norm, self.attention = nn.LayerNorm(channels), GroupedAttention(channels, channels, channels, heads)
        self.mlp_norm, self.mlp = nn.LayerNorm(channels), SquaredReluMlp(channels, widening)

    def forward(self, x: Float[Tensor, "b g n c"]) -> Float[Tensor, "b g n c"]:
        y = self.norm(x)
        x = x + self._dropped(self.attention(y, y))
        return x + self._dropped(self.mlp(self.mlp_norm(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        """Dropout, and whole examples left out; what stays is not scaled up, as published."""
        x = F.dropout(x, self.dropout, self.training)
        if self.training and self.drop_path:
            x = x * (torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.drop_path)
        return x


def fourier_features(shape: tuple[int, ...], bands: int) -> Float[np.ndarray, "n f"]:
    """Encode coordinates in -1..1 by sines and cosines at `bands` frequencies up to Nyquist's; elements in row-major order.

    >>> fourier_features((2, 3), 4).shape
    (6, 18)
    """
    grids = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij")
    places = np.stack([grid.reshape(-1) for grid in grids], -1)
    waves = [places[:, axis, None] * np.linspace(1, max(n / 2, 1), bands) * np.pi for axis, n in enumerate(shape)]
    phases = np.concatenate(waves, 1)
    return np.concatenate([places, np.sin(phases), np.cos(phases)], 1).astype(np.float32)


class PositionCodes(nn.Module):
    """The codes of one modality, with `channels` channels."""

    def __init__(self, modality: Modality, channels: int, config: HipConfig, *, projected: bool):
        super().__init__()
        kind = config.positions
        if kind == "fourier":
            self.register_buffer(
                "table", torch.from_numpy(fourier_features(modality.shape, config.fourier_bands)), persistent=False
            )
        elif kind == "random":
            self.register_buffer("table", torch.randn(modality.length, channels))
        else:
            self.table = nn.Parameter(variance_scaling(modality.length, channels))
        width = self.table.shape[1]
        self.projection = Linear(width, channels, bias=False) if projected or kind != "learned" else None

    def forward(self) -> Float[Tensor, "n c"]:
        return self.table if self.projection is None else self.projection(self.table)
