"""Process many items, each once: in this process, in several processes on this machine, or on Ray.

    for number, result in run_jobs(work, items, make_tool, engine=..., workers=...):
        ...

`engine` "local" with one worker processes the items one after another in this process, with more workers in as many processes;
"ray" uses the cluster that `ray.init` finds (RAY_ADDRESS), or this machine, with one process per processor. A tool, such as a
network, is made once in each process. Results arrive as items finish, with the item's number. If a network processes
several items together, `work` is a `tapetum.core.batched_work.BatchedWork`.

An interruptible job writes its results atomically, each under its own name, and finally a file that marks the item as
done (`tapetum.core.finished`). The next call then processes only the missing items.

On Ray, each actor makes the tool once, and has a few items in flight:

    items  1 2 3 4 5 6 7 ...        driver                actor A  tool  [1] 3        in flight: [the one that is worked on],
                            gives 2 to each actor that    actor B  tool  [2] 4        and the next, so that it need not wait
                            is ready, then one a result   actor C  being made

Machines that join get actors too, within seconds. An actor that is lost, with its process or its machine, is replaced. Its
items are assigned again: the one that it was working on until it has been lost `TRIES` times, since it is then most likely the
cause; those behind it as often as needed.
"""

import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context
from typing import Any, Literal, TypeVar
from uuid import uuid4

from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput, MissingExtra, TapetumError
from tapetum.core.provenance import carried
from tapetum.core.threads import ENDING, check_workers, threads_each, undisturbed

IN_FLIGHT = 2
"""Items that an actor has at a time."""
TRIES = 3
"""Actors that one item may cost."""
_LOOK_S = 5.0
"""Seconds after which the cluster is looked at again, for machines that have joined."""
_STARTS = 20
"""Actors that may be lost, one after the other, before any of them is ready."""


class Worker:
    """The actor: a process that runs a task, whose tool it keeps, on one item after the other."""

    def __init__(self, task: Callable[[Any], Any]):
        self._task = task

    def ready(self) -> None:
        """Answer once the process has started."""

    def work(self, item: Any) -> Any:  # Ray names its processes after it
        """Run the task on an item."""
        return self._task(item)


@dataclass(eq=False)
class _Actor:
    handle: Any
    ready: bool = False
    lost: bool = False
    numbers: deque[int] = field(default_factory=deque)
    """Of the items that it has, in the order in which it does them."""


