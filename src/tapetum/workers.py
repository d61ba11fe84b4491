"""Work shared out to processes of this machine, each of which makes the tool that it works with once."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from tapetum.errors import TapetumError

Job = TypeVar("Job")
Result = TypeVar("Result")
Tool = TypeVar("Tool")

_here: dict[str, Any] = {}
"""The work of this worker process, and the tool once it is made."""


def shared_out(
    work: Callable[[Job, Tool], Result], jobs: Sequence[Job], make: Callable[[], Tool], workers: int
) -> Iterator[tuple[Job, Result]]:
    """`work(job, make())` for every job, in the order in which they are done; with one worker, in this process.

    `work`, `make`, jobs and results are pickled where there are several. The first error of a job ends the work. Raises
    TapetumError where a worker is killed.
    """
    if workers == 1 or len(jobs) < 2:
        tool = make() if jobs else None
        for job in jobs:
            yield job, work(job, tool)  # pyright: ignore[reportArgumentType]
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_begin, initargs=(work, make, threads)
    )
    try:
        waiting = {pool.submit(_do, job): job for job in jobs}
        for task in as_completed(waiting):
            yield waiting[task], task.result()
    except BrokenProcessPool as error:
        raise TapetumError(
            "a worker was killed, most often by the system for want of memory; run the same command again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(work: Any, make: Any, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once; what is to be said, the parent says
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    _here.update(work=work, make=make)


def _do(job: Any) -> Any:
    if "tool" not in _here:
        _here["tool"] = _here["make"]()
    return _here["work"](job, _here["tool"])
