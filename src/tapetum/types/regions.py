"""Labelled regions in an image, periods of time, and answers: boxes, masks, segments, text.

Coordinates are raster pixels (x, y), the centre of the top-left pixel at (0.5, 0.5): a box around the whole image is
(0, 0, width, height). Times are seconds. A label is a text, "" if there is none; a score is 1 if none was set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput, check_several
from tapetum.types.checks import finite, truths


@dataclass(frozen=True, eq=False)
class Boxes:
    """n boxes of one image. Raises BadInput for wrong shapes, numbers that are not finite, and corners in the wrong order."""

    xyxy: np.ndarray
    """float32 (n, 4): x1, y1, x2, y2 in raster pixels, x1 <= x2 and y1 <= y2."""
    labels: Sequence[str] = ()
    """n texts; none given stands for n empty ones."""
    scores: np.ndarray | None = None
    """float32 (n,); None given stands for ones."""

    def __post_init__(self) -> None:
        xyxy = finite("Boxes", "xyxy", self.xyxy if len(self.xyxy) else np.zeros((0, 4)), (None, 4), axes="(n, 4)")
        if (xyxy[:, :2] > xyxy[:, 2:]).any():
            raise BadInput(
                "xyxy of Boxes has a corner left of or above the first one; give x1, y1, x2, y2, not y first or sizes"
            )
        _set(self, "Boxes", len(xyxy), self.labels, self.scores, xyxy=xyxy)

    def __len__(self) -> int:
        return len(self.xyxy)

    @property
    def area(self) -> np.ndarray:
        """Compute the areas in square pixels, float32 (n,)."""
        return np.prod(self.xyxy[:, 2:] - self.xyxy[:, :2], axis=1)

    @property
    def centres(self) -> np.ndarray:
        """Compute x, y of the centres, float32 (n, 2)."""
        return (self.xyxy[:, :2] + self.xyxy[:, 2:]) / 2


@dataclass(frozen=True, eq=False)
class Masks:
    """n masks of one image, which may overlap. Raises BadInput for wrong shapes and values."""

    masks: np.ndarray
    """bool (n, h, w): the pixels that belong to each."""
    labels: Sequence[str] = ()
    """n texts; none given stands for n empty ones."""
    scores: np.ndarray | None = None
    """float32 (n,); None given stands for ones."""

    def __post_init__(self) -> None:
        masks = truths("Masks", "masks", self.masks)
        if masks.ndim != 3:
            raise BadInput(f"masks of Masks has shape {masks.shape}; it must be (n, h, w)")
        _set(self, "Masks", len(masks), self.labels, self.scores, masks=masks)

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def boxes(self) -> Boxes:
        """Compute the tightest boxes around the masks, with their labels and scores; (0, 0, 0, 0) for a mask without pixels."""
        corners = np.zeros((len(self), 4), np.float32)
        for k, mask in enumerate(self.masks):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if len(rows):
                corners[k] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return Boxes(xyxy=corners, labels=self.labels, scores=self.scores)


@dataclass(frozen=True, eq=False)
class Segments:
    """n stretches of time of one video or recording, which may overlap. Raises BadInput for wrong shapes and order."""

    start_s: np.ndarray
    """float64 (n,): seconds."""
    end_s: np.ndarray
    """float64 (n,): seconds, not before `start_s`."""
    labels: Sequence[str] = ()
    """n texts; none given stands for n empty ones."""
    scores: np.ndarray | None = None
    """float32 (n,); None given stands for ones."""

    def __post_init__(self) -> None:
        start = finite("Segments", "start_s", self.start_s, (None,), np.float64, "(n,)")
        end = finite("Segments", "end_s", self.end_s, (len(start),), np.float64, f"({len(start)},), as start_s")
        if (start > end).any():
            raise BadInput("a segment of Segments ends before it starts; give start_s <= end_s, in seconds")
        _set(self, "Segments", len(start), self.labels, self.scores, start_s=start, end_s=end)

    def __len__(self) -> int:
        return len(self.start_s)


@dataclass(frozen=True)
class Answer:
    """Words that a model said, and how sure it was."""

    text: str
    score: float = 1.0
    """The model's own measure, such as a probability; 1 where it has none."""


def _set(owner: Any, name: str, n: int, labels: Sequence[str], scores: Any, **fields: np.ndarray) -> None:
    """Sets the checked fields, n labels and n scores on a frozen `owner`."""
    check_several(labels, f"labels of {name}")
    words = tuple(map(str, labels)) if len(labels) or not n else ("",) * n
    if len(words) != n:
        raise BadInput(f"{name} has {len(words)} labels for {n}; give one for each, or none")
    fields["scores"] = finite(name, "scores", np.ones(n) if scores is None else scores, (n,), axes=f"({n},)")
    for key, value in {**fields, "labels": words}.items():
        object.__setattr__(owner, key, value)
