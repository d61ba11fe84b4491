"""The stream of samples: their order, their distribution over processes, and the workers that make them.

A run is one long stream of samples numbered 0, 1, 2, ...; step s takes `batch_size` samples starting at s * batch_size, cut
into micro-batches of consecutive samples, dealt in this order to the processes, then to the accumulated micro-batches:

    step 0, 8 samples, 2 processes x 2 micro-batches        step 0, 8 samples, 1 process x 4 micro-batches
      process 0:  [0 1]         [4 5]                         process 0:  [0 1]  [2 3]  [4 5]  [6 7]
      process 1:         [2 3]         [6 7]

so every way to divide the work sees the same micro-batches. A sample's content depends only on its number: before it is
made, all global generators are seeded by (seed, number). So workers and prefetching cannot affect a result, and a resumed
run needs only its step, no generator state.
"""

import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.queues
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from tapetum.core.errors import BadInput, TapetumError
from tapetum.data.samples import SAMPLE, mix_seed, seed_globals
from tapetum.train.config import TrainConfig
from tapetum.train.process_group import ProcessGroup
from tapetum.train.task import Task


def sample_numbers(step: int, part: int, rank: int, world_size: int, config: TrainConfig) -> range:
    """Number the samples in accumulated micro-batch `part` of process `rank` in step `step`.

    >>> config = TrainConfig(steps=2, batch_size=8, accumulation=2)
    >>> sample_numbers(1, part=1, rank=0, world_size=2, config=config)
    range(12, 14)
    """
    size = config.micro_batch(world_size)
    first = step * config.batch_size + (part * world_size + rank) * size
    return range(first, first + size)


class _Order(Sampler[list[int]]):
    """The numbers of one process's micro-batches from step `start` on."""

    def __init__(self, config: TrainConfig, start: int, rank: int, world_size: int):
        self.config = config
        self.start = start
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return (self.config.steps - self.start) * self.config.accumulation

    def __iter__(self) -> "Iterator[range]":
        for index in range(len(self)):
            step, part = divmod(index, self.config.accumulation)
            yield sample_numbers(self.start + step, part, self.rank, self.world_size, self.config)


class _Seeded(Dataset):
    """The task's dataset, with all global generators seeded before each item."""

    def __init__(self, dataset: Dataset, seed: int):
        self.dataset = dataset
        self.seed = seed

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        items: list[Any] = []
        for number in numbers:
            items.append(self[number])
            if isinstance(items[-1], _Refusal):  # whoever waited for one source need not for others
                break
        return items

    def __getitem__(self, number: int) -> Any:
        seed_globals(mix_seed(self.seed, SAMPLE, number))
        return _refusing(self.dataset.__getitem__, number)


@dataclass(frozen=True)
class _Refusal:
    """Stands for a micro-batch of which a sample is damaged: an exception out of a worker would bring a page of traceback."""

    message: str


def _refusing(work: Callable[[Any], Any], argument: Any) -> Any:
    from tapetum.core.plugins import naming_own_code

    try:
        with naming_own_code():
            return work(argument)
    except TapetumError as error:
        return _Refusal(str(error))


class _Collate:
    """The task's collate, with the CPU seconds used so far by the process that runs it, for the ledger."""

    def __init__(self, collate: Callable[[Sequence[Any]], Any]):
        self.collate = collate

    def __call__(self, items: Sequence[Any]) -> tuple[Any, int, float]:
        batch = next((item for item in items if isinstance(item, _Refusal)), None) or _refusing(self.collate, items)
        return batch, os.getpid(), time.process_time()


def _start_worker(files: dict[str, str], _worker: int) -> None:
    """A worker has one torch thread (DataLoader sets this), leaves signals to the trainer, and ends when the trainer does."""
    from tapetum.core.plugins import own_files

    own_files().update(files)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # without room in shared memory a batch is never sent, and the trainer would wait for ever
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(lambda *_: os._exit(1))  # pyright: ignore
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _context() -> Any:
    """Start workers from a fork server: a clean process that has imported torch and started no thread.

    A plain fork would copy the locks of OpenMP's and torch's running threads (occasional hangs on Linux; unsupported on
    macOS); spawn would be as safe but imports torch again in every worker.
    """
    from tapetum.core.threads import undisturbed

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tapetum.train.forkserver", "tapetum.train.stream"])
    with undisturbed():  # until it has imported what makes it deaf to signals
        multiprocessing.forkserver.ensure_running()
    return context


def _end_server() -> None:
    """End the fork server immediately, with anything it is about to start; the next request starts a new one."""
    server: Any = multiprocessing.forkserver._forkserver  # pyright: ignore[reportAttributeAccessIssue]
    if (process := getattr(server, "_forkserver_pid", None)) is not None:
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
        server._stop()


class Stream:
    """The micro-batches of one process from step `start` on, in order; a context manager that ends its workers."""

    def __init__(self, task: Task, config: TrainConfig, start: int, processes: ProcessGroup):
        from tapetum.core.plugins import own_files

        self._loader = DataLoader(
            _Seeded(task.dataset(), config.seed),
            batch_sampler=_Order(config, start, processes.rank, processes.size),
            collate_fn=_Collate(task.collate),
            num_workers=config.workers,
            worker_init_fn=partial(_start_worker, own_files()),
            multiprocessing_context=_context() if config.workers else None,
            prefetch_factor=config.prefetch if config.workers else None,
            pin_memory=processes.device.type == "cuda",
        )
        self._workers = config.workers
        self._began = time.process_time()
        self._worker_seconds: dict[int, float] = {}
        self._others = set(multiprocessing.active_children())
        try:
            self._batches = iter(self._loader)
        except BaseException:  # a worker that begins without its trainer brings a page of traceback
            _end_server()
            raise
        self._ahead: list[Any] = []

    @property
    def cpu_seconds(self) -> float:
        """Measure the CPU time used by this process and its workers since the stream began."""
        return time.process_time() - self._began + sum(self._worker_seconds.values())

    def peek(self) -> Any:
        if not self._ahead:
            self._ahead.append(self._take())
        return self._ahead[0]

    def next(self) -> Any:
        """Read the next micro-batch; TapetumError when a worker was killed, BadInput when a sample is damaged."""
        return self._ahead.pop() if self._ahead else self._take()

    def _take(self) -> Any:
        try:
            batch, pid, seconds = next(self._batches)
        except (RuntimeError, OSError, EOFError) as error:
            if self._lost_worker():
                raise TapetumError(
                    "a data worker was killed, most often by the system for want of memory; "
                    "lower workers or prefetch, then run the same command again to resume"
                ) from error
            raise
        if isinstance(batch, _Refusal):
            raise BadInput(batch.message)
        if pid != os.getpid():
            self._worker_seconds[pid] = seconds
        return batch

    def _lost_worker(self) -> bool:
        """A worker is dead: any error from reading its output (a broken pipe, a refused connection) is only a consequence."""
        workers = set(multiprocessing.active_children()) - self._others
        return len(workers) < self._workers or bool(
            multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=1.0)
        )

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        del self._batches
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()
