"""The processes of a run: alone, or started by torchrun."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from tapetum.errors import BadInput


@dataclass(frozen=True)
class World:
    """This process's place among all."""

    rank: int
    size: int
    device: torch.device

    @property
    def main(self) -> bool:
        """The process that writes files and speaks."""
        return self.rank == 0

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the processes of a small float64 vector."""
        if self.size > 1:
            values = values.to(self.device, torch.float32 if self.device.type == "mps" else torch.float64)
            dist.all_reduce(values)
            values = values.cpu() / self.size
        return values

    def share(self, value: Any) -> Any:
        """The main process's value, in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


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
    """The world of this process: of one, unless torchrun's environment says otherwise."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield World(0, 1, pick_device(device_name))
        return
    device = pick_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    mine = not dist.is_initialized()
    if mine:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if mine:
            dist.destroy_process_group()


class StopSignal:
    """Turns the first SIGINT or SIGTERM into a wish to stop; a second one acts as usual. A context manager."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._notice) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _notice(self, number: int, _frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *_: object) -> None:
        self._restore()
