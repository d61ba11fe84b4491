"""Work on many items, each done once: over processes of this machine, or over Ray, on this machine or a cluster.

Both give (number of the item, result) in the order in which items are done. On Ray every item is a task of its own; a worker
that is killed loses its item, which Ray gives to another worker. So what the work writes should be written whole, under a name
that is the item's own, and last: then it is there once however often the work was done.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from multiprocessing import active_children, get_context, resource_tracker
from typing import Any, TypeVar

from tapetum.core.errors import BadInput, MissingExtra, TapetumError
from tapetum.core.provenance import carried
from tapetum.core.threads import threads_each

Item = TypeVar("Item")
Result = TypeVar("Result")
Tool = TypeVar("Tool")

RETRIES = 20
"""Times that Ray gives an item out again after its worker died."""

_ENDING = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
_here: dict[str, Any] = {}
"""The work of this worker process, and the tool once it is made."""


def over_processes(
    work: Callable[[Item, Tool], Result], items: Sequence[Item], make: Callable[[], Tool], workers: int
) -> Iterator[tuple[int, Result]]:
    """Give `work(item, make())` for every item; each process makes its tool once. With one worker, in this process.

    `work`, `make`, items and results are pickled where there are several workers. The first error of an item ends the work.
    Raises BadInput as `check_workers`, TapetumError where a worker is killed.

    >>> list(over_processes(lambda item, tool: item * tool, [1, 2], lambda: 10, workers=1))
    [(0, 10), (1, 20)]
    """
    check_workers(workers)
    if workers <= 1 or len(items) < 2:
        tool = make() if items else None
        for number, item in enumerate(items):
            yield number, work(item, tool)  # pyright: ignore[reportArgumentType]
        return
    threads = threads_each(workers)
    with undisturbed():
        pool = ProcessPoolExecutor(
            min(workers, len(items)),
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(carried(work), make, threads),
        )
    others = set(active_children())
    try:
        with undisturbed():
            waiting = {pool.submit(_do, item): number for number, item in enumerate(items)}
        for task in as_completed(waiting):
            yield waiting[task], task.result()
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


def check_workers(workers: int) -> None:
    """Raise BadInput for more processes than this machine can sensibly run.

    >>> check_workers(9999999)
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: asked for 9999999 workers on a machine of ... processors; give ... or fewer
    """
    cores = os.cpu_count() or 1
    if workers > (most := max(64, 4 * cores)):
        raise BadInput(f"asked for {workers} workers on a machine of {cores} processors; give {most} or fewer")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back signals that end a command while processes are started, and from these, which would say what nobody reads.

    This process hears of them at the end of the block; one that was started, when it says so (`signal.pthread_sigmask`).
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()  # of multiprocessing; it is deaf to the other two, which it would let through again
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(work: Any, make: Any, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once; what is to be said, the parent says
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    _here.update(work=work, make=make)


def _do(item: Any) -> Any:
    if "tool" not in _here:
        _here["tool"] = _here["make"]()
    return _here["work"](item, _here["tool"])


def over_ray(
    work: Callable[[Item], Result], items: Sequence[Item], *, cpus: float = 1, gpus: float = 0
) -> Iterator[tuple[int, Result]]:
    """Give `work(item)` for every item, done by Ray on the cluster that `ray.init` finds (RAY_ADDRESS), or on this machine.

    Each item takes `cpus` processors and `gpus` graphics cards. Raises the item's own TapetumError, OSError or MemoryError,
    TapetumError when the workers of one item die again and again, MissingExtra without Ray.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra("ray", "cluster", "--engine ray") from error
    with redirect_stdout(sys.stderr), _cluster(ray):  # Ray tells of killed workers on stdout, where results go
        guarding = carried(work)

        @wraps(work)  # Ray names its processes after it
        def do(item: Item) -> Result:
            return guarding(item)

        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False)(do)
        waiting = {remote.remote(item): number for number, item in enumerate(items)}
        while waiting:
            [task], _ = ray.wait(list(waiting), num_returns=1)
            number = waiting.pop(task)
            try:
                yield number, ray.get(task)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, TapetumError | OSError | MemoryError):  # these are told in one line
                    raise error.cause from None
                raise
            except ray.exceptions.RayError as error:
                raise TapetumError(
                    f"the workers on {items[number]} were lost again and again ({type(error).__name__}), most often killed by "
                    "the system for want of memory; run the same command again to go on"
                ) from error


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """The cluster that is there, or one of this machine's own that ends with the block."""
    if ray.is_initialized():
        yield
        return
    ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()
