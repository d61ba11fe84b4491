"""Tensors of which every process may hold a share of the rows (see `fsdp`), made whole and taken apart."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor, nn

from tapetum.train.world import World

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def _is_shared(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Only such tensors have this method; to import their class takes seconds."""
    return hasattr(tensor, "to_local")


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor, what this process holds of `like`: all of it, unless that is shared out."""
    if not _is_shared(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def whole(tensors: Mapping[str, Tensor], world: World, everywhere: bool = False) -> dict[str, Tensor]:
    """The tensors with nothing shared out, those that were on the CPU; in the main process, or `everywhere`.

    All processes must call it alike; without `everywhere` the others get nothing.
    """
    result = {}
    for name, tensor in tensors.items():
        if _is_shared(tensor):
            tensor = world.gather(tensor.to_local().detach(), tensor.shape[0])
            tensor = tensor.cpu() if world.main or everywhere else tensor
        if world.main or everywhere:
            result[name] = tensor
    return result


def clip(parameters: Sequence[nn.Parameter], longest: float, world: World) -> float:
    """Norm of all gradients together, which are scaled down to `longest` if they are longer."""
    shares = [p.grad.to_local() for p in parameters if p.grad is not None and _is_shared(p.grad)]
    if not shares:
        return float(nn.utils.clip_grad_norm_(parameters, longest))
    mean = world.mean({"square": float(nn.utils.get_total_norm(shares)) ** 2})["square"]
    norm = math.sqrt(mean * world.size) if math.isfinite(mean) else math.nan
    if norm > longest:
        for share in shares:
            share.mul_(longest / (norm + 1e-6))
    return norm
