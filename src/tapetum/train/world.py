"""The processes of a run: alone, or started by torchrun."""

import errno
import fcntl
import gc
import pickle
import re
import time
import traceback
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d
from torch import Tensor

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput, TapetumError
from tapetum.train import launch

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of a disk, a quota or a file size that is used up."""
JOINING = timedelta(minutes=10)
"""How long the first processes of a run wait for the last one to start."""
PATIENCE = timedelta(hours=1)
"""How long processes wait for each other: the main one evaluates and saves while the others wait."""


@dataclass(frozen=True)
class World:
    """This process's place among all, and what they tell each other; calls that exchange are made by all processes alike."""

    rank: int
    size: int
    device: torch.device
    _lent: list[weakref.ref[Tensor]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def main(self) -> bool:
        """Say whether this is the process that writes files and speaks."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up the processes' tensors, of one shape; gradients are `tapetum.train.gather`'s business."""
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        if self.size > 1:
            dist.all_reduce(self.lend(total))
        return total

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Average each named number over the processes; all processes must give the same names."""
        if self.size == 1:
            return dict(values)
        names = sorted(values)
        vector = torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.device)
        return dict(zip(names, (self.sum(vector) / self.size).tolist(), strict=True))

    def concatenate(self, tensor: Tensor) -> Tensor:
        """Put the rows of all processes' tensors, of one shape, one after the other."""
        if self.size == 1:
            return tensor.detach().clone()
        rows = tensor.detach().contiguous()
        parts = rows.new_empty(self.size * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(self.lend(parts), self.lend(rows))
        return parts

    def scatter_sum(self, tensor: Tensor) -> Tensor:
        """Add up the processes' tensors and keep this process's rows of the sum: of equal shares, the rank's one."""
        if self.size == 1:
            return tensor.detach().clone()
        rows = tensor.detach().contiguous()
        own = rows.new_empty(len(rows) // self.size, *rows.shape[1:])
        dist.reduce_scatter_tensor(self.lend(own), self.lend(rows))
        return own

    def join_rows(self, rows: Tensor, count: int) -> Tensor:
        """Put together the tensor of `count` rows that all processes hold: the first as many as fit, the last the rest."""
        most = -(-count // self.size)
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        return self.concatenate(padded)[:count].clone()

    def broadcast(self, value: Any) -> Any:
        """Give every process the main process's value, which must be picklable."""
        if self.size == 1:
            return value
        text = pickle.dumps(value) if self.main else b""
        length = torch.tensor([len(text)], device=self.device)
        dist.broadcast(self.lend(length), src=0)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if self.main:
            content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        content = content.to(self.device)
        dist.broadcast(self.lend(content), src=0)
        return pickle.loads(content.cpu().numpy().tobytes())

    def broadcast_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Give each of these tensors, in every process, the main process's values."""
        for tensor in tensors:
            copy = tensor.detach().clone()
            dist.broadcast(self.lend(copy), src=0)
            tensor.detach().copy_(copy)

    def barrier(self, patience: timedelta = PATIENCE) -> None:
        """Wait until all processes have come here, so long; TapetumError (by `join_world`) where one is lost."""
        if self.size > 1:
            c10d._set_pg_timeout(patience)
            self.mean({"here": 1.0})
            c10d._set_pg_timeout(PATIENCE)

    def lend(self, tensor: Tensor) -> Tensor:
        """Note that a tensor is handed to an exchange, for `settle` to wait for; returns it."""
        self._lent[:] = [lent for lent in self._lent if lent() is not None] + [weakref.ref(tensor)]
        return tensor

    def settle(self, patience: float) -> None:
        """Wait until the threads of the exchange have let go of all tensors, up to `patience` seconds.

        gloo's threads do so in their own time after an exchange is done, and need the interpreter for it: a process that
        ends in that very moment is aborted (torch 2.13: one of twenty short runs of two processes).
        """
        if self._lent:
            gc.collect()  # what is held in a circle counts as held
        until = time.monotonic() + patience
        while any(lent() is not None for lent in self._lent) and time.monotonic() < until:
            time.sleep(0.001)


_current: list[World] = []
"""The world that this process has joined, and what it takes itself for meanwhile; the last one counts."""


def current_world() -> World:
    """Give the world that this process is in: what it joined, or a process group that others made, or itself alone."""
    if _current:
        return _current[-1]
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size(), torch.device("cpu"))
    return World(0, 1, torch.device("cpu"))


@contextmanager
def _within(world: World) -> Iterator[World]:
    _current.append(world)
    try:
        yield world
    finally:
        _current.pop()


@contextmanager
def alone() -> Iterator[None]:
    """Make this process a world of its own inside the block, as where the main one scores while the others wait.

    What gathers from all processes is the identity there, instead of waiting for ever.
    """
    with _within(World(0, 1, current_world().device)):
        yield


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """Find the device for a name of TrainConfig.device; BadInput where it does not exist."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = find_device(name)
    if device.type == "cuda":
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if device.index >= torch.cuda.device_count():
            raise BadInput(f"device is {device} but there are {torch.cuda.device_count()} GPUs; start fewer processes")
    return device


@contextmanager
def join_world(device_name: str) -> Iterator[World]:
    """Join the world of this process: of one, unless torchrun's environment says otherwise.

    Those who joined may join again, inside the block, where it is the same world, and after it, as all of them must.

    TapetumError when another process of the world is lost.
    """
    if launch.world_size() == 1:
        with _within(World(0, 1, pick_device(device_name))) as world:
            yield world
        return
    device = pick_device(device_name, launch.local_rank())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    mine = not dist.is_initialized()
    with _lost_peers_told():
        if mine:
            store, rank, size = _meeting_place()
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=JOINING)
            c10d._set_pg_timeout(PATIENCE)
        world = World(dist.get_rank(), dist.get_world_size(), device)
        patience = 10.0
        try:
            with _within(world):
                yield world
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they hold tensors that `settle` would wait for
            patience = 1.0  # what still holds some is Python, which will not let go
            raise
        finally:
            world.settle(patience)
            if mine:
                dist.destroy_process_group()


_met: list[tuple[c10d.Store, int, int]] = []
"""Where the processes met, once for each time: the store of all, this process's rank, and how many they are."""


def _meeting_place() -> tuple[c10d.Store, int, int]:
    """Give a store in which the processes find each other, their own one each time that they join, and rank and size.

    The store outlives a process group, so that the addresses that were left in it would be taken for those of the next.
    """
    base, rank, size = _met[0] if _met else next(c10d.rendezvous("env://", timeout=JOINING))  # pyright: ignore[reportPrivateImportUsage]
    base.set_timeout(JOINING)
    _met.append((base, rank, size))
    return c10d.PrefixStore(f"world {len(_met)}", base), rank, size


@contextmanager
def _lost_peers_told() -> Iterator[None]:
    """Turn what the exchange says when a process is gone into one line."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        reason = re.sub(r"^\[[^]]*\] ?", "", str(error)).split(". ")[0].splitlines()[0][:160]
        raise TapetumError(
            f"lost another process of this run ({reason}), so this one ends too; run the same command again to resume"
        ) from error


@contextmanager
def claimed(out: Path, world: World) -> Iterator[None]:
    """Lock the folder (`locked`) in the main process, which writes for all."""
    with locked(out) if world.main else nullcontext():
        yield


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the folder and hold its lock, so that no second run writes there; a lock dies with its process.

    Where an error comes before anything else was written, the folders that were made are taken away again.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("a")
    except OSError as error:
        raise BadInput(f"cannot write to {out}: {error.strerror}; choose a folder that can be written") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"another run is training in {out}; wait for it, or choose another folder") from error
        try:
            yield
        except BaseException as error:
            if made and not any(path.name != ".lock" for path in out.iterdir()):
                (out / ".lock").unlink(missing_ok=True)
                with suppress(OSError):  # something else is in there
                    for folder in made:
                        folder.rmdir()
            if not isinstance(error, OSError) or error.errno not in DISK_FULL:
                raise
            raise BadInput(
                f"cannot write to {out}: {error.strerror}; make room and run the same command again to resume"
            ) from error
