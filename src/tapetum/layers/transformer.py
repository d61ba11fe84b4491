"""A transformer block that normalises before each part, with what later sources added to it.

Sources: ViT (arXiv 2010.11929); layer scale (arXiv 2103.17239); drop path (arXiv 1603.09382), scaled up as in timm so that the
mean stays; a norm after each part too (Gemma 2, arXiv 2408.00118); root-mean-square norm (arXiv 1910.07467).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class RmsNorm(nn.Module):
    """Divide by the root of the mean square, in float32 or more, then multiply by `offset` + weight.

    Gemma stores the weight around 0 (offset 1); others around 1 (offset 0).
    """

    def __init__(self, width: int, eps: float = 1e-6, offset: float = 1.0):
        super().__init__()
        self.eps, self.offset = eps, offset
        self.weight = nn.Parameter(torch.full((width,), 1.0 - offset))

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        kind = torch.promote_types(x.dtype, torch.float32)
        return F.rms_norm(x.to(kind), x.shape[-1:], self.offset + self.weight.to(kind), self.eps).to(x.dtype)


class LayerScale(nn.Module):
    """Multiply each channel by a learned number."""

    def __init__(self, width: int, start: float):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        return x * self.weight


class DropPath(nn.Module):
    """Leave out whole examples in training, with probability `rate`; what stays is divided by 1 - rate."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "b *s c"]) -> Float[Tensor, "b *s c"]:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); any attention and any MLP that keep the shape."""

    def __init__(
        self,
        attention: nn.Module,
        mlp: nn.Module,
        norm: Callable[[], nn.Module],
        *,
        width: int,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        norm_after: bool = False,
    ):
        """Join the parts.

        Args:
            attention: called with the tokens, and with whatever else the block is called with.
            mlp: called with the tokens.
            norm: makes a norm of `width` channels.
            width: channels of the tokens.
            layer_scale: first value of the numbers by which both parts are multiplied; none by default.
            drop_path: probability with which a part is left out for an example, in training.
            dropout: probability with which a number of a part's output is left out, in training.
            norm_after: normalise what each part gives, too.
        """
        super().__init__()
        self.attention_norm, self.attention = norm(), attention
        self.mlp_norm, self.mlp = norm(), mlp
        self.attention_after, self.mlp_after = (norm() if norm_after else nn.Identity() for _ in range(2))
        self.attention_scale, self.mlp_scale = (
            nn.Identity() if layer_scale is None else LayerScale(width, layer_scale) for _ in range(2)
        )
        self.drop_path, self.dropout = DropPath(drop_path), dropout

    def forward(self, x: Float[Tensor, "b n c"], **attention: Any) -> Float[Tensor, "b n c"]:
        found = self.attention_after(self.attention(self.attention_norm(x), **attention))
        x = x + self.drop_path(self.attention_scale(F.dropout(found, self.dropout, self.training)))
        found = self.mlp_after(self.mlp(self.mlp_norm(x)))
        return x + self.drop_path(self.mlp_scale(F.dropout(found, self.dropout, self.training)))
