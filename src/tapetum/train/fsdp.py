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

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils._pytree import tree_leaves, tree_map

from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.reading import no_pipe
from tapetum.hub.state_dicts import OWN_ROWS, TensorFile, shards
from tapetum.train.config import TrainConfig
from tapetum.train.process_group import ProcessGroup
from tapetum.train.state import new_model
from tapetum.train.task import Task


def shard(module: nn.Module, parts: Sequence[nn.Module], processes: ProcessGroup, config: TrainConfig) -> nn.Module:
    """Shard the module's parameters over the processes, in place; single numbers (a learned temperature) stay whole.

    `parts` are modules inside it that gather and release their weights separately, inner ones first. Raises BadInput if
    `config.replicas` does not divide the number of processes.
    """
    rows = _replace_rows(module)
    for parameter in module.parameters():
        if not parameter.is_meta:
            parameter.data = parameter.data.contiguous()  # FSDP2 knows no other memory layout
    if config.replicas == 1:
        mesh = init_device_mesh(processes.device.type, (processes.size,), mesh_dim_names=("shard",))
    else:
        if processes.size % config.replicas:
            raise BadInput(f"replicas is {config.replicas} of {processes.size} processes; give a divisor of their number")
        sizes = config.replicas, processes.size // config.replicas
        mesh = init_device_mesh(processes.device.type, sizes, mesh_dim_names=("replicate", "shard"))
    half, cuda = torch.bfloat16, processes.device.type == "cuda"
    reduced = half if config.reduce_bf16 else torch.float32 if config.gather_bf16 else None
    policy = MixedPrecisionPolicy(half if config.gather_bf16 else None, reduced, cast_forward_inputs=False)
    home, offload = processes.device, OffloadPolicy()
    if config.offload:
        home, offload = torch.device("cpu"), CPUOffloadPolicy(pin_memory=cuda)
    whole = {parameter for parameter in module.parameters() if parameter.dim() == 0}  # no rows: FSDP2 refuses them
    for part in (*parts, module):
        fully_shard(part, mesh=mesh, mp_policy=policy, offload_policy=offload, ignored_params=whole)
        assert isinstance(part, FSDPModule)
        part.set_custom_all_gather(_AllGather(processes))
        part.set_custom_reduce_scatter(_ReduceScatter(processes))
        if part is not module:
            part.register_forward_pre_hook(_own_leaves)
    if rows:
        module._apply(lambda tensor: torch.empty_like(tensor, device=home) if tensor.is_meta else tensor)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in rows:
                parameter.to_local().copy_(rows.pop(name))  # pyright: ignore[reportAttributeAccessIssue]
    return module


SMALL = 1 << 16
"""Weights of fewer numbers are made whole."""


class RowsOnly:
    """Builds a network of whose large weights each process keeps the rows alone that `shard` will give it.

        Parameter(torch.empty(...)) registered   its turn begins: it is whole
        nn.init.trunc_normal_(weight)            anything may be done with the one whose turn it is
        the next one registered, or filled       its turn ends: its rows are cut out
        weight.mul_(2), weight.copy_(loaded)     later: what rows alone can do

    All numbers are drawn as in one process, so weights are equal to the bit. A network that reads a weight out of turn while it
    is built is built whole instead.
    """

    def __init__(self, processes: ProcessGroup, config: TrainConfig):
        self._shards = processes.size // config.replicas
        self._shard = processes.rank % self._shards

    def __call__(self, make: Callable[[], nn.Module]) -> nn.Module:
        """Call `make`, once more if its weights cannot be made in rows."""
        hook = register_module_parameter_registration_hook(self._cut)  # pyright: ignore[reportArgumentType]
        own = OWN_ROWS.set(lambda count: slice(*_row_range(count, self._shard, self._shards)))
        try:
            model = make()
            _Weight.end_turn()
            if all(p.dtype == p.weight.rows.dtype for p in model.parameters() if isinstance(p, _Rows)):
                return model  # nobody exchanged their data
        except Exception:
            pass  # whatever is wrong with the network itself comes again below
        finally:
            OWN_ROWS.reset(own)
            hook.remove()
            _Weight.end_turn()
        return make()

    def _cut(self, _module: nn.Module, _name: str, parameter: nn.Parameter) -> nn.Parameter | None:
        if isinstance(parameter, _Rows) or parameter.dim() == 0 or parameter.numel() < SMALL:
            return None
        weight = _Weight(parameter.detach(), slice(*_row_range(parameter.shape[0], self._shard, self._shards)))
        return nn.Parameter(_Rows(weight), requires_grad=parameter.requires_grad)


