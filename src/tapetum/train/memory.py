"""Estimated memory of a training run, before it begins."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


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
        listed = ", ".join(f"{name} {getattr(self, name) / 2**20:,.0f}" for name in parts)
        return f"about {self.total / 2**20:,.0f} MiB: {listed}"


def training_memory(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> TrainingMemory:
    """Predict the memory of a step of AdamW; nothing is computed where model and inputs are on the device "meta".

    Args:
        model: with what is frozen frozen.
        loss: computes the loss of a micro-batch with the model.
    """
    learning = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    parameters = {p.untyped_storage()._cdata: 0 for p in model.parameters()}
    saved: dict[Any, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            saved[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []  # so that no storage's address is used twice
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), _Fused():
        loss(model)
    tensors = [*model.parameters(), *model.buffers()]
    return TrainingMemory(
        weights=sum(t.numel() * t.element_size() for t in tensors),
        gradients=learning,
        optimizer=2 * learning,
        activations=sum(saved.values()),
    )


class _Fused(TorchFunctionMode):
    """Lets attention on the device "meta" keep what the fused kernels keep: there torch takes the plain one, which keeps a
    number for each pair of tokens."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention and args and args[0].device.type == "meta":
            return _Attention.apply(*args[:3])
        return func(*args, **(kwargs or {}))


class _Attention(torch.autograd.Function):
    """Keeps queries, keys, values, the result, and a number for each query and head; computes nothing."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        out = queries.new_empty(*queries.shape[:-1], values.shape[-1])
        ctx.save_for_backward(queries, keys, values, out, queries.new_empty(queries.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        raise NotImplementedError
