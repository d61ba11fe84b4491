"""FSDP2: the weights, gradients, optimiser state and average of a run, sharded over its processes.

    at rest                      in the loss                     after backward                    optimiser, average
    process 0: first rows  --+-> all rows in every process  --+-> process 0: first rows' gradients --> first rows
    process 1: last rows   --+   (all-gather)                 +-> process 1: last rows' gradients  --> last rows
                                                    (reduce-scatter, mean)

With `TrainConfig.replicas` the processes form a mesh of two axes (HSDP): each row of the mesh holds one sharded model, and
gradients are then averaged over the rows (all-reduce of the shards).

Source: PyTorch FSDP (arXiv 2304.11277) in torch's second form, `fully_shard`, which shards every parameter separately; hybrid
sharding, section 3.2.2.
Checkpoints hold whole tensors, so any number of processes, with DDP or FSDP, may resume from them.
The rest of the loop accesses it through `process_group` only: importing torch's FSDP2 takes seconds, which other runs avoid.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter

from tapetum.core.errors import BadInput
from tapetum.train.config import TrainConfig
from tapetum.train.process_group import ProcessGroup


def shard(module: nn.Module, parts: Sequence[nn.Module], processes: ProcessGroup, config: TrainConfig) -> nn.Module:
    """Shard the module's parameters over the processes, in place; single numbers (a learned temperature) stay whole.

    `parts` are modules inside it that gather and release their weights separately, inner ones first. Raises BadInput if
    `config.replicas` does not divide the number of processes.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP2 knows no other memory layout
    if config.replicas == 1:
        mesh = init_device_mesh(processes.device.type, (processes.size,), mesh_dim_names=("shard",))
    else:
        if processes.size % config.replicas:
            raise BadInput(f"replicas is {config.replicas} of {processes.size} processes; give a divisor of their number")
        sizes = config.replicas, processes.size // config.replicas
        mesh = init_device_mesh(processes.device.type, sizes, mesh_dim_names=("replicate", "shard"))
    policy = MixedPrecisionPolicy()
    if config.gather_bf16:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    whole = {parameter for parameter in module.parameters() if parameter.dim() == 0}  # no rows: FSDP2 refuses them
    for part in (*parts, module):
        fully_shard(part, mesh=mesh, mp_policy=policy, ignored_params=whole)
        assert isinstance(part, FSDPModule)
        part.set_custom_all_gather(_AllGather(processes))
        part.set_custom_reduce_scatter(_ReduceScatter(processes))
    return module


@contextmanager
def without_exchange(module: nn.Module) -> Iterator[None]:
    """Keep the gradients of the block whole in this process; they are exchanged with those of the next pass outside it."""
    assert isinstance(module, FSDPModule)
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


class _AllGather(DefaultAllGather):
    """torch's own, whose tensors `ProcessGroup.wait_released` tracks."""

    def __init__(self, processes: ProcessGroup):
        self.processes = processes

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False) -> "dist.Work | None":
        register = self.processes.register
        return super().__call__(register(output_tensor), register(input_tensor), group, async_op)


class _ReduceScatter(DefaultReduceScatter):
    """torch's own, whose tensors `ProcessGroup.wait_released` tracks."""

    def __init__(self, processes: ProcessGroup):
        self.processes = processes

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False) -> "dist.Work":
        register = self.processes.register
        return super().__call__(register(output_tensor), register(input_tensor), group, op, async_op)