class ActorPool:
    """Actors of the cluster that `ray` is connected to, for one task on some items."""

    def __init__(self, ray: Any, task: Callable[[Any], Any], items: Sequence[Any], *, workers: int = 1, gpus: float = 0):
        """`workers`: actors at most, if it is more than 1; `gpus`: graphics cards per actor, which also takes one processor."""
        self._ray, self._items, self._workers = ray, items, workers
        self._task = ray.put(task)
        self._class = ray.remote(num_cpus=1, num_gpus=gpus)(Worker)
        self._gpus = gpus
        self._pending, self._again = range(len(items)), list[int]()
        self._actors: list[_Actor] = []
        self._waiting: dict[Any, tuple[_Actor, int | None]] = {}
        self._losses: Counter[int] = Counter()
        self._lost_starts = 0
        self._looked = time.monotonic()

    def results(self) -> Iterator[tuple[int, Any]]:
        """Yield number and result of each item, once, in the order in which they finish.

        Raises what the task raised, as wrapped by Ray, and TapetumError if one item costs too many actors.
        """
        try:
            for _ in range(self._size()):
                self._start()
            for _ in range(len(self._items)):
                yield self._next()
                self._grow()
        finally:
            for actor in self._actors:
                self._kill(actor)

    def _size(self) -> int:
        resources = self._ray.cluster_resources()
        size = resources.get("CPU", 1)
        if self._gpus:
            size = min(size, resources.get("GPU", 0) / self._gpus)
        if self._workers > 1:
            size = min(size, self._workers)
        return min(len(self._items), max(int(size), 1))

    def _grow(self) -> None:
        """Start more actors if the cluster has grown."""
        if self._pending and time.monotonic() >= self._looked + _LOOK_S:
            self._looked = time.monotonic()
            for _ in range(self._size() - len(self._actors)):
                self._start()

    def _start(self) -> None:
        actor = _Actor(self._class.remote(self._task))
        self._actors.append(actor)
        self._waiting[actor.handle.ready.remote()] = actor, None

    def _next(self) -> tuple[int, Any]:
        """Wait for the next finished item."""
        from ray.exceptions import RayError, RayTaskError  # pyright: ignore[reportMissingImports]

        while True:
            self._give_out()
            [done], _ = self._ray.wait(list(self._waiting), num_returns=1)
            actor, number = self._waiting.pop(done)
            try:
                result = self._ray.get(done)
            except RayTaskError:
                raise
            except RayError as error:
                self._lose(actor, error)
                if number is not None:
                    self._again.append(number)
                continue
            if number is None:
                actor.ready, self._lost_starts = True, 0
                continue
            actor.numbers.remove(number)
            return number, result

    def _give_out(self) -> None:
        """Give each actor an item, and a next one where there are enough for all."""
        for most in range(1, IN_FLIGHT + 1):
            for actor in self._actors:
                left = len(self._again) + len(self._pending)
                enough = left and (most == 1 or left >= len(self._actors))
                if actor.ready and enough and len(actor.numbers) < most:
                    if self._again:
                        number = self._again.pop()
                    else:
                        number, self._pending = self._pending[0], self._pending[1:]
                    actor.numbers.append(number)
                    self._waiting[actor.handle.work.remote(self._items[number])] = actor, number

    def _lose(self, actor: _Actor, error: Exception) -> None:
        """Replace an actor; what else it has comes back as errors, or was done before."""
        if actor.lost:
            return
        actor.lost = True
        self._actors.remove(actor)
        self._kill(actor)  # it may only have been out of reach
        self._lost_starts += not actor.ready
        if actor.numbers:
            number = actor.numbers[0]
            self._losses[number] += 1
            if self._losses[number] == TRIES:
                raise TapetumError(
                    f"the workers on {self._items[number]} were lost {TRIES} times ({type(error).__name__}), most often killed "
                    "by the system for want of memory; run the same command again to go on"
                ) from error
        if self._lost_starts == _STARTS:
            raise TapetumError(f"{_STARTS} workers of Ray were lost as they began ({error}); look at its cluster") from error
        self._start()

    def _kill(self, actor: _Actor) -> None:
        with suppress(Exception):  # it is gone
            self._ray.kill(actor.handle, no_restart=True)


Item = TypeVar("Item")
Result = TypeVar("Result")
Engine = Literal["local", "ray"]

_tools: dict[str, Any] = {}
"""The tool of this process, by the call of `run_jobs` that it belongs to: of the latest alone, since it may be large."""


def no_tool() -> None:
    """Do nothing: for work that needs no tool."""


def run_jobs(
    work: Callable[[Item, Any], Result],
    items: Sequence[Item],
    make_tool: Callable[[], Any] = no_tool,
    *,
    engine: Engine | str = "local",
    workers: int = 1,
    gpus: float | None = 0,
    failure: Callable[[Item, Exception], Result] | None = None,
    finished: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[int, Result]]:
    """Compute `work(item, tool)` for every item; yield its number and the result as soon as it is available.

    Args:
        work: the function applied to an item. With several workers it is pickled, as are `make_tool`, `failure`, items and
            results. In one process a `BatchedWork` computes several items together.
        items: those that are not done yet.
        make_tool: makes what the work needs, once per process, before its first item.
        engine: local or ray.
        workers: processes of this machine, for "local"; for "ray", if it is more than 1, at most this many on the cluster.
        gpus: graphics cards per process, for "ray", besides one processor; None: one, if the cluster has any.
        failure: makes the result of an item whose work raised an error, so that the other items continue; without it the
            first error ends the work.
        finished: items done before this call, counted by `progress`.
        progress: called with the number of finished items and of all, before the first and after each.

    Raises:
        BadInput: as `check_workers`.
        TapetumError: a worker was killed; on Ray, repeatedly for one item.
        MissingExtra: Ray is not installed.

    >>> list(run_jobs(lambda item, tool: item * tool, [1, 2], lambda: 10))
    [(0, 10), (1, 20)]
    >>> list(run_jobs(lambda item, _: 1 / item, [0, 2], failure=lambda item, error: str(error)))
    [(0, 'division by zero'), (1, 0.5)]
    """
    total = finished + len(items)
    progress(finished, total)
    each = work if failure is None else _Forgiving(work, failure)
    if engine == "ray":
        results = _on_ray(each, items, make_tool, workers, gpus)
    elif isinstance(work, BatchedWork) and (workers <= 1 or len(items) < 2):
        check_workers(workers)
        results = work.run(items, make_tool() if items else None, failure)
    else:
        results = _over_processes(each, items, make_tool, workers)
    for done, result in enumerate(results, finished + 1):
        progress(done, total)
        yield result


