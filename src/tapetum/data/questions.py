"""Records of questions, captions and referring expressions: one type each, whatever the data set.

No image is opened here: a record names its files. Whoever opens them says which one is not there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput
from tapetum.data.rle import segmentation_mask

Key = str | int
"""An official id, as the files have it."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about images or a video."""

    key: Key
    """Of the question; no two of a split have the same."""
    images: tuple[Path, ...] = ()
    """In the order in which they are shown."""
    video: Path | None = None
    start_s: float | None = None
    """Where the part of the video begins that is meant; None for a whole video."""
    stop_s: float | None = None
    """Where it ends."""
    question: str
    answers: tuple[str, ...] = ()
    """All that people gave, as they stand in the file, repeated as often as given; none where the split hides them."""
    kind: str = ""
    """Of the question or of its answer, by which scores are told apart; "" where there are none."""
    options: tuple[str, ...] = ()
    """To choose from; none where the answer is free."""
    right: int | None = None
    """Number of the right option."""
    context: str = ""
    """What is told before the question."""


@dataclass(frozen=True, kw_only=True)
class CaptionedImage:
    """An image and what people wrote under it."""

    key: Key
    image: Path
    captions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReferredObject:
    """A thing in an image, and expressions that mean it."""

    key: Key
    image: Path
    size: tuple[int, int]
    """Height and width of the image."""
    expressions: tuple[str, ...]
    xyxy: tuple[float, float, float, float]
    """Its box in raster pixels."""
    segmentation: Sequence[Sequence[float]] | Mapping[str, Any]
    """As COCO writes it: polygons or runs."""

    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Draw its mask. Raises BadInput for a segmentation that is none."""
        return segmentation_mask(self.segmentation, self.size)


Record = TypeVar("Record", Question, CaptionedImage, ReferredObject)


def check_unique(records: Iterable[Record], where: object) -> list[Record]:
    """Check that the keys of records all differ; returns them. Raises BadInput where there are none, or a key comes twice."""
    unique = list(records)
    if not unique:
        raise BadInput(f"{where} has nothing to read in that split; copy it anew, or choose another split")
    keys: set[Key] = set()
    for record in unique:
        if record.key in keys:
            raise BadInput(f"{where} has the id {record.key!r} twice; ids in a split must differ")
        keys.add(record.key)
    return unique
