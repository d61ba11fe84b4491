"""A causal decoder of text, of the Gemma kind (arXiv 2403.08295, 2408.00118), that knows nothing of where its tokens come from.

    ids -> table * sqrt(width) -> blocks of (attention, gated MLP) -> norm -> the same table, turned round -> logits

It takes embedded tokens, so that others (images, frames) may stand among those of text, and masks from outside. Positions are
rotary. Query, key and value are one linear layer, gate and up another: a step of one token is bound by the reading of weights
and by the number of calls.

Kept in the weights' precision: products, sums and the stream between blocks. In float32: norms, rotary positions, and the
attention's soft cap and softmax.

Differs from the papers: no embedding of the position or of the kind of a token; initial weights have a variance of one over
the inputs, the table too.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.decoder_config import DecoderConfig
from tapetum.layers.attention import KeyValueCache, attend, causal_mask, rotary_angles, turn
from tapetum.layers.linear import linear, times
from tapetum.layers.mlp import FusedGatedMlp
from tapetum.layers.quantised import Int8Embedding
from tapetum.layers.transformer import RmsNorm


class DecoderCache:
    """Keys and values of all blocks for the tokens seen, in memory that is there from the start."""

    def __init__(self, config: DecoderConfig, batch: int, capacity: int, dtype: torch.dtype, device: torch.device):
        shape = batch, config.key_value_heads, capacity, config.head_width
        self.blocks = [KeyValueCache(*shape, dtype=dtype, device=device) for _ in range(config.depth)]

    @property
    def length(self) -> int:
        """Tokens held, padding among them."""
        return self.blocks[0].length

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Make row i what row `rows[i]` was; rows may be repeated or left out, so the batch may grow or shrink."""
        for block in self.blocks:
            block.reorder(rows)


