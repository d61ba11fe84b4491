"""FSDP2: the weights, gradients, optimiser and average of a run, a share of each in every process.

    at rest                      in the loss                     after backward                    optimiser, average
    process 0: first rows  --+-> all rows in every process  --+-> process 0: first rows' gradients --> first rows
    process 1: last rows   --+   (all-gather)                 +-> process 1: last rows' gradients  --> last rows
                                                    (reduce-scatter, mean)

Source: PyTorch FSDP (arXiv 2304.11277) in torch's second form, `fully_shard`, which works on every parameter by itself.
Checkpoints hold whole tensors, so any number of processes, with DDP or FSDP, may go on from them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter
from torch.distributed.tensor import DTensor, distribute_tensor

from tapetum.train.world import World


def shard(module: nn.Module, parts: Sequence[nn.Module], world: World) -> nn.Module:
    """Leaves each process its share of the module's parameters, in place.

    `parts` are modules inside it that gather and let go of their weights by themselves, inner ones first.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP2 knows no other memory layout
    mesh = init_device_mesh(world.device.type, (world.size,))
    for part in (*parts, module):
        fully_shard(part, mesh=mesh)
        assert isinstance(part, FSDPModule)
        part.set_custom_all_gather(_AllGather(world))
        part.set_custom_reduce_scatter(_ReduceScatter(world))
    return module


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor, what this process holds of `like`: all of it, unless that is shared out."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def whole(tensors: Mapping[str, Tensor], world: World, everywhere: bool = False) -> dict[str, Tensor]:
    """The tensors with nothing shared out, those that were on the CPU; in the main process, or `everywhere`.

    All processes must call it alike; without `everywhere` the others get nothing.
    """
    result = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            tensor = world.gather(tensor.to_local().detach(), tensor.shape[0])
            tensor = tensor.cpu() if world.main or everywhere else tensor
        if world.main or everywhere:
            result[name] = tensor
    return result


def clip(parameters: Sequence[nn.Parameter], longest: float, world: World) -> float:
    """Norm of all gradients together, which are scaled down to `longest` if they are longer."""
    shares = [p.grad.to_local() for p in parameters if isinstance(p.grad, DTensor)]
    if not shares:
        return float(nn.utils.clip_grad_norm_(parameters, longest))
    mean = world.mean({"square": float(nn.utils.get_total_norm(shares)) ** 2})["square"]
    norm = math.sqrt(mean * world.size) if math.isfinite(mean) else math.nan
    if norm > longest:
        for share in shares:
            share.mul_(longest / (norm + 1e-6))
    return norm


class _AllGather(DefaultAllGather):
    """torch's own, whose tensors `World.settle` knows of."""

    def __init__(self, world: World):
        self.world = world

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False) -> "dist.Work | None":
        lend = self.world.lend
        return super().__call__(lend(output_tensor), lend(input_tensor), group, async_op)


class _ReduceScatter(DefaultReduceScatter):
    """torch's own, whose tensors `World.settle` knows of."""

    def __init__(self, world: World):
        self.world = world

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False) -> "dist.Work":
        lend = self.world.lend
        return super().__call__(lend(output_tensor), lend(input_tensor), group, op, async_op)
