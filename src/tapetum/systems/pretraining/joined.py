"""Several sources of images as one, their images numbered through."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.data.jpegs import EncodedImage, EncodedSequence
from tapetum.data.samples import Mixture, ReadsAhead
from tapetum.systems.pretraining.data import Image, ImageSource


class Joined:
    """Sequences end to end."""

    def __init__(self, parts: Sequence[Any]):
        self.parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def place(self, k: int) -> tuple[int, int]:
        """Find the part of item k, and its number there."""
        part = bisect_right(self._ends, k)
        return part, k - self._ends[part] + len(self.parts[part])

    def __getitem__(self, k: int) -> Any:
        part, number = self.place(int(k))
        return self.parts[part][number]


class JoinedImages(Joined):
    """Images of several sources."""

    def __getitem__(self, k: int, /) -> Image:
        return super().__getitem__(k)

    def encoded(self, k: int) -> EncodedImage | Image:
        """Read image k as a JPEG to be decoded later, where its part can do so, else decode it."""
        part, number = self.place(k)
        images = self.parts[part]
        return images.encoded(number) if isinstance(images, EncodedSequence) else images[number]

    def name(self, k: int) -> str:
        part, number = self.place(k)
        return self.parts[part].name(number)

    def read_ahead(self, numbers: Iterable[int]) -> None:
        """Begin to read some images in the background, where they lie at addresses."""
        numbers_of: list[list[int]] = [[] for _ in self.parts]
        for k in numbers:
            part, number = self.place(k)
            numbers_of[part].append(number)
        for images, theirs in zip(self.parts, numbers_of, strict=True):
            if isinstance(images, ReadsAhead):
                images.read_ahead(theirs)


class JoinedLabels(Joined):
    """Classes of several sources, as numbers of the classes of all."""

    def __init__(self, parts: Sequence[Any], numbers: Sequence[np.ndarray]):
        """`numbers`: for each part, the numbers that its classes have among those of all."""
        super().__init__(parts)
        self._numbers = numbers

    def __getitem__(self, k: "int | np.ndarray") -> Any:
        if isinstance(k, np.ndarray):
            return np.array([self[int(each)] for each in k], np.int64)
        part, number = self.place(k)
        return self._numbers[part][int(self.parts[part][number])]


def join_sources(sources: Sequence[ImageSource], weights: Sequence[float] = ()) -> ImageSource:
    """Join sources of images: classes of one name are one, and what one of them lacks (classes, captions) none has.

    Args:
        sources: two or more.
        weights: how much each is shown; none: every image once an epoch, so that each source counts by its size.

    Raises:
        BadInput: as `Mixture`; some have captions and others none.
    """
    sizes = tuple(map(len, sources))
    if weights:
        Mixture(sizes, weights, seed=0)
    labels, classes = None, ()
    if all(source.labels is not None for source in sources):
        classes = tuple(sorted({name for source in sources for name in source.classes}))
        numbers = [np.array([classes.index(name) for name in source.classes], np.int64) for source in sources]
        labels = JoinedLabels([source.labels for source in sources], numbers)
    captioned = [source for source in sources if source.captions is not None]
    if captioned and len(captioned) < len(sources):
        lacking = next(source for source in sources if source.captions is None)
        raise BadInput(f"{lacking.about.get('data')} has no captions, which others have; write some, or leave it out")
    about: dict[str, Any] = {"data": [source.about["data"] for source in sources], "images": list(sizes)}
    return ImageSource(
        JoinedImages([source.images for source in sources]),
        labels,  # pyright: ignore[reportArgumentType]
        classes,
        Joined([source.captions for source in sources]) if captioned else None,  # pyright: ignore[reportArgumentType]
        sizes,
        tuple(weights),
        about | ({"data_weights": list(weights)} if weights else {}),
    )
