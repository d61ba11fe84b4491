"""A causal text decoder of the Gemma kind (arXiv 2403.08295, 2408.00118), for tokens of any origin.

    ids -> token embedding * sqrt(width) -> blocks of (attention, gated MLP) -> norm -> the same embedding, transposed -> logits

It takes embedded tokens, so that others (images, frames) may be mixed with those of text, and external attention masks.
Positions are rotary (arXiv 2104.09864) in Gemma's layout, where channel i of a head is rotated with channel i + half; the
MLP is GEGLU (2002.05202). Query, key and value are one linear layer, gate and up another: a step of one token is limited by
reading weights and by the number of calls.

In the weights' precision: products, sums and the residual stream. In float32: norms, rotary positions, and the attention's
soft cap and softmax.

Differs from the papers: no embedding of a token's position or kind; initial weights have a variance of one over the number of
inputs, including the token embedding.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.layers.patches import apply_rotary, rotary_angles
from tapetum.layers.transformer import GatedMlp, TokenEmbedding, attend, causal_mask


class RmsNorm(nn.Module):
    """Divide by the root of the mean square (arXiv 1910.07467) in float32 or more, then multiply by 1 + weight, as Gemma."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        return F.rms_norm(x.to(dtype), x.shape[-1:], 1.0 + self.weight.to(dtype), self.eps).to(x.dtype)


