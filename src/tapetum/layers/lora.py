"""Low-rank updates of linear layers (LoRA, arXiv 2106.09685, section 4).

    weight = own + (alpha / rank) up @ down        own frozen; down random, up 0: initially nothing changes

The update is a parametrisation of the weight, so all code that uses `layer.weight` sees it.

Differs from the paper: there is no dropout on the input, which an update of the weight cannot have.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize


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