@dataclass(frozen=True)
class _Forgiving:
    """Work of which an error is a result."""

    work: Callable[[Any, Any], Any]
    failure: Callable[[Any, Exception], Any]

    def __call__(self, item: Any, tool: Any) -> Any:
        try:
            return self.work(item, tool)
        except Exception as error:  # such as no memory for this item
            return self.failure(item, error)


@dataclass(frozen=True)
class _Task:
    """Work with the tool of the process that does it."""

    work: Callable[[Any, Any], Any]
    make_tool: Callable[[], Any]
    call: str
    """Which call of `run_jobs` it is of."""

    def __call__(self, item: Any) -> Any:
        if self.call not in _tools:
            _tools.clear()
            _tools[self.call] = self.make_tool()
        return self.work(item, _tools[self.call])


def _over_processes(
    work: Callable[[Item, Any], Result], items: Sequence[Item], make_tool: Callable[[], Any], workers: int
) -> Iterator[tuple[int, Result]]:
    check_workers(workers)
    if workers <= 1 or len(items) < 2:
        tool = make_tool() if items else None
        for number, item in enumerate(items):
            yield number, work(item, tool)
        return
    task = carried(_Task(work, make_tool, uuid4().hex))
    with undisturbed():
        pool = ProcessPoolExecutor(
            min(workers, len(items)),
            mp_context=get_context("spawn"),
            initializer=_begin_process,
            initargs=(threads_each(workers), task),
        )
    others = set(active_children())
    try:
        with undisturbed():
            waiting = {pool.submit(_do, item): number for number, item in enumerate(items)}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    except BrokenProcessPool as error:
        raise TapetumError(
            "a worker was killed, most often by the system for want of memory; run the same command again with fewer --workers"
        ) from error
    except BaseException:  # nobody waits for the rest
        for process in set(active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_task: list[Callable[[Any], Any]] = []
"""What this worker process does."""


def _begin_process(threads: int, task: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once; what is to be said, the parent says
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    _task[:] = [task]


def _do(item: Any) -> Any:
    return _task[0](item)


def _on_ray(
    work: Callable[[Item, Any], Result], items: Sequence[Item], make_tool: Callable[[], Any], workers: int, gpus: float | None
) -> Iterator[tuple[int, Result]]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra("ray", "cluster", "--engine ray") from error
    if not items:
        return
    with redirect_stdout(sys.stderr), _cluster(ray):  # Ray tells of killed workers on stdout, where results go
        if gpus is None:
            gpus = min(ray.cluster_resources().get("GPU", 0), 1)
        task = carried(_Task(work, make_tool, uuid4().hex))
        try:
            yield from ActorPool(ray, task, items, workers=workers, gpus=gpus).results()
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TapetumError | OSError | MemoryError):  # these are reported in one line
                raise error.cause from None
            raise


def gpus_for(device: str | None) -> float | None:
    """Count the graphics cards that work on this device uses on Ray; None: one, if the cluster has any.

    >>> gpus_for("cuda:1"), gpus_for("xpu"), gpus_for("cpu"), gpus_for("auto")
    (1, 1, 0, None)
    """
    return None if device == "auto" else int((device or "cpu").startswith(("cuda", "xpu")))


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Connect to the existing cluster, or start one on this machine that ends with the block."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    except Exception as error:  # of any class, where a process of Ray's is killed as it starts
        ray.shutdown()
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise BadInput(f"Ray does not start: {reason}; make room, check RAY_ADDRESS, or leave --engine ray out") from error
    try:
        yield
    finally:
        ray.shutdown()
