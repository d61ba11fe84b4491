"""The per-token networks of transformers: two linear layers with a GELU between, or gated ones.

Sources: GELU (arXiv 1606.08415); GEGLU and SwiGLU (arXiv 2002.05202); the quick GELU, x * sigmoid(1.702 x), is that of CLIP.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.layers.linear import linear


def quick_gelu(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Compute x * sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "silu": F.silu,
    "relu": F.relu,
}
"""By name; `gelu` is the exact one."""


def check_activation(name: str) -> str:
    """Give the name back if it is one of `ACTIVATIONS`, else raise BadInput."""
    if name not in ACTIVATIONS:
        raise BadInput(f"there is no activation {name!r}; it is one of {', '.join(ACTIVATIONS)}")
    return name


class Mlp(nn.Module):
    """Two linear layers with an activation between."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu", bias: bool = True):
        super().__init__()
        self.activation = check_activation(activation)
        self.hidden, self.out = nn.Linear(width, hidden, bias=bias), nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        if self.activation == "gelu_tanh":
            return linear(linear(x, self.hidden, gelu=True), self.out)
        return linear(ACTIVATIONS[self.activation](linear(x, self.hidden)), self.out)


class GatedMlp(nn.Module):
    """One linear layer, times another through an activation, then a third: GEGLU with gelu_tanh, SwiGLU with silu."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu_tanh", bias: bool = False):
        super().__init__()
        self.activation = check_activation(activation)
        self.gate, self.up = nn.Linear(width, hidden, bias=bias), nn.Linear(width, hidden, bias=bias)
        self.out = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        if self.activation == "gelu_tanh":
            return linear(linear(x, self.gate, gelu=True) * linear(x, self.up), self.out)
        return linear(ACTIVATIONS[self.activation](linear(x, self.gate)) * linear(x, self.up), self.out)


class FusedGatedMlp(nn.Module):
    """GEGLU (tanh approximation) without biases, as a `GatedMlp` whose gate and up are one layer: gate first, then up.

    A step of one token is faster so; many tokens are not slower.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate_up, self.out = nn.Linear(width, 2 * hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        gate, up = linear(x, self.gate_up).chunk(2, -1)
        return linear(F.gelu(gate, approximate="tanh") * up, self.out)
