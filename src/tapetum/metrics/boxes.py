"""Overlaps of boxes, and average precision of detection as COCO defines it (Lin et al., arXiv 1405.0312).

Boxes are x1, y1, x2, y2 in any unit, raster pixels as a rule: a box from 0 to 2 is 2 wide. Two boxes that are empty both have
overlap 0. Average precision is what pycocotools computes, in numpy:

    for each category, overlap t in 0.50, 0.55 .. 0.95 and range of sizes
      each image: its best 100 boxes by score, in falling order, take the free true box they overlap most, by t or more
      all images: boxes by falling score ─► precision at each recall, made falling ─► mean over 101 recalls 0, 0.01 .. 1

Unusual, as there: a crowd is a true box that any number of boxes may lie in (intersection over the box's own area counts), and
they then count neither way; so does a true box whose area is out of the range, and a free box out of the range. A category
without a true box counts in no mean; -1 there is NaN here.

Differs: ids need not be numbers.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from tapetum.core.errors import BadInput
from tapetum.metrics.pairing import finite_array, paired
from tapetum.types import Boxes


def box_iou(a: Num[np.ndarray, "n 4"], b: Num[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Compute intersection over union of each box of one list with each of another, float64 (n, m).

    Raises BadInput for wrong shapes, NaN, and corners in the wrong order.

    >>> box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [4, 4, 5, 5]]).round(3).tolist()
    [[0.333, 0.0]]
    """
    a, b = checked_boxes(a, "boxes"), checked_boxes(b, "the other boxes")
    common = intersections(a, b)
    return _share(common, areas(a)[:, None] + areas(b) - common)


