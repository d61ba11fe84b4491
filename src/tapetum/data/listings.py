"""Listings of data sets, and helpers of their readers; `tapetum.data.layouts` says which layouts there are."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_text
from tapetum.core.tables import csv_records
from tapetum.data.files import Files

Split = Literal["train", "val"]
"""What is learned from, and what is held out; where a layout has a test part but no val part, val is that."""
Asks = Literal["class", "labels", "elements", "nothing"]
"""What is known of an example: one class, any number of labels, a class of each pixel, or nothing."""
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Listing:
    """One split of a data set."""

    files: Mapping[str, Files]
    """The files of each example, by what they are: image, mask, audio, video, points (meshes) or cloud; each column of the same
    length N."""
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
        return read_text(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BadInput(f"cannot read {path}: {reason}; copy it again") from error


def class_labels(values: Sequence[Any], where: str) -> list[int] | list[str]:
    """Check one label a row: whole numbers as int, also where they are stored as floats, or words; never a mixture of these.

    Raises BadInput that names the first row without a label (None, NaN, an empty word) or with one that is no class.

    >>> class_labels([1.0, 0.0], "labels.csv")
    [1, 0]
    >>> class_labels([1.0, float("nan")], "labels.csv")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: labels.csv has no label in row 1 (of 1 such row); leave such rows out, or the whole column
    """
    lacking = [row for row, value in enumerate(values) if value is None or value != value or value == ""]
    if lacking:
        count = "1 such row" if len(lacking) == 1 else f"{len(lacking)} such rows"
        raise BadInput(f"{where} has no label in row {lacking[0]} (of {count}); leave such rows out, or the whole column")
    labels = [_class_label(value, row, where) for row, value in enumerate(values)]
    if len({type(label) for label in labels}) > 1:
        row = next(k for k, label in enumerate(labels) if type(label) is not type(labels[0]))
        raise BadInput(
            f"{where} has the label {labels[0]!r} in row 0 and {labels[row]!r} in row {row}; give numbers or words alone"
        )
    return labels  # type: ignore[return-value]


def _class_label(value: Any, row: int, where: str) -> int | str:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and math.isfinite(value) and value == int(value):
        return int(value)
    raise BadInput(f"{where} has the label {str(value)[:40]} in row {row}; a class is a whole number or a word: write it so")


def records_of(path: Path) -> list[dict[str, str]]:
    """Read the rows of a csv file by the names of their columns (`tapetum.core.tables`). Raises BadInput as `text_of`."""
    try:
        return csv_records(text_of(path))
    except csv.Error as error:
        raise BadInput(f"{path} is not a csv file ({error}); copy it again") from error


def numbered_classes(largest: int, place: Path) -> tuple[str, ...]:
    """Name classes that have no names, up to the number `largest`. Raises BadInput for one that is beyond all reason."""
    if largest >= _MOST_CLASSES:
        raise BadInput(
            f"{place} has the class {largest}; without names, classes are numbered from 0 to less than {_MOST_CLASSES}: "
            "number them one after another"
        )
    return tuple(str(k) for k in range(largest + 1))
