"""Process many items, each once: in this process, in several processes on this machine, or on Ray.

    for number, result in run_jobs(work, items, make_tool, engine=..., workers=...):
        ...

`engine` "local" with one worker processes the items one after another in this process, with more workers in as many processes;
"ray" uses the cluster that `ray.init` finds (RAY_ADDRESS), or this machine, with one process per processor. A tool, such as a
network, is made once in each process. Results arrive as items finish, with the item's number. If a network processes
several items together, `work` is a `tapetum.core.batched_work.BatchedWork`.

An interruptible job writes its results atomically, each under its own name, and finally a file that marks the item as
done (`tapetum.core.finished`). The next call then processes only the missing items.

On Ray, each actor makes the tool once. An actor that is lost, with its process or its machine, is replaced, and its item
assigned again, up to `TRIES` times.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from typing import Any, Literal, TypeVar
from uuid import uuid4

from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput, MissingExtra, TapetumError
from tapetum.core.plugins import naming_own_code
from tapetum.core.provenance import carried
from tapetum.core.threads import ENDING, check_workers, threads_each, undisturbed

TRIES = 3
"""Actors that one item may cost."""

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
            with naming_own_code():
                return self.work(item, tool)
        except Exception as error:  # such as no memory for this item
            return self.failure(item, error)


@dataclass(frozen=True)
class _Task:
    work: Callable[[Any, Any], Any]
    make_tool: Callable[[], Any]
    call: str

    def __call__(self, item: Any) -> Any:
        with naming_own_code():  # here: a traceback does not leave its process
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


def _begin_process(threads: int, task: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once; what is to be said, the parent says
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    _task[:] = [task]


def _do(item: Any) -> Any:
    return _task[0](item)


class Worker:
    """The actor: a process that runs a task, whose tool it keeps, on one item after the other."""

    def __init__(self, task: Callable[[Any], Any]):
        self._task = task

    def work(self, item: Any) -> Any:  # Ray names its processes after it
        return self._task(item)


def _on_ray(
    work: Callable[[Item, Any], Result], items: Sequence[Item], make_tool: Callable[[], Any], workers: int, gpus: float | None
) -> Iterator[tuple[int, Result]]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.exceptions import RayError, RayTaskError  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra("ray", "cluster", "--engine ray") from error
    if not items:
        return
    with redirect_stdout(sys.stderr), _cluster(ray):  # Ray tells of killed workers on stdout, where results go
        there = ray.cluster_resources()
        gpus = min(there.get("GPU", 0), 1) if gpus is None else gpus
        count = min(len(items), there.get("CPU", 1), there.get("GPU", 0) / gpus if gpus else len(items))
        count = max(1, int(min(count, workers) if workers > 1 else count))
        actor_class = ray.remote(num_cpus=1, num_gpus=gpus)(Worker)
        task = ray.put(carried(_Task(work, make_tool, uuid4().hex)))
        waiting: dict[Any, tuple[Any, int]] = {}
        pending, again, losses = iter(range(len(items))), list[int](), Counter[int]()

        def assign(actor: Any) -> None:
            number = again.pop() if again else next(pending, None)
            if number is None:
                ray.kill(actor)  # its processor may be what another waits for, whose machine is gone
            else:
                waiting[actor.work.remote(items[number])] = actor, number

        actors = [actor_class.remote(task) for _ in range(count)]
        try:
            for actor in actors:
                assign(actor)
            while waiting:
                [done], _ = ray.wait(list(waiting), num_returns=1)
                actor, number = waiting.pop(done)
                try:
                    result = ray.get(done)
                except RayTaskError:
                    raise
                except RayError as error:
                    ray.kill(actor)  # it may only have been out of reach
                    losses[number] += 1
                    if losses[number] == TRIES:
                        raise TapetumError(
                            f"the workers on {items[number]} were lost {TRIES} times ({type(error).__name__}), most often "
                            "killed by the system for want of memory; run the same command again to go on"
                        ) from error
                    again.append(number)
                    actor = actor_class.remote(task)
                else:
                    yield number, result
                assign(actor)
        except RayTaskError as error:
            if isinstance(error.cause, TapetumError | OSError | MemoryError):  # these are reported in one line
                raise error.cause from None
            raise
        finally:
            for actor, _ in waiting.values():
                ray.kill(actor)


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
