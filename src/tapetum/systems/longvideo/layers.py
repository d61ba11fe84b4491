"""Layers of a video transformer: attention with memories, factorised attention, pooling over time, adapters.

    memory      q from the segment's own tokens; keys and values from them and from the memories, one softmax over all
                (MC-ViT, arXiv 2402.05861, equation 4): no gate, no layer of its own, so the weights are those of the image
    network factorised  x + space(norm(x)), then x + tanh(gate) time(norm(x)) with the gate at 0, then x + mlp(norm(x))
                (LongViViT, arXiv 2312.07395, section 3.2); time begins with the weights of space
    pooling     of the means of time steps: by attention (LongViViT, section 3.2), or by blocks on top (late temporal fusion)
    adapter     mlp(x) + up(gelu(down(mlp(x)))), up begins at 0 (LongViViT, section 3.3)

Differs from the papers: the gate is one number a layer, and time comes after space, which the paper does not say.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.devices import send_to_device
from tapetum.layers.transformer import Attention, AttentionPooling, Block, Mlp, attend
from tapetum.systems.longvideo.config import VideoConfig

Projected = tuple[Tensor, Tensor]
"""Keys and values, each (b, heads, m, head width)."""
_LATE_BLOCKS = 2


class MemoryAttention(Attention):
    """Attention of tokens to each other and to memories, with the weights of plain attention."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x: Float[Tensor, "b n c"],
        memory: Projected | None = None,
        mask: Bool[Tensor, "b 1 #n k"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Attend to the tokens that `mask` allows (all by default), and to all memories."""
        query = self.split_heads(self.query(x))
        key, value = self.project(x)
        if memory is not None:  # equation 4: kv = [LN(m); LN(z)], and q of the segment alone
            key, value = torch.cat([memory[0], key], 2), torch.cat([memory[1], value], 2)
            if mask is not None:
                mask = F.pad(mask, (memory[0].shape[2], 0), value=True)
        return self.out(attend(query, key, value, mask).transpose(1, 2).flatten(2))

    def project(self, x: Float[Tensor, "b n c"]) -> Projected:
        """Compute keys and values of normalised tokens or memories."""
        return self.split_heads(self.key(x)), self.split_heads(self.value(x))


class FactorisedBlock(nn.Module):
    """Attention in space, attention in time through a gate, and an MLP (LongViViT, section 3.2)."""

    def __init__(self, block: Block):
        """`block` is that of space; time begins with copies of its norm and attention."""
        super().__init__()
        self.space = block
        self.time_norm, self.time = copy.deepcopy(block.attention_norm), copy.deepcopy(block.attention)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "b n c"], where: "TokenPositions") -> Float[Tensor, "b n c"]:
        """Attend within each time step, then along time within each cell, then apply the MLP."""
        block = self.space
        x = x + block.attention_scale(attend_in_space(block.attention, block.attention_norm(x), where))
        x = x + torch.tanh(self.gate) * attend_in_time(self.time, self.time_norm(x), where)  # h + tanh(alpha) h_temporal
        return x + block.mlp_scale(block.mlp(block.mlp_norm(x)))


class TokenPositions:
    """Time step and cell of each token of a segment, and which tokens are valid."""

    def __init__(
        self,
        slots: Int[Tensor, "b n"],
        cells: Int[Tensor, "b n"],
        valid: Bool[Tensor, "b n"],
        grid: tuple[int, int] | None,
    ):
        """`valid` lies on the CPU, where looking at it waits for no device.

        `grid`: time steps and cells of a time step, if no token was dropped, else None.
        """
        self.slots, self.cells, self.grid = slots, cells, grid
        self.valid_on_cpu, self.all_valid = valid, bool(valid.all())
        self.valid = send_to_device(valid, slots.device)

    def mask(self) -> Bool[Tensor, "b 1 1 n"] | None:
        """Make the attention mask that hides invalid tokens; None where all are valid."""
        return None if self.all_valid else self.valid[:, None, None]

    def select(self, rows: Int[Tensor, "b k"]) -> "TokenPositions":
        """Select some tokens, by number, which lies on the CPU."""
        here = send_to_device(rows, self.slots.device)
        return TokenPositions(self.slots.gather(1, here), self.cells.gather(1, here), self.valid_on_cpu.gather(1, rows), None)


def attend_in_space(attention: nn.Module, x: Float[Tensor, "b n c"], where: TokenPositions) -> Float[Tensor, "b n c"]:
    """Attend within each time step."""
    if where.grid is not None:  # a time step is valid as a whole or not at all
        return attention(x.unflatten(1, where.grid).flatten(0, 1)).unflatten(0, (len(x), -1)).flatten(1, 2)
    return attention(x, mask=_same(where.slots, where))


def attend_in_time(attention: nn.Module, x: Float[Tensor, "b n c"], where: TokenPositions) -> Float[Tensor, "b n c"]:
    """Attend along time within each cell."""
    if where.grid is not None and where.all_valid:
        along = x.unflatten(1, where.grid).transpose(1, 2)  # (b, cells, slots, c)
        return attention(along.flatten(0, 1)).unflatten(0, along.shape[:2]).transpose(1, 2).flatten(1, 2)
    return attention(x, mask=_same(where.cells, where))


def _same(number: Tensor, where: TokenPositions) -> Tensor:
    return ((number[:, :, None] == number[:, None]) & where.valid[:, None])[:, None]  # (b, 1, n, n)


class SlotPooling(nn.Module):
    """Pools the means of time steps (b, slots, d) to (b, d). Steps without a valid token come as NaN and are left out."""

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

    def forward(self, means: tuple[Float[Tensor, "b _ d"], ...]) -> Float[Tensor, "b d"]:
        """Pool the time steps of all segments."""
        x = torch.cat(means, 1)
        valid = ~x[..., 0].isnan()
        x = x.nan_to_num(0.0)
        mask = None if bool(valid.all()) else valid[:, None, None]
        if self.attention is not None:
            return self.attention(x, mask=mask)
        assert self.blocks is not None
        for block in self.blocks:
            x = block(x, mask=mask)
        return (x * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)


def slot_means(x: Float[Tensor, "b n d"], where: TokenPositions) -> Float[Tensor, "b slots d"]:
    """Average the tokens of each time step of a segment; NaN where none is valid."""
    count = int(where.slots.max()) + 1
    member = (where.slots[:, None] == torch.arange(count, device=x.device)[:, None]) & where.valid[:, None]  # (b, slots, n)
    sums = member.to(x.dtype) @ x
    number = member.sum(-1, keepdim=True)
    return torch.where(number > 0, sums / number.clamp(min=1), torch.nan)


class AdaptedMlp(nn.Module):
    """An MLP and an adapter after it, which at first changes nothing (LongViViT, section 3.3)."""

    def __init__(self, mlp: nn.Module, width: int, hidden: int):
        super().__init__()
        self.mlp, self.adapter = mlp, Mlp(width, hidden)
        nn.init.zeros_(self.adapter.out.weight)
        nn.init.zeros_(self.adapter.out.bias)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        """Apply the MLP, then the adapter as a residual."""
        hidden = self.mlp(x)
        return hidden + self.adapter(hidden)
