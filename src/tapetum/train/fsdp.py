"""FSDP2: the weights, gradients, optimiser state and average of a run, sharded over its processes.

    at rest                      in the loss                     after backward                    optimiser, average
    process 0: first rows  --+-> all rows in every process  --+-> process 0: first rows' gradients --> first rows
    process 1: last rows   --+   (all-gather)                 +-> process 1: last rows' gradients  --> last rows
                                                    (reduce-scatter, mean)

With `TrainConfig.replicas` the processes form a mesh of two axes (HSDP): each row of the mesh holds one sharded model, and
gradients are then averaged over the rows (all-reduce of the shards).

Source: PyTorch FSDP (arXiv 2304.11277) in torch's second form, `fully_shard`, which shards every parameter separately; hybrid
sharding, section 3.2.2.
The main process builds the whole model on the host, the others without values; each gets its rows, one tensor after the other.
Checkpoints hold whole tensors, so any number of processes, with DDP or FSDP, may resume from them.
The rest of the loop accesses it through `process_group` only: importing torch's FSDP2 takes seconds, which other runs avoid.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter
from torch.distributed.tensor import distribute_tensor
from torch.nn.modules.module import register_module_parameter_registration_hook

from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.reading import no_pipe
from tapetum.hub.state_dicts import shards
from tapetum.train.config import TrainConfig
from tapetum.train.process_group import ProcessGroup, is_sharded
from tapetum.train.state import new_model
from tapetum.train.task import Task


def shard(
    module: nn.Module,
    parts: Sequence[nn.Module],
    processes: ProcessGroup,
    config: TrainConfig,
    unset: Collection[nn.Module] = (),
) -> nn.Module:
    """Shard the module's parameters over the processes, in place; single numbers (a learned temperature) stay whole.

    The values are the main process's; of the other processes and of the modules `unset`, parameters may be on "meta". `parts`
    are modules inside it that gather and release their weights separately, inner ones first. Raises BadInput if
    `config.replicas` does not divide the number of processes.
    """
    if config.replicas == 1:
        mesh = init_device_mesh(processes.device.type, (processes.size,), mesh_dim_names=("shard",))
    else:
        if processes.size % config.replicas:
            raise BadInput(f"replicas is {config.replicas} of {processes.size} processes; give a divisor of their number")
        sizes = config.replicas, processes.size // config.replicas
        mesh = init_device_mesh(processes.device.type, sizes, mesh_dim_names=("replicate", "shard"))
    values, single = _exchange_for_meta(module), [p for p in module.parameters() if p.dim() == 0]  # FSDP2 refuses these
    for parameter in single:
        parameter.data = parameter.data.to(processes.device)
    if processes.size > 1:
        processes.broadcast_tensors([*single, *module.buffers()])
    for part in (*parts, module):
        fully_shard(part, mesh=mesh, ignored_params=set(single))
        assert isinstance(part, FSDPModule)
        part.set_custom_all_gather(_AllGather(processes))
        part.set_custom_reduce_scatter(_ReduceScatter(processes))
        if part is not module:
            part.register_forward_pre_hook(_own_leaves)
    module._apply(lambda tensor: torch.empty_like(tensor, device=processes.device) if tensor.is_meta else tensor)
    skipped = {id(parameter) for each in unset for parameter in each.parameters()}
    for name, parameter in module.named_parameters():
        whole = values.pop(name, None)
        if is_sharded(parameter) and id(parameter) not in skipped:
            if not processes.main or whole is None:
                whole = torch.empty(parameter.shape, dtype=parameter.dtype, device=processes.device)
            whole = whole.to(processes.device).contiguous()
            rows = distribute_tensor(whole, mesh, parameter.placements).to_local()
            parameter.to_local().detach().copy_(rows)
    return module


def make_on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """Build a network whose parameters have no values ("meta"), and its buffers have; single numbers have theirs."""
    hook = register_module_parameter_registration_hook(lambda _, __, parameter: _on_meta(parameter))  # pyright: ignore[reportArgumentType]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")  # read from a file
            return make()
    except Exception:
        pass  # it reads its weights while it is built, or whatever is wrong comes again below
    finally:
        hook.remove()
    return make()


def _on_meta(parameter: nn.Parameter) -> nn.Parameter:
    if parameter.is_meta or parameter.dim() == 0:
        return parameter
    empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")  # contiguous: FSDP2 knows no other layout
    return nn.Parameter(empty, parameter.requires_grad)


def _exchange_for_meta(module: nn.Module) -> dict[str, Tensor]:
    """Exchange the parameters for ones on "meta"; returns the values by name."""
    values = {name: parameter.detach() for name, parameter in module.named_parameters()}
    empty = {id(parameter): _on_meta(parameter) for parameter in module.parameters()}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            part._parameters[name] = empty.get(id(parameter), parameter)
    return {name: value for name, value in values.items() if not value.is_meta}


@contextmanager
def without_all_reduce(module: nn.Module) -> Iterator[None]:
    """Keep what passes in the block add to this process's rows of gradients from other replicas, until a pass outside it."""
    assert isinstance(module, FSDPModule)
    module.set_requires_all_reduce(False)
    try:
        yield
    finally:
        module.set_requires_all_reduce(True)


