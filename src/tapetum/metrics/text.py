"""Scores of text read from images: edit distances, error rates, and word spotting. Tables: `teds`.

    levenshtein     the minimum number of insertions, deletions and replacements that turn one sequence into another
    error_rate      edits by the length of the truth, both summed over all texts: CER by characters, WER by words; of music
                    (GrandStaff, arXiv 2402.07596) SER by symbols, LER by lines
    spotting_f1     words found (PaliGemma 2, arXiv 2412.03555): their box overlaps a true one by 0.5 or more and their text is
                    the same; each pairs with one at most

Symbols of music are words between spaces, where a tab and the end of a line are words of their own, and so are empty words
between two spaces: as the public evaluation of GrandStaff splits them.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import box_iou
from tapetum.metrics.pairing import paired, text
from tapetum.types import Boxes


def levenshtein(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Compute the Levenshtein distance of two texts, or of two lists of words.

    All items of the shorter one are compared at once, as bits (Hyyrö, Nordic Journal of Computing 10, 2003).

    >>> levenshtein("kitten", "sitting"), levenshtein(["a", "cat"], ["cat"])
    (3, 1)
    """
    if len(a) > len(b):
        a, b = b, a
    if not a:
        return len(b)
    places: dict[Hashable, int] = {}
    for i, item in enumerate(a):
        places[item] = places.get(item, 0) | 1 << i
    ones, last, distance = (1 << len(a)) - 1, 1 << len(a) - 1, len(a)
    up, down = ones, 0  # bit i: the distance of the first i + 1 items of a is one more, or less, than that of the first i
    for item in b:
        equal = places.get(item, 0)
        level = (((equal & up) + up) ^ up) | equal
        right, left = down | ~(level | up), up & level
        distance += bool(right & last) - bool(left & last)
        right, left, equal = right << 1 | 1, left << 1, equal | down
        up, down = (left | ~(equal | right)) & ones, right & equal & ones
    return distance


Unit = Literal["character", "word", "symbol", "line"]

_UNITS: Mapping[str, Callable[[str], Sequence[str]]] = {
    "character": list,
    "word": str.split,
    "symbol": lambda t: t.replace("\n", " <newline> ").replace("\t", " <tab> ").split(" "),
    "line": lambda t: t.split("\n"),
}


def error_rate(predictions: Mapping[Hashable, str], targets: Mapping[Hashable, str], unit: Unit) -> float:
    """Compute insertions, deletions and replacements divided by the length of the targets, over all texts; it may exceed 1.

    Raises BadInput for ids that don't match, items that are not texts, an unknown unit, and targets without a single unit.

    >>> error_rate({1: "a cat"}, {1: "a bat"}, "character"), error_rate({1: "a cat"}, {1: "a bat"}, "word")
    (0.2, 0.5)
    """
    if unit not in _UNITS:
        raise BadInput(f"there is no unit {unit!r}; it is one of {', '.join(_UNITS)}")
    split, edits, length = _UNITS[unit], 0, 0
    for key, prediction, target in paired(predictions, targets):
        units = split(text(target, key))
        edits += levenshtein(split(text(prediction, key)), units)
        length += len(units)
    if not length:
        raise BadInput(f"the truth has no {unit} at all; leave empty texts out")
    return edits / length


@dataclass(frozen=True, kw_only=True)
class SpottingScores:
    """Scores of word spotting, 0..1."""

    f1: float
    precision: float
    recall: float
    hits: int
    n_predictions: int
    """Words predicted, less those on places that don't count."""
    n_targets: int


def spotting_f1(predictions: Mapping[Hashable, Boxes], targets: Mapping[Hashable, Boxes]) -> SpottingScores:
    """Score boxes whose labels are the words in them, by image.

    A true word "###" cannot be read: it need not be found, and a word predicted there counts neither way unless it found
    another. 0/0 is 0; an image without a prediction has no words. Raises BadInput where there are no images, and for images
    that the truth has not.

    >>> spotting_f1({1: Boxes(xyxy=[[0, 0, 9, 5]], labels=["stop"])}, {1: Boxes(xyxy=[[0, 0, 9, 6]], labels=["stop"])}).f1
    1.0
    """
    hits = n_predictions = n_targets = 0
    nothing = Boxes(xyxy=np.zeros((0, 4)))
    for _, predicted, true in paired(predictions, targets, missing=nothing):
        overlaps = box_iou(predicted.xyxy, true.xyxy) >= 0.5
        same = np.array([[a == b for b in true.labels] for a in predicted.labels], bool).reshape(overlaps.shape)
        unread = np.array([label == "###" for label in true.labels], bool)
        good = overlaps & same & ~unread
        rows, columns = linear_sum_assignment(good, maximize=True)
        matched = good[rows, columns]
        free = np.ones(len(predicted), bool)
        free[rows[matched]] = False
        hits += int(matched.sum())
        n_predictions += len(predicted) - int((free & overlaps[:, unread].any(1)).sum())
        n_targets += int((~unread).sum())
    return SpottingScores(
        f1=2 * hits / (n_predictions + n_targets) if n_predictions + n_targets else 0.0,
        precision=hits / n_predictions if n_predictions else 0.0,
        recall=hits / n_targets if n_targets else 0.0,
        hits=hits,
        n_predictions=n_predictions,
        n_targets=n_targets,
    )
