"""The processes of a run: alone, or started by torchrun."""

import errno
import fcntl
import gc
import math
import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d
from torch import Tensor

from tapetum.errors import BadInput, TapetumError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of a disk, a quota or a file size that is used up."""
JOINING = timedelta(minutes=10)
"""How long the first processes of a run wait for the last one to start."""
PATIENCE = timedelta(hours=1)
"""How long processes wait for each other: the main one evaluates and saves while the others wait."""


@dataclass(frozen=True)
class World:
    """This process's place among all."""

    rank: int
    size: int
    device: torch.device
    _lent: list[weakref.ref[Tensor]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def main(self) -> bool:
        """The process that writes files and speaks."""
        return self.rank == 0

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Mean over the processes of each named number; all processes must give the same names."""
        if self.size == 1:
            return dict(values)
        names = sorted(values)
        vector = torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.device)
        dist.all_reduce(self.lend(vector))
        return dict(zip(names, (vector / self.size).tolist(), strict=True))

    def share(self, value: Any) -> Any:
        """The main process's value, in every process."""
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

    def gather(self, share: Tensor, rows: int) -> Tensor:
        """The tensor of `rows` rows of which every process holds a share: the first ones as many as fit, the last the rest."""
        most = -(-rows // self.size)
        padded = share.new_zeros(most, *share.shape[1:])
        padded[: len(share)] = share
        parts = share.new_empty(self.size * most, *share.shape[1:])
        dist.all_gather_into_tensor(self.lend(parts), self.lend(padded))
        return parts[:rows].clone()

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Gives each of these tensors, in every process, the main process's values."""
        for tensor in tensors:
            copy = tensor.detach().clone()
            dist.broadcast(self.lend(copy), src=0)
            tensor.detach().copy_(copy)

    def lend(self, tensor: Tensor) -> Tensor:
        """The tensor, noted as handed to an exchange: `settle` waits for it."""
        self._lent[:] = [lent for lent in self._lent if lent() is not None] + [weakref.ref(tensor)]
        return tensor

    def settle(self, patience: float) -> None:
        """Waits until the threads of the exchange have let go of all tensors, up to `patience` seconds.

        gloo's threads do so in their own time after an exchange is done, and need the interpreter for it: a process that
        ends in that very moment is aborted (torch 2.13: one of twenty short runs of two processes).
        """
        if self._lent:
            gc.collect()  # what is held in a circle counts as held
        until = time.monotonic() + patience
        while any(lent() is not None for lent in self._lent) and time.monotonic() < until:
            time.sleep(0.001)


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """The device for a name of TrainConfig.device; BadInput where it does not exist."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadInput(f"device is {name!r}; wanted auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise BadInput("device is cuda but torch finds no GPU; use device cpu, or install torch for your GPU")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if device.index >= torch.cuda.device_count():
            raise BadInput(f"device is {device} but there are {torch.cuda.device_count()} GPUs; start fewer processes")
    return device


@contextmanager
def join_world(device_name: str) -> Iterator[World]:
    """The world of this process: of one, unless torchrun's environment says otherwise.

    TapetumError when another process of the world is lost.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield World(0, 1, pick_device(device_name))
        return
    device = pick_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    mine = not dist.is_initialized()
    with _lost_peers_told():
        if mine:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=JOINING)
            c10d._set_pg_timeout(PATIENCE)
        world = World(dist.get_rank(), dist.get_world_size(), device)
        patience = 10.0
        try:
            yield world
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they hold tensors that `settle` would wait for
            patience = 1.0  # what still holds some is Python, which will not let go
            raise
        finally:
            world.settle(patience)
            if mine:
                dist.destroy_process_group()


@contextmanager
def _lost_peers_told() -> Iterator[None]:
    """Turns what the exchange says when a process is gone into one line."""
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
    """`locked` in the main process, which writes for all."""
    with locked(out) if world.main else nullcontext():
        yield


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Makes the folder and holds its lock, so that no second run writes there; a lock dies with its process."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise BadInput(f"cannot write to {out}: {error.strerror}; choose a folder that can be written") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"another run is training in {out}; wait for it, or choose another folder") from error
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise BadInput(
                f"cannot write to {out}: {error.strerror}; make room and run the same command again to resume"
            ) from error


class StopWish:
    """The wish to stop after the current step: time is up, or a first SIGINT or SIGTERM came (a second acts as usual).

    A context manager; signals are heeded from `listen` to its end.
    """

    def __init__(self, max_minutes: float | None):
        self._until = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._signalled = False
        self._before: dict[int, Any] = {}

    def now(self) -> float:
        """1 if there is a wish to stop, else 0."""
        return float(self._signalled or time.monotonic() >= self._until)

    def listen(self) -> None:
        """From here on a signal is a wish."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._notice) for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> "StopWish":
        return self

    def _notice(self, number: int, _frame: FrameType | None) -> None:
        self._signalled = True
        print(f"{signal.Signals(number).name}: saving after this step; once more to stop at once", file=sys.stderr)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *_: object) -> None:
        self._restore()
