"""Images to learn from, by number, and what is known of them; `sources` reads them from files.

A file that turns out to be damaged is replaced by the next one, the same in every run; the loop names and counts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle

Image = UInt8[np.ndarray, "h w 3"]
_TRIES = 100
"""Damaged images on end after which a run gives up."""


class ImageSequence(Protocol):
    """Images by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> Image:
        """Raises BadInput for one that is damaged."""
        ...

    def name(self, k: int) -> str:
        """Name image k, for people."""
        ...


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


@dataclass(frozen=True)
class ImageSource:
    """Images to learn from."""

    images: ImageSequence
    labels: np.ndarray | None = None
    """int64 (n,) numbers of classes; None: none are known."""
    classes: tuple[str, ...] = ()
    """Names, by number."""
    captions: Sequence[str] | None = None
    """A text for each image; None: there are none."""
    about: dict[str, Any] = field(default_factory=dict)
    """What the identity of a run says of the data."""

    def __len__(self) -> int:
        return len(self.images)


class TrainingImage(NamedTuple):
    """An image as sample `number` of a run."""

    image: Image
    number: int
    index: int
    """Which image of the source it is."""
    damaged: tuple[int, ...]
    """Images that should have been shown, and could not be read."""


class ShuffledImages(Dataset[TrainingImage]):
    """Endless showings in a shuffled order."""

    def __init__(self, source: ImageSource, seed: int):
        self.source, self.seed = source, seed

    @cached_property
    def order(self) -> Shuffle:
        """Shuffle the images: which is shown when."""
        return Shuffle(len(self.source), self.seed)

    def __getitem__(self, number: int) -> TrainingImage:
        """Show sample `number`. Raises BadInput where a hundred images on end, or all, are damaged."""
        first, damaged = self.order(number), []
        for step in range(min(_TRIES, len(self.source))):
            k = (first + step) % len(self.source)
            try:
                return TrainingImage(self.source.images[k], number, k, tuple(damaged))
            except BadInput as error:
                damaged.append(k)
                last = error
        raise BadInput(f"{len(damaged)} images on end cannot be read, the last because {last}")