def _own_leaves(part: nn.Module, _: Any) -> None:
    """Give each call of a part its own leaves: autograd keeps a leaf's gradients whole until those of all its uses are in."""
    assert isinstance(part, FSDPModule)
    for parameter in (each for group in part._get_fsdp_state()._fsdp_param_groups for each in group.fsdp_params):
        if torch.is_grad_enabled() and parameter.unsharded_param.requires_grad:
            leaf = nn.Parameter(parameter.unsharded_param.detach())
            leaf.register_post_accumulate_grad_hook(partial(_add_gradient, parameter))
            parameter._setattr_on_modules(leaf)


def _add_gradient(parameter: Any, leaf: Tensor) -> None:
    whole = parameter._unsharded_param
    whole.grad = leaf.grad if whole.grad is None else whole.grad + leaf.grad
    leaf.grad = None


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Gather weights for passes inside the block, and leave nothing of these to the next step."""
    assert isinstance(module, FSDPModule)
    module._get_fsdp_state()._lazy_init()
    states = [each._get_fsdp_state() for each in module.modules() if isinstance(each, FSDPModule)]
    groups = [group for state in states for group in state._fsdp_param_groups]

    def forget() -> None:  # tensors of inference mode are made anew, too
        for parameter in (each for group in groups for each in group.fsdp_params):
            parameter.all_gather_outputs = []
            parameter.__dict__.pop("_unsharded_param", None)

    forget()
    try:
        yield
    finally:
        for group in groups:
            group.reshard()
            group._post_forward_indices.clear()
            group.comm_ctx.post_forward_order.clear()
        forget()


class _AllGather(DefaultAllGather):
    """torch's own, whose tensors `ProcessGroup.wait_released` tracks; gloo's would make a copy of all rows."""

    def __init__(self, processes: ProcessGroup):
        self.processes = processes

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False) -> "dist.Work | None":
        register = self.processes.register
        if output_tensor.device.type != "cpu":
            return super().__call__(register(output_tensor), register(input_tensor), group, async_op)
        parts = output_tensor.chunk(group.size())
        parts[group.rank()].copy_(input_tensor)
        for source, part in enumerate(parts):
            dist.broadcast(register(part), group=group, group_src=source)
        return None


class _ReduceScatter(DefaultReduceScatter):
    """torch's own, whose tensors `ProcessGroup.wait_released` tracks; gloo's would make a copy of all gradients."""

    def __init__(self, processes: ProcessGroup):
        self.processes = processes

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False
    ) -> "dist.Work | None":
        register = self.processes.register
        if output_tensor.device.type != "cpu":
            return super().__call__(register(output_tensor), register(input_tensor), group, op, async_op)
        parts = input_tensor.chunk(group.size())
        for target, part in enumerate(parts):
            dist.reduce(register(part), op=op, group=group, group_dst=target)
        output_tensor.copy_(parts[group.rank()])
        return None


def read_model(task: Task, config: TrainConfig, device: torch.device, weights: Path) -> nn.Module:
    """Read a model that is not sharded from the files of weights, one after the other."""
    model = new_model(task, config, device)
    for path in _files(weights, "model"):
        model.load_state_dict(load_file(no_pipe(path)), strict=False)
    return model


def read_averages(config: TrainConfig, device: torch.device, weights: Path) -> dict[str, dict[str, Tensor]]:
    averages: dict[str, dict[str, Tensor]] = {average.name: {} for average in config.every_average}
    for name, average in averages.items():
        for path in _files(weights, name):
            average |= load_file(no_pipe(path), device=str(device))
    return averages


def _files(weights: Path, name: str) -> list[Path]:
    if not weights.is_dir():
        raise TapetumError(f"{weights} has no whole weights, as this run stopped before its end; go on with it first")
    return shards(weights, f"{name}.safetensors")
