"""Images of `tapetum classify` as jobs, files of `tapetum embed` and `tapetum index`, and features of images by name.

Images are read and processed in batches, in this process, over processes or on Ray. Features are those of a network, or colours
and positions.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput, Listener
from tapetum.core.jobs import Engine, gpus_for, run_jobs
from tapetum.core.provenance import protect
from tapetum.video.images import IMAGES, VIDEOS

if TYPE_CHECKING:
    import numpy as np


def image_features_of(model: str, short_side: int | None = None, stride: int | None = None, device: str | None = "auto") -> Any:
    """Build the function of an image's features: colours, rgb or xy, or an encoder or Odin network by name, file or run.

    Raises BadInput for weights of another kind.
    """
    from tapetum.systems.odin.objects import PLAIN, network_map

    if model in PLAIN:
        return PLAIN[model]
    from tapetum.encoders import Encoder
    from tapetum.hub.loading import find_loader, load
    from tapetum.layers.cpu import speed_up
    from tapetum.systems.odin.model import Odin
    from tapetum.systems.odin.weights import ODIN_FILE
    from tapetum.train.process_group import pick_device

    own = Path(model) / ODIN_FILE
    reference = own if own.is_file() else model
    find_loader(reference, trackers=False)
    loaded = load(reference)
    if not isinstance(loaded, Encoder | Odin):
        raise BadInput(f"{model} is no encoder of images; give one by name or file, or {', '.join(PLAIN)}")
    return network_map(speed_up(loaded.to(pick_device(device))), short_side, stride)


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
    items = sources
    if not jobs.alone:  # other processes run in another folder
        items = [(name, Path(os.path.abspath(each)) if isinstance(each, str | Path) else each) for name, each in sources]
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


_BESIDE = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
NO_MEDIA = {
    *(".txt", ".md", ".rst", ".pdf", ".docx", ".html", ".xml", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".log", ".py"),
    *(".csv", ".tsv", ".xlsx", ".parquet", ".npy", ".npz", ".pkl", ".h5", ".mat", ".pt", ".pth", ".safetensors", ".onnx"),
    *(".zip", ".tar", ".gz", ".tgz", ".7z", ".srt", ".vtt", ".xmp", ".ipynb", ".sh", ".db", ".unfinished", ".state"),
}
"""Endings of what people keep beside images and videos, and which is neither."""


def files_below(folder: Path) -> list[Path]:
    """List all files in a folder and below, except hidden ones; links to folders are not followed."""
    files: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = (name for name in names if not name.startswith(".") and name.lower() not in _BESIDE)
        files += [path for name in visible if (path := Path(place, name)).is_file()]
    protect(path for path in files if path.suffix.lower() in IMAGES | VIDEOS)  # no table beside them, which is made anew
    return sorted(files)