def _row_range(count: int, shard: int, shards: int) -> tuple[int, int]:
    """Find the rows of a shard, as FSDP2 shares them out.

    >>> [_row_range(5, shard, 4) for shard in range(4)]
    [(0, 2), (2, 4), (4, 5), (5, 5)]
    """
    most = -(-count // shards)
    return min(shard * most, count), min((shard + 1) * most, count)


class _Weight:
    """The numbers of a weight: whole while it is its turn, after that its rows in `own`."""

    turn: "ClassVar[_Weight | None]" = None
    is_part = False

    def __init__(self, whole: Tensor, own: slice):
        self.own, self.rows, self.shape = own, whole[:0], whole.shape
        self.begin_turn(whole)

    def begin_turn(self, whole: Tensor) -> None:
        self.end_turn()
        self.whole, _Weight.turn = whole, self

    @staticmethod
    def end_turn() -> None:
        if weight := _Weight.turn:
            weight.rows = weight.whole[weight.own].clone(memory_format=torch.contiguous_format)
            del weight.whole
            _Weight.turn = None

    def part(self, begin: int, end: int) -> "_Weight":
        """Make the weight that is these rows of this one, whose turn it is not, with the same memory."""
        first, last = max(self.own.start, begin), min(self.own.stop, end)
        part = copy(self)
        part.rows = self.rows[first - self.own.start : max(first, last) - self.own.start]
        part.own, part.shape = slice(first - begin, max(first, last) - begin), torch.Size((end - begin, *self.shape[1:]))
        part.is_part = True
        return part


_aten = torch.ops.aten
_FILLS = {_aten.uniform_.default, _aten.normal_.default, _aten.fill_.Scalar, _aten.zero_.default}
_BY_ROWS = {_aten.mul_.Tensor, _aten.div_.Tensor, _aten.add_.Tensor, _aten.sub_.Tensor, _aten.clamp_.default}


class _Rows(Tensor):
    """A weight that is being built, as its module sees it: of its full shape."""

    weight: _Weight

    @staticmethod
    def __new__(cls, weight: _Weight, like: Tensor | None = None) -> "_Rows":
        like = weight.whole if like is None else like
        self = Tensor._make_wrapper_subclass(cls, weight.shape, dtype=like.dtype, device=like.device)  # pyright: ignore[reportAttributeAccessIssue]
        self.weight = weight
        return self

    def __tensor_flatten__(self) -> tuple[list[str], Any]:  # so that `Module.to` exchanges the parameter, not its data
        raise NotImplementedError

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], about: Any, size: Any, stride: Any) -> "_Rows":
        raise NotImplementedError

    @property
    def own_rows(self) -> tuple[Tensor, int]:
        """Get the rows of this process, and the number of the first of them."""
        _Weight.end_turn()
        return self.weight.rows, self.weight.own.start

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        this, kwargs = args[0], kwargs or {}
        if func in (_aten.detach.default, _aten.alias.default):
            return _Rows(this.weight, this)
        if func in _FILLS and this.weight is not _Weight.turn and not this.weight.is_part:
            this.weight.begin_turn(torch.empty(this.shape, dtype=this.dtype, device=this.device))
        if func is not _aten._to_copy.default and all(
            x.weight is _Weight.turn for x in tree_leaves(args) if isinstance(x, _Rows)
        ):
            result = func(*tree_map(lambda x: x.weight.whole if isinstance(x, _Rows) else x, args), **kwargs)
            return this if isinstance(this, _Rows) and result is this.weight.whole else result
        if not isinstance(this, _Rows):
            raise NotImplementedError(f"{func} of a weight out of turn")
        _Weight.end_turn()
        weight, others = this.weight, args[1:]
        if func is _aten.slice.Tensor and others[0] == 0 and others[3:] in ((), (1,)):
            begin, end, _ = slice(*others[1:3]).indices(this.shape[0])
            part = weight.part(begin, max(begin, end))
            return _Rows(part, part.rows)
        if func is _aten._to_copy.default:
            moved = copy(weight)
            moved.rows = func(weight.rows, **kwargs)
            return _Rows(moved, moved.rows)
        if func is _aten.copy_.default:
            weight.rows.copy_(
                others[0].weight.rows if isinstance(others[0], _Rows) else others[0].expand(this.shape)[weight.own]
            )
        elif func in _BY_ROWS and not any(isinstance(x, Tensor) and x.dim() for x in others):
            func(weight.rows, *others, **kwargs)
        else:
            raise NotImplementedError(f"{func} of a weight out of turn")
        return this


