"""Training images by number, with their classes and captions; `sources` reads them from files.

A damaged file is replaced by the next one, the same in every run; the loop names and counts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import UInt8

from tapetum.core.errors import BadInput
from tapetum.data.files import Files, opened_image
from tapetum.data.samples import Shuffle, WeightedShuffle

Image = UInt8[np.ndarray, "h w 3"]
_CACHED_BYTES = 512 << 20
"""Decoded images that a process keeps."""
_TRIES = 100
"""Damaged images on end after which a run gives up."""


class ImageSequence(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> Image: ...

    def name(self, k: int) -> str: ...


@dataclass(frozen=True)
class NoImages:
    """Placeholder for images where only what is known of them is needed."""

    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Image:
        raise BadInput(f"{self.name(k)} is not here; ask the dataset")

    def name(self, k: int) -> str:
        return f"image {k}"


@dataclass
class FileImages:
    """Images in files, decoded when they are asked for and kept while there is room: in half a gigabyte a process."""

    files: Files
    _cache: dict[int, Image] = field(default_factory=dict, repr=False)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> Image:
        if k in self._cache:
            return self._cache[k]
        image = np.array(opened_image(self.files[k], "RGB"))
        if self._bytes + image.nbytes <= _CACHED_BYTES:
            self._cache[k] = image
            self._bytes += image.nbytes
        return image

    def name(self, k: int) -> str:
        return self.files[k].name

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "_cache": {}, "_bytes": 0}


@dataclass(frozen=True)
class ImageSource:
    images: ImageSequence
    labels: np.ndarray | None = None
    """int64 (n,) numbers of classes; None: none are known."""
    classes: tuple[str, ...] = ()
    """Names, by number."""
    captions: Sequence[str] | None = None
    """A text for each image; None: there are none."""
    sizes: tuple[int, ...] = ()
    """Images of each of several sources that this one joins."""
    weights: tuple[float, ...] = ()
    """How much each of them is shown; none: every image once an epoch."""
    about: dict[str, Any] = field(default_factory=dict)
    """What the identity of a run says of the data."""

    def __len__(self) -> int:
        return len(self.images)


def classes_of(folders: Sequence[str | None]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Number images by the names of their folders; there are no classes if an image is in no folder, or all are in one.

    >>> classes_of(["cat", "ant", "cat"]), classes_of(["cat", None])
    ((array([1, 0, 1]), ('ant', 'cat')), (None, ()))
    """
    names = tuple(sorted({name for name in folders if name}))
    if not all(folders) or len(names) < 2:
        return None, ()
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[str(name)] for name in folders]), names


class TrainingImage(NamedTuple):
    """An image as sample `number` of a run."""

    image: Image
    number: int
    index: int
    """Which image of the source it is."""
    damaged: tuple[int, ...]
    """Images that should have been shown, and could not be read."""


class ShuffledImages(torch.utils.data.Dataset[TrainingImage]):
    """Endless samples in shuffled order."""

    def __init__(self, source: ImageSource, seed: int):
        self.source, self.seed = source, seed

    @cached_property
    def order(self) -> Shuffle | WeightedShuffle:
        if self.source.weights:
            return WeightedShuffle(self.source.sizes, self.source.weights, self.seed)
        return Shuffle(len(self.source), self.seed)

    def __getitem__(self, number: int) -> TrainingImage:
        """Get sample `number`. Raises BadInput if a hundred images in a row, or all, are damaged."""
        first, damaged = self.order(number), []
        for step in range(min(_TRIES, len(self.source))):
            k = (first + step) % len(self.source)
            try:
                return TrainingImage(self.source.images[k], number, k, tuple(damaged))
            except BadInput as error:
                damaged.append(k)
                last = error
        raise BadInput(f"{len(damaged)} images on end cannot be read, the last because {last}")
