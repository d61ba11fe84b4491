"""Blocks of a video transformer: attention that also looks at memories, factorised attention, adapters.

    memory      q from the segment's own tokens; keys and values from them and from the memories, one softmax over all
                (MC-ViT, equation 4): no gate, no layer of its own, so the weights are those of the image network
    factorised  x + space(norm(x)), then x + tanh(gate) time(norm(x)) with the gate at 0, then x + mlp(norm(x))
                (LongViViT, arXiv 2312.07395, section 3.2); time begins with the weights of space
    adapter     mlp(x) + up(gelu(down(mlp(x)))), up begins at 0 (LongViViT, section 3.3)

Differs from the papers: the gate is one number a layer, and time comes after space, which the paper does not say.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.layers.transformer import Attention, Block, Mlp, attend
from tapetum.systems.longvideo.memory import Projected


class MemoryAttention(Attention):
    """Attention of tokens to each other and to memories, with the weights of plain attention."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x: Float[Tensor, "b n c"],
        memory: Projected | None = None,
        mask: Bool[Tensor, "b 1 #n k"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Look at the tokens that `mask` allows (all by default), and at all memories."""
        query = self.split_heads(self.query(x))
        key, value = self.project(x)
        if memory is not None:
            key, value = torch.cat([memory[0], key], 2), torch.cat([memory[1], value], 2)
            if mask is not None:
                mask = F.pad(mask, (memory[0].shape[2], 0), value=True)
        return self.out(attend(query, key, value, mask).transpose(1, 2).flatten(2))

    def project(self, x: Float[Tensor, "b n c"]) -> Projected:
        """Give keys and values of normalised tokens or memories."""
        return self.split_heads(self.key(x)), self.split_heads(self.value(x))


class FactorisedBlock(nn.Module):
    """Attention in space, attention in time through a gate, and an MLP."""

    def __init__(self, block: Block):
        """`block` is that of space; time begins with copies of its norm and attention."""
        super().__init__()
        self.space = block
        self.time_norm, self.time = copy.deepcopy(block.attention_norm), copy.deepcopy(block.attention)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "b n c"], where: "Places") -> Float[Tensor, "b n c"]:
        """Look around in each moment, then along time at each place, then think."""
        block = self.space
        x = x + block.attention_scale(in_space(block.attention, block.attention_norm(x), where))
        x = x + torch.tanh(self.gate) * in_time(self.time, self.time_norm(x), where)
        return x + block.mlp_scale(block.mlp(block.mlp_norm(x)))


class Places:
    """When and where the tokens of a segment are, and which of them are there at all."""

    def __init__(
        self,
        moments: Int[Tensor, "b n"],
        places: Int[Tensor, "b n"],
        valid: Bool[Tensor, "b n"],
        grid: tuple[int, int] | None,
    ):
        """`grid`: moments and places of a moment, if no token was dropped, else None."""
        self.moments, self.places, self.valid, self.grid = moments, places, valid, grid
        self.all_valid = bool(valid.all())

    def mask(self) -> Bool[Tensor, "b 1 1 n"] | None:
        """Hide what is not there; None where all is."""
        return None if self.all_valid else self.valid[:, None, None]

    def drop(self, kept: Int[Tensor, "b k"]) -> "Places":
        """Keep some tokens, by number."""
        return Places(self.moments.gather(1, kept), self.places.gather(1, kept), self.valid.gather(1, kept), None)


def in_space(attention: nn.Module, x: Float[Tensor, "b n c"], where: Places) -> Float[Tensor, "b n c"]:
    """Let each token look at those of its moment."""
    if where.grid is not None:  # a moment is there as a whole or not at all
        return attention(x.unflatten(1, where.grid).flatten(0, 1)).unflatten(0, (len(x), -1)).flatten(1, 2)
    return attention(x, mask=_same(where.moments, where))


def in_time(attention: nn.Module, x: Float[Tensor, "b n c"], where: Places) -> Float[Tensor, "b n c"]:
    """Let each token look at those of its place."""
    if where.grid is not None and where.all_valid:
        along = x.unflatten(1, where.grid).transpose(1, 2)  # (b, places, moments, c)
        return attention(along.flatten(0, 1)).unflatten(0, along.shape[:2]).transpose(1, 2).flatten(1, 2)
    return attention(x, mask=_same(where.places, where))


def _same(what: Tensor, where: Places) -> Tensor:
    return ((what[:, :, None] == what[:, None]) & where.valid[:, None])[:, None]


class AdaptedMlp(nn.Module):
    """An MLP and an adapter after it, which at first changes nothing."""

    def __init__(self, mlp: nn.Module, width: int, hidden: int):
        super().__init__()
        self.mlp, self.adapter = mlp, Mlp(width, hidden)
        nn.init.zeros_(self.adapter.out.weight)
        nn.init.zeros_(self.adapter.out.bias)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        """Think, and think again."""
        found = self.mlp(x)
        return found + self.adapter(found)
