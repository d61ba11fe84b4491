"""The parts of a transformer: attention with masks, MLPs, layer scale, drop path, the block, attention pooling, LoRA.

Sources: attention (arXiv 1706.03762); grouped queries (2305.13245); the block of ViT, which normalises before each part
(2010.11929); GELU (1606.08415), with CLIP's quick version; gated MLPs, GEGLU and SwiGLU (2002.05202); layer scale
(2103.17239); drop path (1603.09382), rescaled as in timm to preserve the mean; soft cap and sliding window (Gemma 2,
2408.00118); attention pooling, the MAP head of SigLIP (2303.15343), from Set Transformer (1810.00825).

An attention mask says which keys a query may attend to (x):

        keys 0 1 2 3 4              keys 0 1 2 3 4
    query 0  x . . . .          query 0  x . . . .
          1  x x . . .                1  x x . . .
          2  x x x . .                2  . x x . .
          3  x x x x .                3  . . x x .
          4  x x x x x                4  . . . x x
           causal_mask(5)             causal_mask(5, window=2)

A query that may attend to no key gets zeros.

Low-rank updates of linear layers (LoRA, arXiv 2106.09685, section 4) are parametrisations of the weight, so all code that uses
`layer.weight` sees them. Differs from the paper: no dropout on the input, which an update of the weight cannot have.

    weight = own + (alpha / rank) up @ down        own frozen; down random, up 0: initially nothing changes
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.layers.patches import Rotation

Mask = Bool[Tensor, "..."] | Float[Tensor, "..."]
"""True where a query may attend, or numbers to be added to the logits; broadcast to (batch, heads, queries, keys)."""


class AdapterNames(NamedTuple):
    """Names of the modules where presets of adapters are inserted (`tapetum.systems.adapters.addresses`)."""

    stem: str = "stem"
    """The first convolution, or the patches."""
    stem_end: str = "stem_norm"
    """What follows it, up to the first activation where that is a module; the patches themselves."""
    inside: str = "convs.0"
    """In a block: its first convolution, or `mlp`."""
    pooled: str = ""
    """The module at which the pooled vector is changed; "" is the network itself."""
    where: Literal["after", "before", "pooled"] = "pooled"
    """Whether that vector is what the module gives, what it gets, or `pooled` among what it gives."""
    first_stage: int = 0
    """Number of the first stage of blocks that counts: the first that halves the image, or follows a stem that did."""


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
    """Compute softmax(scale * query key^T) value (arXiv 1706.03762, equation 1).

    Args:
        query: of h heads; heads n * h / g to (n + 1) * h / g share key and value n.
        key: of g heads, which must divide h.
        value: of g heads.
        mask: which keys a query may attend to.
        causal: query i attends to keys up to i only; not together with a mask.
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
    logits = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-1, -2)  # (b, h, n, m)
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
    """Allow each query the keys of its own position and earlier ones, or only the last `window` of them.

    If there are more keys than queries, the queries are at the end.
    """
    keys = queries if keys is None else keys
    distance = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
    return (distance >= 0) if window is None else (distance >= 0) & (distance < window)


def step_mask(steps: Bool[Tensor, "b n"] | Int[Tensor, "b n"]) -> Bool[Tensor, "b 1 n n"]:
    """Allow tokens their own step and earlier ones (the mask of big_vision and PaliGemma for a prefix and its continuation).

    A token with 1 begins a new step and one with 0 shares its predecessor's: 0 0 0 1 1 is a prefix of three that attend to
    each other, and two that are causal.
    """
    step = steps.long().cumsum(1)
    return (step[:, None, :] <= step[:, :, None])[:, None]


class Attention(nn.Module):
    """Multi-head attention of tokens to each other, or to a context, with linear layers before and after."""

    def __init__(self, width: int, heads: int, *, bias: bool = True, key_bias: bool = True):
        """`bias`: query, key and value have one, the key only with `key_bias` too."""
        super().__init__()
        if width % heads:
            raise BadInput(f"{heads} heads do not divide a width of {width}")
        self.heads, self.head_width = heads, width // heads
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias and key_bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.out = nn.Linear(width, width)

    def split_heads(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b h n d"]:
        """Split channels into heads."""
        return x.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        context: Float[Tensor, "b m k"] | None = None,
        *,
        mask: Mask | None = None,
        causal: bool = False,
        rotary: "Rotation | None" = None,
    ) -> Float[Tensor, "b n c"]:
        """Attend to the context, by default the tokens themselves, as `attend` does; `rotary` rotates queries and keys
        first."""
        context = x if context is None else context
        query, key, value = map(self.split_heads, (self.query(x), self.key(context), self.value(context)))
        if rotary is not None:
            query, key = rotary.apply(query), rotary.apply(key)
        return self.out(attend(query, key, value, mask, causal=causal).transpose(1, 2).flatten(2))


def quick_gelu(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Compute x * sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


class _Function(nn.Module):
    """A function without parameters as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": partial(_Function, quick_gelu),
    "silu": nn.SiLU,
    "relu": nn.ReLU,
}
"""Makers of modules by name; `gelu` is the exact one."""


def make_activation(name: str) -> nn.Module:
    """Make one of `ACTIVATIONS`. Raises BadInput for an unknown name."""
    if name not in ACTIVATIONS:
        raise BadInput(f"there is no activation {name!r}; it is one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class Mlp(nn.Module):
    """Two linear layers with an activation between."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu"):
        super().__init__()
        self.hidden, self.activation = nn.Linear(width, hidden), make_activation(activation)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        return self.out(self.activation(self.hidden(x)))


