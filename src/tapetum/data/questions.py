"""Records of questions, captions and referring expressions, one type each for all data sets; and a decorator for readers.

A record names its files and opens none of them. A reader is a function from the entries of an official file to records, under
`reader`, which names the file and the splits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, first_of, one_of
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
    """Text that comes before the question."""


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
        """Draw its mask. Raises BadInput for an invalid segmentation."""
        return segmentation_mask(self.segmentation, self.size)


class Keyed(Protocol):
    """A record with an official id."""

    @property
    def key(self) -> Key: ...


Record = TypeVar("Record", bound=Keyed)


def check_unique(records: Iterable[Record], where: object) -> list[Record]:
    """Check that the keys of records are unique; returns them. Raises BadInput if there are none, or for duplicates."""
    unique = list(records)
    if not unique:
        raise BadInput(f"{where} has nothing to read in that split; copy it again, or choose another split")
    keys: set[Key] = set()
    for record in unique:
        if record.key in keys:
            raise BadInput(f"{where} has the id {record.key!r} twice; ids in a split must differ")
        keys.add(record.key)
    return unique


@dataclass(frozen=True)
class OfficialSplit:
    """Where a reader reads."""

    folder: Path
    """Of the data set."""
    split: str
    file: Path
    """Of the entries."""


def reader(
    splits: str, *files: str, read: Callable[[Path], Iterable[JsonEntry]] = entries, under: str = ""
) -> Callable[[Callable[..., Iterable[Record]]], Callable[..., list[Record]]]:
    """Make a reader of (folder, split) out of a function that turns the entries of a file, and their split, into records.

    `splits` are separated by spaces, the first is the default; of several `files` below the folder, with {split} in their
    names, the first that exists is taken, and `read`, or its list `under` a name. The reader also accepts the function's other
    arguments. It raises BadInput for another split, missing or damaged files, a split without a record, and duplicate ids.
    """
    names = splits.split()

    def decorate(function: Callable[..., Iterable[Record]]) -> Callable[..., list[Record]]:
        @wraps(function)
        def read_split(folder: str | Path, split: str = names[0], **more: Any) -> list[Record]:
            one_of(split, names)
            folder = Path(folder)
            places = [file.format(split=split) for file in files]
            file = folder / places[0] if len(places) == 1 else first_of(folder, places)
            listed = entries(file, under) if under else read(file)
            return check_unique(function(listed, OfficialSplit(folder, split, file), **more), file)

        return read_split

    return decorate


def ask(entry: JsonEntry, *images: Path, key: str = "question_id", text: str = "question", **more: Any) -> Question:
    """Make a question from an entry with its id under `key` and its text under `text`; `more` are fields of `Question`."""
    return Question(key=entry.key(key), images=images, question=entry.text(text), **more)
