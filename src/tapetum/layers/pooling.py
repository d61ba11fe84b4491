"""Many tokens to one vector by attention (the MAP head of SigLIP, arXiv 2303.15343, from Set Transformer, arXiv 1810.00825)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.attention import Attention, Mask
from tapetum.layers.mlp import Mlp


class AttentionPooling(nn.Module):
    """A learned query looks at all tokens, and what it finds passes a residual MLP."""

    def __init__(self, width: int, heads: int, hidden: int, activation: str = "gelu_tanh", eps: float = 1e-6):
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, width))
        nn.init.trunc_normal_(self.query, std=width**-0.5)
        self.attention = Attention(width, heads)
        self.norm, self.mlp = nn.LayerNorm(width, eps=eps), Mlp(width, hidden, activation)

    def forward(self, tokens: Float[Tensor, "b n c"], mask: Mask | None = None) -> Float[Tensor, "b c"]:
        """Pool the tokens that `mask` (b, 1, 1, n) allows; all by default."""
        x = self.attention(self.query.expand(tokens.shape[0], -1, -1), tokens, mask=mask)
        return (x + self.mlp(self.norm(x)))[:, 0]
