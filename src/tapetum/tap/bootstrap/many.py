"""Work over many videos, shared out with Ray: on one machine, or on a cluster that `ray.init` finds (RAY_ADDRESS).

Every video is a task of its own. A worker that is killed loses its video, which Ray gives to another worker; since the result
of a video is written whole, under a name that is its own, and last, it is there once however often the work was done.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

from tapetum.errors import MissingExtra, TapetumError
from tapetum.tap.bootstrap.footage import Footage, FootageConfig, claim, collected, find_videos, name_of, prepare

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 20
"""Times that a video is given out again after its worker died."""


def share_out(
    work: Callable[[Item], Result], items: Sequence[Item], *, cpus: float = 1, gpus: float = 0
) -> Iterator[tuple[int, Result]]:
    """`work(item)` for every item in Ray's workers, as (number, result) in the order in which they are done.

    Raises BadInput for an item whose work raised it, TapetumError when the workers of one item die again and again,
    MissingExtra without Ray.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra("ray", "cluster", "--engine ray") from error
    with redirect_stdout(sys.stderr), _cluster(ray):  # Ray tells of killed workers on stdout, where results go
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False)(work)
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


def prepare_on_ray(
    source: Path, out: Path, config: FootageConfig, progress: Callable[[int, int, str], None] | None = None
) -> Footage:
    """`tapetum.tap.bootstrap.footage.prepare_all` with many videos at a time; all machines must see `source` and `out`."""
    source, out = source.resolve(), out.resolve()
    videos = find_videos(source)
    claim(out, config)

    def work(video: Path) -> str:
        return prepare(video, name_of(video, source), out, config)["key"]

    keys = [""] * len(videos)
    for done, (number, key) in enumerate(share_out(work, videos)):
        keys[number] = key
        if progress:
            progress(done + 1, len(videos), name_of(videos[number], source))
    return collected(keys, source, out, config)
