r"""Low-rank changes of linear layers (LoRA, arXiv 2106.09685), and the memory that a training takes.

    y = W x + b + (alpha / rank) B A x        W, b stay; A (rank, in) is drawn, B (out, rank) begins at 0: nothing changes yet

`merged` adds the change to W, after which the layer costs what it did. Names of the weights stay: what was `q.weight` is
`q.weight` still, beside `q.lora_a` and `q.lora_b`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.blocks.linear import in_precision
from tapetum.errors import BadInput


class LoraLinear(nn.Linear):
    """A linear layer with a low-rank change, which alone learns. Made of a layer, whose weights it takes over."""

    def __init__(self, layer: nn.Linear, rank: int, alpha: float):
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.rank, self.factor = rank, alpha / rank
        make = {"dtype": torch.float32, "device": layer.weight.device}
        self.lora_a, self.lora_b = (
            nn.Parameter(torch.empty(rank, self.in_features, **make)),
            nn.Parameter(torch.zeros(self.out_features, rank, **make)),
        )
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        for own in (self.weight, self.bias):
            if own is not None:
                own.requires_grad_(False)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        plain = F.linear(in_precision(x, self.weight), self.weight, self.bias)
        change = F.linear(F.linear(in_precision(x, self.lora_a), self.lora_a), self.lora_b)
        return plain + (self.factor * change).to(plain.dtype)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rank={self.rank}"

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Give a plain layer with the change in its weight."""
        layer = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        change = (self.lora_b @ self.lora_a) * self.factor
        layer.weight = nn.Parameter((self.weight.float() + change).to(self.weight.dtype))
        layer.bias = None if self.bias is None else nn.Parameter(self.bias.detach())
        return layer


def add_lora(model: nn.Module, patterns: Iterable[str], rank: int, alpha: float = 16.0) -> nn.Module:
    """Freeze a model and give low-rank changes to the linear layers whose names match; returns it.

    Args:
        model: changed in place.
        patterns: names of layers, with * and ?, such as "language.blocks.*".
        rank: of the changes.
        alpha: their factor is alpha / rank.

    Raises:
        BadInput: the rank is below 1, or a pattern matches no linear layer.

    >>> model = add_lora(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), ["1"], rank=1)
    >>> [name for name, p in model.named_parameters() if p.requires_grad]
    ['1.lora_a', '1.lora_b']
    """
    if rank < 1:
        raise BadInput(f"the rank is {rank}; it must be 1 or more")
    model.requires_grad_(False)
    for pattern in patterns:
        found = [(n, m) for n, m in model.named_modules() if type(m) is nn.Linear and fnmatchcase(n, pattern)]
        if not found and not any(isinstance(m, LoraLinear) and fnmatchcase(n, pattern) for n, m in model.named_modules()):
            raise BadInput(f"no linear layer is named like {pattern!r}")
        for name, layer in found:
            _put(model, name, LoraLinear(layer, rank, alpha))
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Add all low-rank changes to their weights; returns the model, whose layers are as before `add_lora`."""
    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLinear)]:
        _put(model, name, layer.merged())
    return model


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, layer)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that a training step holds at its peak, in parts."""

    weights: int
    gradients: int
    optimizer: int
    """AdamW's two moments."""
    activations: int
    """What the forward keeps for the backward."""

    @property
    def total(self) -> int:
        """Sum them up."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = ("weights", "gradients", "optimizer", "activations")
        told = ", ".join(f"{name} {getattr(self, name) / 2**20:,.0f}" for name in parts)
        return f"about {self.total / 2**20:,.0f} MiB: {told}"


def training_memory(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> TrainingMemory:
    """Predict the memory of a step of AdamW; nothing is computed where model and inputs are on the device "meta".

    Args:
        model: with what is frozen frozen.
        loss: computes the loss of a micro-batch with the model.
    """
    learning = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    held = {p.untyped_storage()._cdata: 0 for p in model.parameters()}
    kept: dict[Any, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in held:
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []  # so that no storage's address is used twice
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(model)
    tensors = [*model.parameters(), *model.buffers()]
    return TrainingMemory(
        weights=sum(t.numel() * t.element_size() for t in tensors),
        gradients=learning,
        optimizer=2 * learning,
        activations=sum(kept.values()),
    )
