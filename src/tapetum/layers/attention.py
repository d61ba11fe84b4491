"""Attention, with grouped queries, masks, rotary positions, soft cap and key-value cache.

Sources: multi-head attention (arXiv 1706.03762); grouped queries (arXiv 2305.13245); rotary positions (arXiv 2104.09864) in the
layout of Gemma, where channel i of a head turns with channel i + half; soft cap and sliding window (Gemma 2, arXiv 2408.00118).

A mask says where a query may look:

        keys 0 1 2 3 4              keys 0 1 2 3 4
    query 0  x . . . .          query 0  x . . . .
          1  x x . . .                1  x x . . .
          2  x x x . .                2  . x x . .
          3  x x x x .                3  . . x x .
          4  x x x x x                4  . . . x x
           causal_mask(5)             causal_mask(5, window=2)

A query that may look nowhere finds zeros.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.layers.linear import linear

Mask = Bool[Tensor, "..."] | Float[Tensor, "..."]
"""True where a query may look, or numbers to be added to the logits; broadcast to (batch, heads, queries, keys)."""


def attend(
    query: Float[Tensor, "b h n d"],
    key: Float[Tensor, "b g m d"],
    value: Float[Tensor, "b g m e"],
    mask: Mask | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Float[Tensor, "b h n e"]:
    """Look at the values by how well their keys fit the queries.

    Args:
        query: of h heads; heads n * h / g to (n + 1) * h / g share key and value n.
        key: of g heads, by which h can be divided.
        value: of g heads.
        mask: where queries may look.
        causal: query i looks at keys up to i only; not together with a mask.
        scale: of the logits; d ** -0.5 by default.
        soft_cap: logits become soft_cap * tanh(logits / soft_cap), before the mask.
    """
    grouped = query.shape[1] != key.shape[1]
    if soft_cap is None:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
        )
    if grouped:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    logits = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-1, -2)
    logits = soft_cap * torch.tanh(logits.to(torch.promote_types(logits.dtype, torch.float32)) / soft_cap)
    if causal:
        mask = causal_mask(query.shape[2], key.shape[2], device=query.device)
    if mask is not None and mask.dtype == torch.bool:
        # A row without any true entry is all -inf, and its softmax not a number.
        weights = logits.masked_fill(~mask, -torch.inf).softmax(-1).masked_fill(~mask, 0.0)
        weights = torch.where(mask.any(-1, keepdim=True), weights, 0.0)
    else:
        weights = (logits if mask is None else logits + mask).softmax(-1)
    return weights.to(value.dtype) @ value


def causal_mask(
    queries: int, keys: int | None = None, window: int | None = None, device: torch.device | None = None
) -> Bool[Tensor, "n m"]:
    """Let each query look at the key of its own place and at earlier ones, the last `window` of them if that is given.

    Where there are more keys than queries, the queries are the last of them.
    """
    keys = queries if keys is None else keys
    distance = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
    return (distance >= 0) if window is None else (distance >= 0) & (distance < window)


def step_mask(
    steps: Bool[Tensor, "b n"] | Int[Tensor, "b n"], valid: Bool[Tensor, "b n"] | None = None
) -> Bool[Tensor, "b 1 n n"]:
    """Let tokens look at their own step and at earlier ones (big_vision's and PaliGemma's mask of a prefix and what follows).

    A token with 1 begins a new step and one with 0 shares its predecessor's: 0 0 0 1 1 is a prefix of three that see each
    other, and two that are causal. Tokens that are not `valid` are seen by none and see none.
    """
    step = steps.long().cumsum(1)
    mask = step[:, None, :] <= step[:, :, None]
    if valid is not None:
        mask = mask & valid[:, None, :] & valid[:, :, None]
    return mask[:, None]


def rotate(
    x: Float[Tensor, "b h n d"], positions: Int[Tensor, "#b n"], wavelength: float = 10_000.0
) -> Float[Tensor, "b h n d"]:
    """Turn each head's channels i and i + d / 2 by position * wavelength ** (-2 i / d); computed in float32 at least."""
    return turn(x, *rotary_angles(positions, x.shape[-1], wavelength, torch.promote_types(x.dtype, torch.float32)))


