"""The images of `tapetum classify` as jobs: read and processed in batches, in this process, over processes or on Ray."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput, Listener
from tapetum.core.jobs import Engine, gpus_for, run_jobs

if TYPE_CHECKING:
    import numpy as np

Source = tuple[str, Any]
"""An image's name, and its path or what stands for an image in Python."""


@dataclass(frozen=True, kw_only=True)
class ImageJobs:
    """Where images are looked at."""

    engine: Engine = "local"
    workers: int = 1
    device: str | None = "cpu"

    @property
    def alone(self) -> bool:
        """Check whether this process does all the work."""
        return self.engine == "local" and self.workers == 1


@dataclass(frozen=True)
class _Unread:
    """Result of an image that cannot be read."""

    message: str


def read_source(source: Source, tool: Any) -> "Iterator[tuple[str, np.ndarray]]":
    """Read an image, uint8 (h, w, 3), with its name: the `BatchedWork.read` of a source. Raises BadInput."""
    from tapetum.video.read import read_image

    name, image = source
    yield name, read_image(image, name)


def looked_at(_: Source, outputs: list[Any], tool: Any) -> Any:
    """Return the result of a source's only part: the `BatchedWork.finish`."""
    return outputs[0]


def look_at_images(
    work: BatchedWork, sources: Sequence[Source], make_tool: Callable[[], Any], jobs: ImageJobs, listener: Listener
) -> tuple[list[Any], tuple[str, ...]]:
    """Process images; return the results of the readable ones, in order, and the names of the others.

    Unreadable images are reported to the listener. Raises BadInput if none can be read.
    """
    items = sources if jobs.alone else [(name, _absolute(image)) for name, image in sources]
    made: dict[int, Any] = {}
    for number, result in run_jobs(
        work,
        items,
        make_tool,
        engine=jobs.engine,
        workers=jobs.workers,
        gpus=gpus_for(jobs.device),
        failure=_unread,
        progress=partial(listener.progress, "classifying"),
    ):
        made[number] = result
        if isinstance(result, _Unread):
            if len(sources) == 1:
                raise BadInput(result.message)
            listener.note(result.message)
    failed = tuple(name for number, (name, _) in enumerate(sources) if isinstance(made[number], _Unread))
    if len(failed) == len(sources):
        raise BadInput(f"none of {len(sources)} images could be read; give png, jpg or another common format")
    return [made[number] for number in range(len(sources)) if not isinstance(made[number], _Unread)], failed


def _unread(source: Source, error: Exception) -> _Unread:
    if not isinstance(error, BadInput):
        raise error
    return _Unread(str(error))


def _absolute(image: Any) -> Any:
    """A file's path for processes that run in another folder."""
    return Path(os.path.abspath(image)) if isinstance(image, str | Path) else image