class GatedMlp(nn.Module):
    """out(activation(gate(x)) * up(x)) (GEGLU, SwiGLU); gate and up are one layer, gate first."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu_tanh", bias: bool = False):
        super().__init__()
        # Before the layers, since `speed_up` takes a GELU that follows a linear layer for a part of all of it.
        self.activation = make_activation(activation)
        self.gate_up, self.out = nn.Linear(width, 2 * hidden, bias=bias), nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.out(self.activation(gate) * up)


class LayerScale(nn.Module):
    """Multiply each channel by a learned number."""

    def __init__(self, width: int, start: float):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        return x * self.weight


class DropPath(nn.Module):
    """Zero whole examples in training, with this probability; the others are divided by 1 - probability."""

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, x: Float[Tensor, "b *s c"]) -> Float[Tensor, "b *s c"]:
        if not self.training or self.probability == 0:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.probability
        return x * kept / (1 - self.probability)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); any attention and any MLP that preserve the shape."""

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
    ):
        """Assemble the parts.

        Args:
            attention: called with the tokens, and with any further arguments of the block.
            mlp: called with the tokens.
            norm: makes a norm of `width` channels.
            width: channels of the tokens.
            layer_scale: initial value of the factors on the outputs of both parts; none by default.
            drop_path: probability with which a part is skipped for an example, in training.
            dropout: probability with which a value of a part's output is zeroed, in training.
        """
        super().__init__()
        self.attention_norm, self.attention = norm(), attention
        self.mlp_norm, self.mlp = norm(), mlp
        self.attention_scale, self.mlp_scale = (
            nn.Identity() if layer_scale is None else LayerScale(width, layer_scale) for _ in range(2)
        )
        self.drop_path, self.dropout = DropPath(drop_path), dropout

    def forward(self, x: Float[Tensor, "b n c"], **attention: Any) -> Float[Tensor, "b n c"]:
        y = self.attention(self.attention_norm(x), **attention)
        x = x + self.drop_path(self.attention_scale(F.dropout(y, self.dropout, self.training)))
        y = self.mlp(self.mlp_norm(x))
        return x + self.drop_path(self.mlp_scale(F.dropout(y, self.dropout, self.training)))


class AttentionPooling(nn.Module):
    """A learned query attends to all tokens, and the result passes through a residual MLP."""

    def __init__(self, width: int, heads: int, hidden: int, activation: str = "gelu_tanh", eps: float = 1e-6):
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, width))
        nn.init.trunc_normal_(self.query, std=width**-0.5)
        self.attention = Attention(width, heads)
        self.norm, self.mlp = nn.LayerNorm(width, eps=eps), Mlp(width, hidden, activation)

    def forward(self, tokens: Float[Tensor, "b n c"], mask: Mask | None = None) -> Float[Tensor, "b c"]:
        """Pool the tokens that `mask` (b, 1, 1, n) allows; all by default."""
        # Contiguous: torch multiplies expanded rows in another way where the weight learns, so that last bits would differ.
        query = self.query.expand(tokens.shape[0], -1, -1).contiguous()
        x = self.attention(query, tokens, mask=mask)  # (b, 1, c)
        return (x + self.mlp(self.norm(x)))[:, 0]


class TokenEmbedding(nn.Embedding):
    """A vector per token of a vocabulary, shared with the last layer (weight tying, arXiv 1608.05859)."""

    def project(self, x: Float[Tensor, "*s c"], count: int | None = None) -> Float[Tensor, "*s v"]:
        """Compute the logits of the vocabulary, or of its first `count` tokens."""
        return F.linear(x, self.weight[:count])


def start_linear(module: nn.Module) -> None:
    """Draw the weights of a linear layer from a normal of standard deviation 0.02, truncated at two of them; biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class LowRank(nn.Module):
    """Adds a low-rank matrix to a weight."""

    def __init__(self, weight: Float[Tensor, "o i"], rank: int, alpha: float):
        super().__init__()
        outward, inward = weight.shape
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, inward, dtype=weight.dtype, device=weight.device))
        self.up = nn.Parameter(torch.zeros(outward, rank, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        """Compute the updated weight."""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


def add_lora(module: nn.Module, rank: int, alpha: float | None = None) -> list[str]:
    """Add a low-rank update to every linear layer inside, freeze everything else in it, and return the layers' names.

    `alpha` is `rank` by default, so that the update is `up @ down`.
    """
    module.requires_grad_(False)
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    for name in names:
        layer = module.get_submodule(name)
        change = LowRank(layer.weight, rank, float(rank) if alpha is None else alpha)  # pyright: ignore[reportArgumentType]
        parametrize.register_parametrization(layer, "weight", change)
    return names


def merge_lora(module: nn.Module) -> None:
    """Merge the updates into the weights, which become plain again."""
    for layer in [*module.modules()]:
        if parametrize.is_parametrized(layer, "weight") and isinstance(layer.parametrizations.weight[0], LowRank):  # pyright: ignore
            parametrize.remove_parametrizations(layer, "weight")