class DecoderAttention(nn.Module):
    """Attention of grouped queries with rotary positions; query, key and value in one layer, without biases."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        turned = config.heads + config.key_value_heads
        self.query_key_value = nn.Linear(config.width, (turned + config.key_value_heads) * config.head_width, bias=False)
        self.out = nn.Linear(config.heads * config.head_width, config.width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        angles: tuple[Tensor, Tensor],
        mask: Float[Tensor, "b 1 n m"] | Bool[Tensor, "b 1 n m"] | None,
        cache: KeyValueCache | None,
    ) -> Float[Tensor, "b n c"]:
        c = self.config
        joined = linear(x, self.query_key_value).unflatten(-1, (-1, c.head_width)).transpose(1, 2)
        turned = turn(joined[:, : c.heads + c.key_value_heads], *angles)
        query, key, value = turned[:, : c.heads], turned[:, c.heads :], joined[:, c.heads + c.key_value_heads :]
        if cache is not None:
            key, value = (held.to(query.dtype) for held in cache.append(key, value))
        one = query.shape[2] == 1
        if one:  # the queries that share a key stand where several tokens would: nothing is copied
            query = query.reshape(query.shape[0], c.key_value_heads, -1, c.head_width)
        found = attend(query, key, value, mask, scale=c.scale, soft_cap=c.attention_soft_cap)
        found = found.reshape(x.shape[0], 1, -1) if one else found.transpose(1, 2).flatten(2)
        return linear(found, self.out)


class DecoderBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); with `post_norms` a norm of what each part gives."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.dropout, self.post_norms = config.dropout, config.post_norms
        self.attention_norm, self.attention = RmsNorm(config.width, config.norm_eps), DecoderAttention(config)
        self.mlp_norm, self.mlp = RmsNorm(config.width, config.norm_eps), FusedGatedMlp(config.width, config.mlp_width)
        if config.post_norms:
            self.attention_after, self.mlp_after = (RmsNorm(config.width, config.norm_eps) for _ in range(2))

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None, cache: KeyValueCache | None) -> Tensor:
        found = self.attention(self.attention_norm(x), angles, mask, cache)
        if self.post_norms:
            found = self.attention_after(found)
        x = x + self._dropped(found)
        found = self._dropped(self.mlp(self.mlp_norm(x)))  # before the norm that follows it, as in big_vision
        return x + (self.mlp_after(found) if self.post_norms else found)

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout and self.training else x


class Decoder(nn.Module):
    """A causal decoder: `embed` ids, go `forward`, take `logits`."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.table: nn.Embedding | Int8Embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.depth))
        self.norm = RmsNorm(config.width, config.norm_eps)
        self.apply(_start)

    def embed(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Look up tokens, times the root of the width (rounded to the weights' precision, as Gemma does)."""
        x = self.table(ids)
        return x * torch.tensor(self.config.width**0.5, dtype=x.dtype).item()

    def cache(self, batch: int, capacity: int, dtype: torch.dtype | None = None) -> DecoderCache:
        """Make room for the keys and values of `capacity` tokens; in the weights' precision by default."""
        weight = self.norm.weight
        return DecoderCache(self.config, batch, capacity, weight.dtype if dtype is None else dtype, weight.device)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        *,
        positions: Int[Tensor, "#b n"] | None = None,
        mask: Bool[Tensor, "#b 1 n m"] | None = None,
        local_mask: Bool[Tensor, "#b 1 n m"] | None = None,
        causal: bool = True,
        cache: DecoderCache | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Read embedded tokens; gives them after the last norm.

        Args:
            x: tokens, see `embed`.
            positions: of the tokens; by default they go on from those in the cache.
            mask: where tokens may look, with a column for each token held, those of x being the last; every token sees one.
            local_mask: the same for the local blocks of a config with a window; needed with a mask that is wider than that.
            causal: without a mask, tokens see themselves and what was before, in local blocks within the window; else all see
                all, in local blocks too.
            cache: earlier tokens, which are looked at too; x is added to them.

        Raises:
            BadInput: the tokens do not fit the cache.
        """
        held = 0 if cache is None else cache.length
        count = x.shape[1]
        if positions is None:
            positions = torch.arange(held, held + count, device=x.device)[None]
        wide, narrow = self._masks(count, held + count, mask, local_mask, causal, x)
        angles = rotary_angles(positions, self.config.head_width, self.config.rope_wavelength)
        for i, block in enumerate(self.blocks):
            x = block(x, angles, narrow if self.config.local(i) else wide, None if cache is None else cache.blocks[i])
        return self.norm(x)

    def _masks(
        self, queries: int, keys: int, mask: Tensor | None, local: Tensor | None, causal: bool, x: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """What is added to logits in blocks that see all, and in local ones."""
        window = self.config.window
        near = window is None or keys <= window
        if mask is None:
            if not causal:
                return None, None
            mask = causal_mask(queries, keys, device=x.device)[None, None] if queries > 1 else None
            local = mask if near else causal_mask(queries, keys, window, x.device)[None, None]
        elif near:
            local = mask
        elif local is None:
            raise BadInput(f"{keys} tokens are more than the window of {window}; give a local_mask beside the mask")
        wide = _added(mask, x.dtype)
        return wide, wide if local is mask else _added(local, x.dtype)

    def logits(self, x: Float[Tensor, "*s d"], capped: bool = True, rows: int | None = None) -> Float[Tensor, "*s v"]:
        """Give the logits of the next token after each of the tokens that `forward` gave.

        Args:
            x: tokens after the last norm.
            capped: apply the config's logit_soft_cap, if it has one.
            rows: tokens of the vocabulary, the first ones; all by default.
        """
        table = self.table
        logits = table.times(x, rows) if isinstance(table, Int8Embedding) else times(x, table.weight, rows)
        cap = self.config.logit_soft_cap
        return logits if cap is None or not capped else torch.tanh(logits / cap) * cap


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Numbers to be added to logits: made once for all blocks."""
    if mask is None:
        return None
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def _start(module: nn.Module) -> None:
    """Draw weights with a variance of one over the inputs."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