class KeyValueCache:
    """Keys and values of earlier tokens in one attention layer, so that the next token costs one row."""

    def __init__(
        self, batch: int, heads: int, capacity: int, head_width: int, *, dtype: torch.dtype, device: torch.device | None = None
    ):
        self.keys = torch.zeros(batch, heads, capacity, head_width, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0
        """Tokens in the cache."""

    def append(
        self, key: Float[Tensor, "b g n d"], value: Float[Tensor, "b g n d"]
    ) -> tuple[Float[Tensor, "b g m d"], Float[Tensor, "b g m d"]]:
        """Add the next n tokens; returns keys and values of all m. Raises BadInput if they do not fit."""
        end = self.length + key.shape[2]
        if end > self.keys.shape[2]:
            raise BadInput(f"{end} tokens do not fit a cache of {self.keys.shape[2]}; make it larger")
        self.keys[:, :, self.length : end], self.values[:, :, self.length : end] = key, value
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Replace row i of the batch by row `rows[i]`, as beam search requires; the batch may grow or shrink."""
        self.keys, self.values = self.keys[rows], self.values[rows]


class DecoderCache:
    """Keys and values of earlier tokens in all blocks, allocated at once."""

    def __init__(self, config: DecoderConfig, batch: int, capacity: int, dtype: torch.dtype, device: torch.device):
        shape = batch, config.key_value_heads, capacity, config.head_width
        self.blocks = [KeyValueCache(*shape, dtype=dtype, device=device) for _ in range(config.depth)]

    @property
    def length(self) -> int:
        """Tokens in the cache, including padding."""
        return self.blocks[0].length

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Replace row i by row `rows[i]`; rows may be repeated or omitted, so the batch may grow or shrink."""
        for block in self.blocks:
            block.reorder(rows)


class DecoderAttention(nn.Module):
    """Grouped-query attention with rotary positions; query, key and value in one layer, without biases."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        heads = config.heads + 2 * config.key_value_heads
        self.query_key_value = nn.Linear(config.width, heads * config.head_width, bias=False)
        self.out = nn.Linear(config.heads * config.head_width, config.width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        angles: tuple[Tensor, Tensor],
        mask: Float[Tensor, "b 1 n m"] | Bool[Tensor, "b 1 n m"] | None,
        cache: KeyValueCache | None,
    ) -> Float[Tensor, "b n c"]:
        c = self.config
        joined = self.query_key_value(x).unflatten(-1, (-1, c.head_width)).transpose(1, 2)
        rotated = apply_rotary(joined[:, : c.heads + c.key_value_heads], *angles)
        query, key, value = rotated[:, : c.heads], rotated[:, c.heads :], joined[:, c.heads + c.key_value_heads :]
        if cache is not None:
            key, value = (cached.to(query.dtype) for cached in cache.append(key, value))
        one = query.shape[2] == 1
        if one:  # the queries that share a key stand where several tokens would: nothing is copied
            query = query.reshape(query.shape[0], c.key_value_heads, -1, c.head_width)
        y = attend(query, key, value, mask, scale=c.scale, soft_cap=c.attention_soft_cap)
        y = y.reshape(x.shape[0], 1, -1) if one else y.transpose(1, 2).flatten(2)
        return self.out(y)


class DecoderBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); with `post_norms` each part's output is normalised."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.dropout, self.post_norms = config.dropout, config.post_norms
        self.attention_norm, self.attention = RmsNorm(config.width, config.norm_eps), DecoderAttention(config)
        self.mlp_norm, self.mlp = RmsNorm(config.width, config.norm_eps), GatedMlp(config.width, config.mlp_width)
        if config.post_norms:
            self.attention_after, self.mlp_after = (RmsNorm(config.width, config.norm_eps) for _ in range(2))

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None, cache: KeyValueCache | None) -> Tensor:
        y = self.attention(self.attention_norm(x), angles, mask, cache)
        if self.post_norms:
            y = self.attention_after(y)
        x = x + F.dropout(y, self.dropout, self.training)
        y = F.dropout(self.mlp(self.mlp_norm(x)), self.dropout, self.training)  # before the norm after it, as in big_vision
        return x + (self.mlp_after(y) if self.post_norms else y)


class Decoder(nn.Module):
    """A causal decoder: `embed` ids, run `forward`, compute `logits`."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.token_embedding = TokenEmbedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.depth))
        self.norm = RmsNorm(config.width, config.norm_eps)
        self.apply(_start)

    def embed(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Look up tokens, times the root of the width (rounded to the weights' precision, as Gemma does)."""
        x = self.token_embedding(ids)
        return x * torch.tensor(self.config.width**0.5, dtype=x.dtype).item()

    def cache(self, batch: int, capacity: int, dtype: torch.dtype | None = None) -> DecoderCache:
        """Allocate keys and values for `capacity` tokens; by default in the weights' precision."""
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
        """Pass embedded tokens through the blocks and the last norm.

        Args:
            x: tokens, see `embed`.
            positions: of the tokens; by default they continue those in the cache.
            mask: which keys tokens attend to, a column per cached token, then per token of x; each attends to at least one.
            local_mask: the same for the local blocks of a config with a window; required with a mask wider than the window.
            causal: without a mask, tokens attend to themselves and earlier ones, in local blocks within the window; else all
                to all, in local blocks too.
            cache: earlier tokens, which are also attended to; x is added to them.

        Raises:
            BadInput: the tokens do not fit the cache.
        """
        earlier = 0 if cache is None else cache.length
        count = x.shape[1]
        if positions is None:
            positions = torch.arange(earlier, earlier + count, device=x.device)[None]
        wide, narrow = self._masks(count, earlier + count, mask, local_mask, causal, x)
        angles = rotary_angles(positions, self.config.head_width, self.config.rope_wavelength)
        for i, block in enumerate(self.blocks):
            x = block(x, angles, narrow if self.config.local(i) else wide, None if cache is None else cache.blocks[i])
        return self.norm(x)

    def _masks(
        self, queries: int, keys: int, mask: Tensor | None, local: Tensor | None, causal: bool, x: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Make the terms added to logits in global blocks, and in local ones."""
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

    def logits(self, x: Float[Tensor, "*s d"], capped: bool = True, count: int | None = None) -> Float[Tensor, "*s v"]:
        """Compute the logits of the next token after each of the tokens that `forward` returned.

        Args:
            x: tokens after the last norm.
            capped: apply the config's logit_soft_cap, if it has one.
            count: number of first tokens of the vocabulary to use; by default all.
        """
        logits = self.token_embedding.project(x, count)
        cap = self.config.logit_soft_cap
        return logits if cap is None or not capped else torch.tanh(logits / cap) * cap


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Convert a boolean mask to numbers that are added to logits, once for all blocks."""
    if mask is None:
        return None
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def _start(module: nn.Module) -> None:
    """Draw weights with a variance of one over the number of inputs."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
