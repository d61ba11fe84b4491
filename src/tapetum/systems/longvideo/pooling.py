"""One vector of the means of moments: by attention (LongViViT, section 3.2), or by blocks on top (late temporal fusion)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.transformer import Attention, AttentionPooling, Block, Mlp
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.layers import Places

_LATE_BLOCKS = 2


class MomentPooling(nn.Module):
    """Pools (b, moments, d) to (b, d). Moments of which nothing is there come as NaN and are left out."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.attention = self.blocks = None
        if config.pooling == "attention":
            self.attention = AttentionPooling(config.width, config.heads, config.mlp_width, config.activation, config.norm_eps)
        else:
            self.blocks = nn.ModuleList(
                Block(
                    Attention(config.width, config.heads),
                    Mlp(config.width, config.mlp_width, config.activation),
                    lambda: nn.LayerNorm(config.width, eps=config.norm_eps),
                    width=config.width,
                )
                for _ in range(_LATE_BLOCKS)
            )

    def forward(self, moments: tuple[Float[Tensor, "b _ d"], ...]) -> Float[Tensor, "b d"]:
        """Pool the moments of all segments."""
        x = torch.cat(moments, 1)
        there = ~x[..., 0].isnan()
        x = x.nan_to_num(0.0)
        mask = None if bool(there.all()) else there[:, None, None]
        if self.attention is not None:
            return self.attention(x, mask=mask)
        assert self.blocks is not None
        for block in self.blocks:
            x = block(x, mask=mask)
        return (x * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)


def moment_means(x: Float[Tensor, "b n d"], where: Places) -> Float[Tensor, "b moments d"]:
    """Average the tokens of each moment of a segment; NaN where nothing of it is there."""
    count = int(where.moments.max()) + 1
    member = (where.moments[:, None] == torch.arange(count, device=x.device)[:, None]) & where.valid[:, None]
    sums = member.to(x.dtype) @ x
    number = member.sum(-1, keepdim=True)
    return torch.where(number > 0, sums / number.clamp(min=1), torch.nan)