def rotary_angles(
    positions: Int[Tensor, "#b n"], width: int, wavelength: float = 10_000.0, dtype: torch.dtype = torch.float32
) -> tuple[Float[Tensor, "#b 1 n d"], Float[Tensor, "#b 1 n d"]]:
    """Give cosines and sines by which `turn` turns heads of `width` channels; the sines of the first half have a minus."""
    half = width // 2
    speed = wavelength ** -(torch.arange(half, device=positions.device, dtype=dtype) / half)
    angle = positions[:, None, :, None].to(dtype) * speed
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def turn(
    x: Float[Tensor, "b h n d"], cos: Float[Tensor, "#b 1 n d"], sin: Float[Tensor, "#b 1 n d"]
) -> Float[Tensor, "b h n d"]:
    """Turn channels i and i + d / 2 of each head by angles that `rotary_angles` gave."""
    swapped = x.roll(x.shape[-1] // 2, -1)
    return torch.addcmul(x * cos, swapped, sin).to(x.dtype)


class KeyValueCache:
    """Keys and values of the tokens that one attention layer has seen, so that the next token costs one row."""

    def __init__(
        self,
        batch: int,
        heads: int,
        capacity: int,
        head_width: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ):
        self.keys = torch.zeros(batch, heads, capacity, head_width, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0
        """Tokens held."""

    def append(
        self, key: Float[Tensor, "b g n d"], value: Float[Tensor, "b g n d"]
    ) -> tuple[Float[Tensor, "b g m d"], Float[Tensor, "b g m d"]]:
        """Add the next n tokens and give all m that are held. Raises BadInput where they do not fit."""
        end = self.length + key.shape[2]
        if end > self.keys.shape[2]:
            raise BadInput(f"{end} tokens do not fit a cache of {self.keys.shape[2]}; make it larger")
        self.keys[:, :, self.length : end], self.values[:, :, self.length : end] = key, value
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Make row i of the batch what row `rows[i]` was, as a beam search asks; the batch may grow or shrink."""
        self.keys, self.values = self.keys[rows], self.values[rows]


class Attention(nn.Module):
    """Attention of tokens to each other, or to a context, with linear layers before and after."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        head_width: int | None = None,
        context_width: int | None = None,
        bias: bool = True,
        out_bias: bool = True,
        scale: float | None = None,
        soft_cap: float | None = None,
        rotary: float | None = None,
    ):
        """Make the layers.

        Args:
            width: channels of the tokens.
            heads: of the queries.
            kv_heads: of keys and values, if there are fewer (grouped queries).
            head_width: channels of a head; width / heads by default.
            context_width: channels of what is looked at, if they differ.
            bias: whether query, key and value have one.
            out_bias: whether the layer after has one.
            scale: of the logits; head_width ** -0.5 by default.
            soft_cap: of the logits, see `attend`.
            rotary: longest wavelength of rotary positions; none by default.
        """
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        if (head_width is None and width % heads) or heads % kv_heads:
            raise BadInput(f"{heads} heads do not divide a width of {width}, or {kv_heads} heads of keys do not divide them")
        head_width = width // heads if head_width is None else head_width
        context_width = width if context_width is None else context_width
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, head_width
        self.scale, self.soft_cap, self.rotary = scale, soft_cap, rotary
        self.query = nn.Linear(width, heads * head_width, bias=bias)
        self.key = nn.Linear(context_width, kv_heads * head_width, bias=bias)
        self.value = nn.Linear(context_width, kv_heads * head_width, bias=bias)
        self.out = nn.Linear(heads * head_width, width, bias=out_bias)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        context: Float[Tensor, "b m k"] | None = None,
        *,
        mask: Mask | None = None,
        causal: bool = False,
        positions: Int[Tensor, "#b n"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Give what the tokens find.

        Args:
            x: tokens.
            context: what they look at; themselves by default.
            mask: where they may look.
            causal: a token looks at itself and at earlier ones only; not together with mask or cache.
            positions: of the tokens, for rotary positions; 0, 1, 2, ... after those in the cache by default.
            cache: earlier tokens, which are looked at too; x is added to them. A mask then has a column for each token held.
        """
        context = x if context is None else context
        query = linear(x, self.query).unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)
        key, value = (
            linear(context, layer).unflatten(-1, (self.kv_heads, self.head_width)).transpose(1, 2)
            for layer in (self.key, self.value)
        )
        if self.rotary is not None:
            if positions is None:
                start = 0 if cache is None else cache.length
                positions = torch.arange(start, start + x.shape[1], device=x.device)[None]
            query, key = rotate(query, positions, self.rotary), rotate(key, positions, self.rotary)
        if cache is not None:
            key, value = cache.append(key, value)
        found = attend(query, key, value, mask, causal=causal, scale=self.scale, soft_cap=self.soft_cap)
        return linear(found.transpose(1, 2).flatten(2), self.out)