def paired_box_iou(a: Num[np.ndarray, "n 4"], b: Num[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Compute intersection over union of the k-th box with the k-th other, float64 (n,). Raises BadInput as `box_iou`."""
    a, b = checked_boxes(a, "boxes"), checked_boxes(b, "the other boxes")
    if len(a) != len(b):
        raise BadInput(f"there are {len(a)} boxes and {len(b)} others; give one for each")
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    return _share(common, areas(a) + areas(b) - common)


def _share(common: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)


def areas(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Compute areas (n,)."""
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def intersections(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Compute the areas that each box shares with each other one."""
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def checked_boxes(boxes: Num[np.ndarray, "n 4"], name: str) -> Float[np.ndarray, "n 4"]:
    """Check boxes and convert them to float64 (n, 4). Raises BadInput for other shapes, NaN, and corners in the wrong order."""
    checked = finite_array(boxes if np.size(boxes) else np.zeros((0, 4)), name, 2)
    if checked.shape[1] != 4:
        raise BadInput(f"{name} have shape {checked.shape}; give (n, 4)")
    if (checked[:, :2] > checked[:, 2:]).any():
        raise BadInput(f"{name} have a corner left of or above the first one; give x1, y1, x2, y2")
    return checked


OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Ranges of areas in square pixels, both ends in."""
MOST = (1, 10, 100)
"""Boxes of a category in an image that count, for recall; the last is that of precision."""


@dataclass(frozen=True, kw_only=True)
class TrueBoxes:
    """The true boxes of an image. Raises BadInput for shapes that don't fit together."""

    xyxy: np.ndarray
    """(n, 4) x1, y1, x2, y2 in raster pixels."""
    labels: Sequence[str]
    crowd: Sequence[bool] | None = None
    area: Sequence[float] | None = None
    """Area by which it is small, medium or large: that of the mask in COCO; of the box where None."""

    def __post_init__(self) -> None:
        boxes = checked_boxes(self.xyxy, "the true boxes")
        n = len(boxes)
        crowd = np.zeros(n, bool) if self.crowd is None else np.asarray(self.crowd, bool)
        area = areas(boxes) if self.area is None else finite_array(self.area, "the areas of true boxes", 1)
        if not n == len(self.labels) == len(crowd) == len(area):
            raise BadInput(
                f"{n} true boxes have {len(self.labels)} labels, {len(crowd)} crowds, {len(area)} areas; give {n} each"
            )
        for name, value in (("xyxy", boxes), ("crowd", crowd), ("area", area)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class DetectionScores:
    """COCO's numbers, 0..1, or NaN where there is no true box to find."""

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    recall: Mapping[int, float]
    """Mean over overlaps of the greatest recall, by the most boxes an image."""
    recall_by_size: Mapping[str, float]
    """The same for 100 boxes: small, medium, large."""
    ap_by_label: Mapping[str, float]


def detection_scores(predictions: Mapping[Hashable, Boxes], targets: Mapping[Hashable, TrueBoxes]) -> DetectionScores:
    """Score boxes by image. An image without a prediction has no boxes.

    Raises BadInput if there are no images, and for predictions of images that are not in the ground truth.
    """
    pairs = paired(predictions, targets, missing=Boxes(xyxy=np.zeros((0, 4))))
    labels = sorted({label for target in targets.values() for label in target.labels})
    by_label: dict[str, list[_Image]] = {label: [] for label in labels}
    for _, boxes, target in pairs:
        for label in {*target.labels, *boxes.labels} & by_label.keys():
            by_label[label].append(_select_label(boxes, target, label))
    shape = len(OVERLAPS), len(labels), len(SIZES)
    precision, recall = np.full(shape, np.nan), np.full((*shape, len(MOST)), np.nan)
    for k, label in enumerate(labels):
        for s, size in enumerate(SIZES.values()):
            matched_images = [_match_image(image, size) for image in by_label[label]]
            positives = sum(one.positives for one in matched_images)
            for m, most in enumerate(MOST if positives else ()):
                recall[:, k, s, m], average_precision = _compute_curve(matched_images, positives, most)
                if most == MOST[-1]:
                    precision[:, k, s] = average_precision
    names, last = list(SIZES), len(MOST) - 1
    return DetectionScores(
        ap=_mean(precision[:, :, 0]),
        ap50=_mean(precision[0, :, 0]),
        ap75=_mean(precision[5, :, 0]),
        ap_small=_mean(precision[:, :, 1]),
        ap_medium=_mean(precision[:, :, 2]),
        ap_large=_mean(precision[:, :, 3]),
        recall={most: _mean(recall[:, :, 0, m]) for m, most in enumerate(MOST)},
        recall_by_size={name: _mean(recall[:, :, s, last]) for s, name in enumerate(names) if s},
        ap_by_label={label: _mean(precision[:, k, 0]) for k, label in enumerate(labels)},
    )


@dataclass(frozen=True)
class _Image:
    """The boxes of one category in one image, by falling score."""

    scores: Float[np.ndarray, " d"]
    area: Float[np.ndarray, " d"]
    overlap: Float[np.ndarray, "d g"]
    """With a crowd: the share of the box that lies in it."""
    true_area: Float[np.ndarray, " g"]
    crowd: Bool[np.ndarray, " g"]


def _select_label(boxes: Boxes, target: TrueBoxes, label: str) -> _Image:
    mine = np.array([name == label for name in target.labels], bool)
    true, crowd = target.xyxy[mine], np.asarray(target.crowd)[mine]
    rows = [k for k, name in enumerate(boxes.labels) if name == label]
    scores = np.asarray(boxes.scores, np.float64)[rows]
    order = np.argsort(-scores, kind="stable")[: MOST[-1]]
    xyxy = boxes.xyxy[rows][order].astype(np.float64)
    common, area = intersections(xyxy, true), areas(xyxy)
    overlap = _share(common, np.where(crowd, area[:, None], area[:, None] + areas(true) - common))
    return _Image(scores[order], area, overlap, np.asarray(target.area)[mine], crowd)


@dataclass(frozen=True)
class _MatchedImage:
    """Matches of the boxes of an image, bool (overlaps, d): matched a true box, and counts neither way."""

    scores: Float[np.ndarray, " d"]
    hit: Bool[np.ndarray, "t d"]
    out: Bool[np.ndarray, "t d"]
    positives: int


def _match_image(image: _Image, size: tuple[float, float]) -> _MatchedImage:
    skip = image.crowd | (image.true_area < size[0]) | (image.true_area > size[1])
    hit, out = _match_boxes(image, skip)
    outside = (image.area < size[0]) | (image.area > size[1])
    return _MatchedImage(image.scores, hit, out | (~hit & outside), int((~skip).sum()))


def _compute_curve(images: list[_MatchedImage], positives: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Greatest recall and average precision at each overlap."""
    order = np.argsort(-np.concatenate([one.scores[:most] for one in images]), kind="stable")
    hit = np.concatenate([one.hit[:, :most] for one in images], 1)[:, order]
    out = np.concatenate([one.out[:, :most] for one in images], 1)[:, order]
    true, false = np.cumsum(hit & ~out, 1), np.cumsum(~hit & ~out, 1)
    recall, precision = true / positives, true / (true + false + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    average = np.zeros(len(OVERLAPS))
    for t in range(len(OVERLAPS)):
        at = np.searchsorted(recall[t], RECALLS, side="left")
        average[t] = precision[t][at[at < len(order)]].sum() / len(RECALLS)
    return recall[:, -1] if len(order) else average, average


def _match_boxes(image: _Image, skip: Bool[np.ndarray, " g"]) -> tuple[np.ndarray, np.ndarray]:
    """Match boxes to true boxes at each overlap, and mark matches with one to skip: bool (overlaps, d)."""
    d, g = image.overlap.shape
    hit, out = np.zeros((len(OVERLAPS), d), bool), np.zeros((len(OVERLAPS), d), bool)
    if not d or not g:
        return hit, out
    free, rows = np.ones((len(OVERLAPS), g), bool), np.arange(len(OVERLAPS))
    near = np.greater_equal(image.overlap, np.minimum(OVERLAPS, 1 - 1e-10)[:, None, None])
    for k in np.flatnonzero(near.any((0, 2))):
        can = (free | image.crowd) & near[:, k]
        good = can & ~skip  # those that count come first
        can = np.where(good.any(1, keepdims=True), good, can)
        best = g - 1 - np.where(can, image.overlap[k], -1)[:, ::-1].argmax(1)  # the last of equals, as there
        hit[:, k] = can[rows, best]
        out[:, k] = hit[:, k] & skip[best]
        free[rows, best] &= ~hit[:, k]
    return hit, out


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