def _replace_rows(module: nn.Module) -> dict[str, Tensor]:
    """Exchange weights in rows for parameters on "meta", which `fully_shard` takes; returns the rows by name."""
    rows: dict[str, Tensor] = {}
    empty: dict[int, nn.Parameter] = {}
    for name, parameter in list(module.named_parameters()):
        if isinstance(parameter, _Rows):
            shape, dtype = parameter.shape, parameter.dtype
            rows[name] = parameter.weight.rows
            empty[id(parameter)] = nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"), parameter.requires_grad)
    for part in module.modules():
        for name, parameter in part._parameters.items():
            part._parameters[name] = empty.get(id(parameter), parameter)
    return rows


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
    """Gather weights as they are for passes inside the block, and leave nothing of these to the next step."""
    assert isinstance(module, FSDPModule)
    module._get_fsdp_state()._lazy_init()
    states = [each._get_fsdp_state() for each in module.modules() if isinstance(each, FSDPModule)]
    groups = [group for state in states for group in state._fsdp_param_groups]
    parameters = [parameter for group in groups for parameter in group.fsdp_params]
    kinds = [parameter.param_dtype for parameter in parameters]

    def gather_as(kinds: Sequence[torch.dtype | None]) -> None:
        for parameter, kind in zip(parameters, kinds, strict=True):  # tensors of inference mode are made anew, too
            parameter.param_dtype, parameter.all_gather_outputs = kind, []
            parameter.__dict__.pop("_unsharded_param", None)

    gather_as([None] * len(kinds))
    try:
        yield
    finally:
        for group in groups:
            group.reshard()
            group._post_forward_indices.clear()
            group.comm_ctx.post_forward_order.clear()
        gather_as(kinds)


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
    own = model.state_dict()
    for path in _files(weights, "model"):
        file = TensorFile(path, checked=False)
        for name in file.shapes:
            file.read(name, own[name])
    return model


def read_averages(config: TrainConfig, device: torch.device, weights: Path) -> dict[str, dict[str, Tensor]]:
    """Read the averages of a run, by name."""
    names, place = (average.name for average in config.every_average), str(device)
    parts = {name: [load_file(no_pipe(file), device=place) for file in _files(weights, name)] for name in names}
    return {name: {key: value for part in own for key, value in part.items()} for name, own in parts.items()}


def _files(weights: Path, name: str) -> list[Path]:
    if not weights.is_dir():
        raise TapetumError(f"{weights} has no whole weights, as this run stopped before its end; go on with it first")
    return shards(weights, f"{name}.safetensors")
