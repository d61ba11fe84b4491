"""Tensors of which every process may hold a shard, some of the rows (see `fsdp`), put together and cut again."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

from tapetum.train.world import World, current_world

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Say whether this process holds a part of the tensor only, without the seconds that importing its class takes."""
    return hasattr(tensor, "to_local")


def shard_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut from a full tensor what this process holds of `like`: all of it, unless that is sharded."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def full_tensors(tensors: Mapping[str, Tensor], world: World, everywhere: bool = False) -> dict[str, Tensor]:
    """Put sharded tensors together, which are then on the CPU; in the main process, or `everywhere`.

    All processes must call it alike; without `everywhere` the others get nothing.
    """
    result = {}
    for name, tensor in tensors.items():
        if is_sharded(tensor):
            tensor = world.join_rows(tensor.to_local().detach(), tensor.shape[0])
            tensor = tensor.cpu() if world.main or everywhere else tensor
        if world.main or everywhere:
            result[name] = tensor
    return result


def clip_gradients(parameters: Sequence[nn.Parameter], longest: float, world: World) -> float:
    """Scale all gradients together down to the norm `longest` if theirs is more; returns what it was."""
    shards = [p.grad.to_local() for p in parameters if p.grad is not None and is_sharded(p.grad)]
    if not shards:
        return float(nn.utils.clip_grad_norm_(parameters, longest))
    mean = world.mean({"square": float(nn.utils.get_total_norm(shards)) ** 2})["square"]
    norm = math.sqrt(mean * world.size) if math.isfinite(mean) else math.nan
    if norm > longest:
        for shard in shards:
            shard.mul_(longest / (norm + 1e-6))
    return norm


def full_norms(tensors: Sequence[Tensor]) -> list[float]:
    """Find the norm of each tensor, sharded ones put together, in one exchange; of one kind all or none are sharded."""
    if not tensors:
        return []
    locals_ = [t.to_local() if is_sharded(t) else t for t in tensors]
    squares = torch.stack([local.detach().double().square().sum() for local in locals_])
    if is_sharded(tensors[0]):
        squares = current_world().sum(squares)
    return squares.sqrt().tolist()
