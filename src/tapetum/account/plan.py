"""Cost of a training step by shapes alone: parameters, FLOPs, and the memory of each process. Nothing is computed.

FLOPs are those of `flops.count_on_meta`. Activations are what autograd saves in one forward pass, each storage once, without
weights. Memory is one formula, with everything but activations divided by the number of processes that shard it (FSDP):

    4 bytes x (weights + gradients + optimiser state + averages) / processes + activations x examples at a time

Allocator overhead, buffers of exchanges and the weights gathered for one block come on top.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from tapetum.account.flops import by_part, count_on_meta
from tapetum.core.devices import memory_size


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Cost of a training step; FLOPs and activations are per example."""

    learning: int
    """Parameters that learn."""
    frozen: int
    """Parameters that do not: of frozen networks and of teachers."""
    forward: float
    """FLOPs of the forward passes, teachers' too."""
    backward: float
    activations: float
    """Bytes saved for the backward pass."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of a process in a training step."""

    weights: int
    gradients: int
    optimizer: int
    averages: int
    activations: int

    @property
    def total(self) -> int:
        """Sum all parts."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        sizes = ", ".join(f"{name} {memory_size(size)}" for name, size in parts.items() if size)
        return f"about {memory_size(self.total)}: {sizes}"


def measure_step(
    loss: Callable[[], Tensor], parts: Mapping[str, nn.Module], examples: int = 1, *, bf16: bool = False
) -> StepCost:
    """Measure the step of a loss whose networks and inputs are on "meta".

    Args:
        loss: computes the loss of `examples` examples.
        parts: the networks, including those that learn nothing (teachers).
        examples: in `loss`; few are enough, because activations grow linearly with them.
        bf16: the loss is computed under bfloat16 autocast, where saved activations have 2 bytes a number.
    """
    networks = list({id(part): part for part in parts.values()}.values())
    weights = list({id(p): p for network in networks for p in network.parameters()}.values())
    known = {t.untyped_storage()._cdata for network in networks for t in (*network.parameters(), *network.buffers())}
    saved: dict[int, float] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            saved[storage._cdata] = storage.nbytes() / (2 if bf16 and tensor.dtype == torch.float32 else 1)
        return tensor

    def forward() -> Any:
        with saved_tensors_hooks(save, lambda tensor: tensor):
            return loss()

    with by_part(parts):
        flops = count_on_meta(forward)
    learning = sum(p.numel() for p in weights if p.requires_grad)
    return StepCost(
        learning=learning,
        frozen=sum(p.numel() for p in weights) - learning,
        forward=flops.forward / examples,
        backward=flops.backward / examples,
        activations=sum(saved.values()) / examples,
    )


def process_memory(step: StepCost, micro_batch: int, processes: int = 1, *, moments: int = 2, averages: int = 0) -> Memory:
    """Compute the memory of one of `processes` that shard a model, for `micro_batch` examples at a time.

    Args:
        moments: numbers that the optimiser keeps per weight: two of AdamW, one of SGD and LARS with momentum.
        averages: averages of the weights, besides those that teachers hold.

    >>> step = StepCost(learning=1000, frozen=200, forward=0, backward=0, activations=50)
    >>> process_memory(step, 8, 2).total
    8800
    """
    learning, frozen = -(-step.learning // processes), -(-step.frozen // processes)
    return Memory(
        weights=4 * (learning + frozen),
        gradients=4 * learning,
        optimizer=4 * moments * learning,
        averages=4 * averages * (learning + frozen),
        activations=round(micro_batch * step.activations),
    )
