"""What a listing of a data set is, and what its readers share; `tapetum.data.layouts` says which layouts there are."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tapetum.csv_text import csv_records
from tapetum.data.media import Files
from tapetum.errors import BadInput
from tapetum.files import no_pipe

Split = Literal["train", "val"]
"""What is learned from, and what is held out; where a layout has a test part but no val part, val is that."""
Asks = Literal["class", "labels", "elements", "nothing"]
"""What is known of an example: one class, any number of labels, a class of each pixel, or nothing."""
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Listing:
    """One split of a data set."""

    files: Mapping[str, Files]
    """The files of each example, by what they are: image, mask, audio, video, points; each column of the same length N."""
    truth: np.ndarray | None
    """int64 (N,) class numbers, float32 (N, classes) of 0 and 1, or None where nothing is known or `mask` tells it."""
    classes: tuple[str, ...]
    """Names, by number."""
    asks: Asks
    missing: int = 0
    """Examples that are listed, but of which there is no file."""

    def __len__(self) -> int:
        return len(next(iter(self.files.values())))


def text_of(path: Path) -> str:
    """Read a text. Raises BadInput where that cannot be."""
    try:
        no_pipe(path)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BadInput(f"cannot read {path}: {reason}; copy it anew") from error


def records_of(path: Path) -> list[dict[str, str]]:
    """Read the rows of a csv file by the names of their columns (`tapetum.csv_text`). Raises BadInput as `text_of`."""
    try:
        return csv_records(text_of(path))
    except csv.Error as error:
        raise BadInput(f"{path} is not a csv file ({error}); copy it anew") from error


def numbered_classes(largest: int, place: Path) -> tuple[str, ...]:
    """Name classes that have no names, up to the number `largest`. Raises BadInput for one that is beyond all reason."""
    if largest >= _MOST_CLASSES:
        raise BadInput(
            f"{place} has the class {largest}; without names, classes are numbered from 0 to less than {_MOST_CLASSES}: "
            "number them one after another"
        )
    return tuple(str(k) for k in range(largest + 1))
