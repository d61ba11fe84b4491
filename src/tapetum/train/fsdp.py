"""FSDP2: the weights, gradients, optimiser and average of a run, a shard of each in every process.

    at rest                      in the loss                     after backward                    optimiser, average
    process 0: first rows  --+-> all rows in every process  --+-> process 0: first rows' gradients --> first rows
    process 1: last rows   --+   (all-gather)                 +-> process 1: last rows' gradients  --> last rows
                                                    (reduce-scatter, mean)

Source: PyTorch FSDP (arXiv 2304.11277) in torch's second form, `fully_shard`, which works on every parameter by itself.
Checkpoints hold whole tensors, so any number of processes, with DDP or FSDP, may go on from them.
The rest of the loop knows it by `process_group` alone: importing torch's FSDP2 takes seconds, which only its runs should pay.
"""

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter

from tapetum.train.process_group import ProcessGroup


def shard(module: nn.Module, parts: Sequence[nn.Module], processes: ProcessGroup) -> nn.Module:
    """Shard the module's parameters over the processes, in place.

    `parts` are modules inside it that gather and let go of their weights by themselves, inner ones first.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP2 knows no other memory layout
    mesh = init_device_mesh(processes.device.type, (processes.size,))
    for part in (*parts, module):
        fully_shard(part, mesh=mesh)
        assert isinstance(part, FSDPModule)
        part.set_custom_all_gather(_AllGather(processes))
        part.set_custom_reduce_scatter(_ReduceScatter(processes))
    return module


class _AllGather(DefaultAllGather):
    """torch's own, whose tensors `ProcessGroup.wait_released` knows of."""

    def __init__(self, processes: ProcessGroup):
        self.processes = processes

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False) -> "dist.Work | None":
        register = self.processes.register
        return super().__call__(register(output_tensor), register(input_tensor), group, async_op)


class _ReduceScatter(DefaultReduceScatter):
    """torch's own, whose tensors `ProcessGroup.wait_released` knows of."""

    def __init__(self, processes: ProcessGroup):
        self.processes = processes

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False) -> "dist.Work":
        register = self.processes.register
        return super().__call__(register(output_tensor), register(input_tensor), group, op, async_op)
