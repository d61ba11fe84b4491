"""The processes of a run, alone or started by torchrun; and tensors that may be sharded by rows over them (see `fsdp`)."""

import gc
import re
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d
from jaxtyping import Float, Float64
from torch import Tensor, nn

from tapetum.core.devices import find_device, send_to_device
from tapetum.core.errors import BadInput, TapetumError
from tapetum.train import launch

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

JOIN_TIMEOUT = timedelta(minutes=10)
TIMEOUT = timedelta(hours=1)
"""How long the first processes wait for the last one to start; and all for each other, as the main one evaluates and saves."""
_BACKENDS = {"cuda": "nccl", "xpu": "xccl"}
"""What exchanges tensors of a kind of device; numbers of the host go by gloo beside it."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among all, and what they tell each other; calls that exchange are made by all processes alike."""

    rank: int
    size: int
    device: torch.device
    _in_flight: list[weakref.ref[Tensor]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def main(self) -> bool:
        """Check whether this is the process that writes files and messages."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum the processes' tensors, of one shape; for gradients see `tapetum.train.gather`."""
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        if self.size > 1:
            dist.all_reduce(self.register(total))
        return total

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Average each named number on the host over the processes, without waiting for the device.

        All processes must pass the same names.
        """
        if self.size == 1:
            return dict(values)
        names = sorted(values)
        vector = torch.tensor([values[name] for name in names], dtype=torch.float64)
        return dict(zip(names, (self.sum(vector) / self.size).tolist(), strict=True))

    def mean_on_device(self, *groups: Mapping[str, Tensor | float]) -> list[dict[str, float]]:
        """Average groups of named numbers over the processes; those on the device come in one transfer, the only one of a step.

        All processes must pass the same names.
        """
        kind = torch.float32 if self.device.type == "mps" else torch.float64
        values = [values[name] for values in groups for name in sorted(values)]
        vector = torch.stack([send_to_device(torch.as_tensor(value).to(kind), self.device).reshape(()) for value in values])
        means = iter((self.sum(vector) / self.size).tolist())
        return [{name: next(means) for name in sorted(values)} for values in groups]

    def concatenate(self, tensor: Tensor) -> Tensor:
        """Concatenate the rows of all processes' tensors, of one shape."""
        if self.size == 1:
            return tensor.detach().clone()
        rows = tensor.detach().contiguous()
        parts = rows.new_empty(self.size * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(self.register(parts), self.register(rows))
        return parts

    def scatter_sum(self, tensor: Tensor) -> Tensor:
        """Sum the processes' tensors and keep this process's rows of the sum: of equal shares, the one at its rank."""
        if self.size == 1:
            return tensor.detach().clone()
        rows = tensor.detach().contiguous()
        own = rows.new_empty(len(rows) // self.size, *rows.shape[1:])
        dist.reduce_scatter_tensor(self.register(own), self.register(rows))
        return own

    def shift_forward(self, tensor: Tensor) -> Tensor:
        """Exchange tensors of one shape around a ring: the next process gets this one's, and this one its predecessor's."""
        return self._shift(tensor, 1)

    def shift_back(self, tensor: Tensor) -> Tensor:
        """Exchange tensors of one shape around a ring the other way: this process gets its successor's."""
        return self._shift(tensor, -1)

    def _shift(self, tensor: Tensor, by: int) -> Tensor:
        own = tensor.detach().clone(memory_format=torch.contiguous_format)
        if self.size == 1:
            return own
        received = torch.empty_like(own)
        send = dist.P2POp(dist.isend, self.register(own), (self.rank + by) % self.size)
        receive = dist.P2POp(dist.irecv, self.register(received), (self.rank - by) % self.size)
        for request in dist.batch_isend_irecv([send, receive]):
            request.wait()
        return received

    def broadcast(self, value: Any) -> Any:
        """Send the main process's value, which must be picklable, to every process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def broadcast_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Copy the main process's values into these tensors, in every process: one exchange per dtype."""
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_dtype.setdefault(tensor.dtype, []).append(tensor.detach())
        for same in by_dtype.values():
            joint = torch.cat([tensor.reshape(-1) for tensor in same])
            dist.broadcast(self.register(joint), src=0)
            for tensor, values in zip(same, joint.split([tensor.numel() for tensor in same]), strict=True):
                tensor.copy_(values.view(tensor.shape))

    def barrier(self, timeout: timedelta = TIMEOUT) -> None:
        """Wait until all processes arrive here, up to this timeout; TapetumError (by `join_process_group`) if one is lost."""
        if self.size > 1:
            c10d._set_pg_timeout(timeout)
            self.mean({"here": 1.0})
            c10d._set_pg_timeout(TIMEOUT)

    def register(self, tensor: Tensor) -> Tensor:
        """Register a tensor that is passed to an exchange, so that `wait_released` waits for it; returns it."""
        self._in_flight[:] = [lent for lent in self._in_flight if lent() is not None] + [weakref.ref(tensor)]
        return tensor

    def wait_released(self, timeout: float) -> None:
        """Wait until the threads of the exchange have released all tensors, up to `timeout` seconds.

        gloo's threads release them some time after an exchange is done, and need the interpreter for it: a process that exits
        at that moment is aborted (torch 2.13: one of twenty short runs of two processes).
        """
        if self._in_flight:
            gc.collect()  # what is held in a circle counts as held
        until = time.monotonic() + timeout
        while any(lent() is not None for lent in self._in_flight) and time.monotonic() < until:
            time.sleep(0.001)


_current: list[ProcessGroup] = []
"""The world that this process has joined, and what it takes itself for meanwhile; the last one counts."""


def current_process_group() -> ProcessGroup:
    """Get the process group of this process: the one it joined, or one that others made, or a group of itself alone."""
    if _current:
        return _current[-1]
    if dist.is_available() and dist.is_initialized():
        return ProcessGroup(dist.get_rank(), dist.get_world_size(), torch.device("cpu"))
    return ProcessGroup(0, 1, torch.device("cpu"))


@contextmanager
def _entered(processes: ProcessGroup) -> Iterator[ProcessGroup]:
    _current.append(processes)
    try:
        yield processes
    finally:
        _current.pop()


@contextmanager
def alone(sharing: ProcessGroup | None = None) -> Iterator[None]:
    """Make this process its own process group inside the block, such as when the main one scores while the others wait.

    Gathering from all processes is the identity there, instead of waiting forever. Inside, all processes of `sharing` call
    `compute_shared` alike, and only it exchanges what they compute.
    """
    own = ProcessGroup(0, 1, current_process_group().device)
    _sharing.append(sharing or own)
    try:
        with _entered(own):
            yield
    finally:
        _sharing.pop()


_sharing: list[ProcessGroup] = []
"""Among which processes evaluations are shared out; the last one counts."""


def shares_evaluation() -> bool:
    """Check whether several processes evaluate one model together: its weights may be in shards, so all must call it alike."""
    return bool(_sharing) and _sharing[-1].size > 1


def compute_shared(compute: Callable[[int], Tensor], count: int) -> list[Tensor]:
    """Compute a tensor for each number below `count`, such as the features of a batch; of one dtype, rows of one shape.

    Processes that evaluate together take turns, each gets all on the CPU, and each computes equally often, as weights in shards
    need: where no turn is left, the last number once more.
    """
    processes = _sharing[-1] if shares_evaluation() else ProcessGroup(0, 1, torch.device("cpu"))
    numbers = range(processes.rank, -(-count // processes.size) * processes.size, processes.size)
    own = [compute(min(number, count - 1)).cpu() for number in numbers]
    if processes.size == 1 or not own:
        return own
    lengths = processes.concatenate(torch.tensor([[len(rows) for rows in own]])).tolist()
    most = max(map(sum, lengths))
    every = processes.concatenate(torch.cat([*own, own[0].new_zeros(most - sum(map(len, own)), *own[0].shape[1:])]))
    parts = [rows[: sum(of)].split(of) for rows, of in zip(every.split(most), lengths, strict=True)]
    return [rows for turn in zip(*parts, strict=True) for rows in turn][:count]


def pick_device(name: str | None, local_rank: int = 0) -> torch.device:
    """Find the device for a name of TrainConfig.device; BadInput if it does not exist."""
    device = find_device(name)
    if device.type in _BACKENDS:
        device = torch.device(device.type, local_rank if device.index is None else device.index)
        if device.index >= (count := torch.get_device_module(device).device_count()):
            raise BadInput(f"device is {device} but there are {count} GPUs; start fewer processes")
    return device


_joins: list[c10d.Store] = []
"""The store of each group that this process has joined."""


@cache
def _meet() -> tuple[c10d.Store, int, int]:
    """Find the other processes by torchrun's environment: their common store, this process's rank, and how many they are."""
    store, rank, size = next(c10d.rendezvous("env://", timeout=JOIN_TIMEOUT))  # pyright: ignore[reportPrivateImportUsage]
    store.set_timeout(JOIN_TIMEOUT)
    return store, rank, size


@contextmanager
def join_process_group(device_name: str) -> Iterator[ProcessGroup]:
    """Join this process's group: of one process, unless torchrun's environment says otherwise.

    Processes that joined may join again: inside the block, where the group is the same; and after it, when all of them must.

    TapetumError when another process of the group is lost.
    """
    if launch.world_size() == 1:
        with _entered(ProcessGroup(0, 1, pick_device(device_name))) as processes:
            yield processes
        return
    device = pick_device(device_name, launch.local_rank())
    if device.type in _BACKENDS:
        torch.get_device_module(device).set_device(device)
    elif device_name == "auto":
        device = torch.device("cpu")  # gloo exchanges no tensors of MPS
    mine = not dist.is_initialized()
    with _explain_lost_peers():
        if mine:
            store, rank, size = _meet()
            _joins.append(store)
            backend = f"cpu:gloo,{kind}:{_BACKENDS[kind]}" if (kind := device.type) in _BACKENDS else "gloo"
            world = c10d.PrefixStore(f"world {len(_joins)}", store)  # the store outlives a group, whose addresses would stay
            dist.init_process_group(backend, store=world, rank=rank, world_size=size, timeout=JOIN_TIMEOUT)
            c10d._set_pg_timeout(TIMEOUT)
        processes = ProcessGroup(dist.get_rank(), dist.get_world_size(), device)
        timeout = 10.0
        try:
            with _entered(processes):
                yield processes
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they hold tensors that `wait_released` would wait for
            timeout = 1.0  # what still holds some is Python, which will not let go
            raise
        finally:
            processes.wait_released(timeout)
            if mine:
                dist.destroy_process_group()


@contextmanager
def _explain_lost_peers() -> Iterator[None]:
    """Turn the exchange's error about a lost process into one line."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        reason = re.sub(r"^\[[^]]*\] ?", "", str(error)).split(". ")[0].splitlines()[0][:160]
        raise TapetumError(
            f"lost another process of this run ({reason}), so this one ends too; run the same command again to resume"
        ) from error


def is_sharded(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Check whether this process holds only a part of the tensor, without the seconds that importing its class takes."""
    return hasattr(tensor, "to_local")


def shards_of(tensor: Tensor) -> int:
    """Count the shards of a sharded tensor: one per process, or per process of a mesh row (`TrainConfig.replicas`)."""
    assert is_sharded(tensor)
    return tensor.device_mesh.size(-1)  # the last axis is the one over which weights are sharded


def shard_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut from a full tensor the part that this process holds of `like`: all of it, unless that is sharded."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def gather_tensor(tensor: Tensor, processes: ProcessGroup) -> Tensor | None:
    """Gather a tensor in the main process, if it is sharded; all processes must call it alike, the others get None."""
    if not is_sharded(tensor):
        return tensor if processes.main else None
    rows, shards = tensor.to_local().detach().contiguous(), shards_of(tensor)
    if not processes.main:
        if processes.rank < shards and len(rows):  # of several replicas, the first sends
            dist.send(processes.register(rows), 0)
        return None
    whole = rows.new_empty(tensor.shape)
    first, *others = whole.split(-(-len(whole) // shards))
    first.copy_(rows)
    for source, part in enumerate(others, 1):
        dist.recv(processes.register(part), source)
    return whole


def gather_tensors(tensors: Mapping[str, Tensor], processes: ProcessGroup) -> dict[str, Tensor]:
    """Gather tensors one by one onto the CPU of the main process; all must call it alike, others get nothing."""
    gathered = ((name, gather_tensor(tensor, processes)) for name, tensor in tensors.items())
    return {name: whole.cpu() for name, whole in gathered if whole is not None}


def clip_gradients(
    parameters: Sequence[nn.Parameter], longest: float, processes: ProcessGroup, each: bool = False
) -> Float[Tensor, ""]:
    """Scale all gradients together down to the norm `longest` if theirs is larger; returns the original norm, on the device.

    With `each`, the gradient of every parameter is scaled by its own norm.
    """
    if each:
        norms = [clip_gradients([p], longest, processes) for p in parameters if p.grad is not None]
        return torch.stack([norm.float() for norm in norms]).square().sum().sqrt()
    gradients = [p.grad for p in parameters if p.grad is not None]
    sharded = [gradient for gradient in gradients if is_sharded(gradient)]
    if not sharded:
        return nn.utils.clip_grad_norm_(parameters, longest)
    square = processes.sum(nn.utils.get_total_norm([gradient.to_local() for gradient in sharded]).double().square())
    square = square * (shards_of(sharded[0]) / processes.size)
    if whole := [gradient for gradient in gradients if not is_sharded(gradient)]:
        square = square + nn.utils.get_total_norm(whole).double().square()
    norm = square.sqrt()
    scale = (longest / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        (gradient.to_local() if is_sharded(gradient) else gradient).mul_(scale)
    return norm


def average_whole(parameters: Sequence[nn.Parameter], processes: ProcessGroup) -> None:
    """Average the gradients of the unsharded parameters in a sharded model, in one exchange."""
    whole = [p.grad for p in parameters if p.grad is not None and not is_sharded(p)]
    if whole:
        mean = processes.sum(torch.cat([gradient.reshape(-1) for gradient in whole])) / processes.size
        for gradient, values in zip(whole, mean.split([gradient.numel() for gradient in whole]), strict=True):
            gradient.copy_(values.view(gradient.shape))


def full_norms(tensors: Sequence[Tensor]) -> Float64[Tensor, " n"]:
    """Compute the norm of each tensor, combining shards, in one exchange; within one kind either all or none are sharded."""
    locals_ = [t.to_local() if is_sharded(t) else t for t in tensors]
    squares = torch.stack([local.detach().double().square().sum() for local in locals_])
    if is_sharded(tensors[0]):
        processes = current_process_group()
        squares = processes.sum(squares) * (shards_of(tensors[0]) / processes.size)
    return squares.sqrt()
