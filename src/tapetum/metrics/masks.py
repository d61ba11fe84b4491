"""Overlaps of masks, the classes of a segmentation, and J and F of DAVIS.

Two empty masks overlap by 1: predicting nothing where there is nothing is correct. `Confusion` counts pixels of each true class
by predicted class; mIoU is the mean of its diagonal's shares (PASCAL VOC, ADE20K, Cityscapes, CamVid).

DAVIS (Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv 1704.00675) scores overlap and contour accuracy:

    J   intersection over union of the two masks
    F   F-measure of their outlines: a pixel of one outline is right if the other comes within a distance of it, which is
        0.008 of the image's diagonal, rounded up

    over frames   mean, recall (share of frames over 0.5), decay (mean of the first quarter less that of the last)
    J&F           the mean of the two means

Unusual, as in the official code: an outline runs along the pixels right of and below which the mask changes; two empty masks
have J and F of 1; neighbouring quarters share a frame; a semi-supervised run leaves out the first frame, which is given, and
the last one (`davis_scores` takes the frames that count). Differs: videos may be longer than 256 frames.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from tapetum.core.errors import BadInput
from tapetum.metrics.pairing import paired
from tapetum.types.checks import unmasked


def mask_iou(a: Bool[np.ndarray, "... h w"], b: Bool[np.ndarray, "... h w"]) -> Float[np.ndarray, "..."]:
    """Compute intersection over union of masks one by one, float64 (...).

    Raises BadInput for other shapes, and values that are not booleans.

    >>> float(mask_iou(np.array([[True, True]]), np.array([[True, False]])))
    0.5
    """
    common, union = _pixels(a, b)
    return np.where(union > 0, common / np.maximum(union, 1), 1.0)


@dataclass
class Confusion:
    """Pixels of each true class (row) by predicted class (column), added up over images.

    >>> counted = Confusion(2)
    >>> counted.add(np.array([[0, 1, 1, 7]]), np.array([[0, 1, 0, 255]]))
    >>> counted.iou.tolist(), counted.accuracy
    ([0.5, 0.5], 0.6666666666666666)
    """

    classes: int
    ignore: int | None = 255
    """Number of true pixels that don't count."""
    counts: np.ndarray = field(init=False)
    missed: np.ndarray = field(init=False)
    """int64 (classes,): true pixels whose prediction is no class; they are wrong."""

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise BadInput(f"there are {self.classes} classes; give one or more")
        self.counts = np.zeros((self.classes, self.classes), np.int64)
        self.missed = np.zeros(self.classes, np.int64)

    def add(self, prediction: Int[np.ndarray, "h w"], target: Int[np.ndarray, "h w"]) -> None:
        """Count the pixels of an image. Raises BadInput for other shapes, and true numbers that are not a class."""
        prediction, target = np.asarray(prediction), np.asarray(target)
        if prediction.shape != target.shape or prediction.dtype.kind not in "iu" or target.dtype.kind not in "iu":
            raise BadInput(
                f"a prediction is {prediction.dtype} {prediction.shape} and its truth {target.dtype} {target.shape}; "
                "give whole numbers of one shape"
            )
        counted = np.ones(target.shape, bool) if self.ignore is None else target != self.ignore
        predicted, true = prediction[counted].astype(np.int64), target[counted].astype(np.int64)
        if true.size and (true.min() < 0 or true.max() >= self.classes):
            raise BadInput(
                f"the truth has classes {true.min()}..{true.max()} (ignoring {self.ignore}); they must be 0..{self.classes - 1}"
            )
        known = (predicted >= 0) & (predicted < self.classes)
        cells = np.bincount(true[known] * self.classes + predicted[known], minlength=self.classes**2)
        self.counts += cells.reshape(self.classes, self.classes)
        self.missed += np.bincount(true[~known], minlength=self.classes)

    @property
    def iou(self) -> Float[np.ndarray, " classes"]:
        """Compute the intersection over union of each class; NaN for one that neither occurs nor is predicted."""
        hit = np.diag(self.counts)
        return self._share(hit, self.counts.sum(0) + self.counts.sum(1) + self.missed - hit)

    @property
    def mean_iou(self) -> float:
        """Average the IoU over classes that occur or are predicted; NaN if there are none."""
        known = self.iou[~np.isnan(self.iou)]
        return float(known.mean()) if known.size else float("nan")

    @property
    def accuracy(self) -> float:
        """Fraction of correct pixels; NaN if there are none."""
        return float(self._share(np.diag(self.counts).sum(), self.counts.sum() + self.missed.sum()))

    @staticmethod
    def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _pixels(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = _as_bool(a), _as_bool(b)
    if a.shape != b.shape or a.ndim < 2:
        raise BadInput(f"masks have shapes {a.shape} and {b.shape}; give two of one shape (..., h, w)")
    return np.count_nonzero(a & b, axis=(-2, -1)), np.count_nonzero(a | b, axis=(-2, -1))  # type: ignore[return-value]


def _as_bool(mask: np.ndarray) -> np.ndarray:
    mask = np.asarray(unmasked(mask, "a mask"))
    if mask.dtype != np.bool_ and not (mask.dtype.kind in "iu" and mask.size and mask.min() >= 0 and mask.max() <= 1):
        raise BadInput(f"a mask is {mask.dtype}; it must be bool, or 0 and 1")
    return mask.astype(bool, copy=False)


TOLERANCE = 0.008


@dataclass(frozen=True, kw_only=True)
class OverFrames:
    """A number of each frame, summed up."""

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True, kw_only=True)
class DavisScores:
    """Scores of all objects."""

    j: OverFrames
    f: OverFrames
    objects: Mapping[Hashable, tuple[OverFrames, OverFrames]]

    @property
    def j_and_f(self) -> float:
        """Compute the mean of both means, by which DAVIS ranks."""
        return (self.j.mean + self.f.mean) / 2


def boundary_f(prediction: Bool[np.ndarray, "h w"], target: Bool[np.ndarray, "h w"], tolerance: float = TOLERANCE) -> float:
    """Compute F of one frame, 0..1; `tolerance` is a fraction of the diagonal, or pixels from 1 on.

    Raises BadInput for masks of two sizes.
    """
    prediction, target = np.asarray(prediction, bool), np.asarray(target, bool)
    if prediction.shape != target.shape or target.ndim != 2:
        raise BadInput(f"masks have shapes {prediction.shape} and {target.shape}; give two of one shape (h, w)")
    reach = tolerance if tolerance >= 1 else np.ceil(tolerance * np.hypot(*target.shape))
    predicted, true = outline(prediction), outline(target)
    if not predicted.any() or not true.any():
        return float(predicted.any() == true.any())
    precision = np.count_nonzero(predicted & _near(true, reach)) / np.count_nonzero(predicted)
    recall = np.count_nonzero(true & _near(predicted, reach)) / np.count_nonzero(true)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Mark the pixels right of, below, or right and below which the mask changes; the last pixel is none.

    >>> outline(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool)).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    """
    beyond = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask != beyond[:-1, 1:]) | (mask != beyond[1:, :-1]) | (mask != beyond[1:, 1:])


def over_frames(values: Float[np.ndarray, " t"]) -> OverFrames:
    """Summarise a number per frame. Raises BadInput if there are no frames, or a number is not finite."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BadInput(f"numbers of frames have shape {values.shape}; give one finite number or more, (t,)")
    ends = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(int)
    first, last = values[ends[0] : ends[1] + 1], values[ends[3] : ends[4] + 1]
    return OverFrames(mean=float(values.mean()), recall=float((values > 0.5).mean()), decay=float(first.mean() - last.mean()))


def davis_scores(
    predictions: Mapping[Hashable, Bool[np.ndarray, "t h w"]], targets: Mapping[Hashable, Bool[np.ndarray, "t h w"]]
) -> DavisScores:
    """Score the masks of each object, by any key such as (video, number), through the scored frames.

    An object without a prediction counts as not found. Raises BadInput if there is no object, for predictions of objects
    that are not in the ground truth, and for shapes that don't match.
    """
    objects = {}
    for key, masks, target in paired(predictions, targets, missing=np.zeros(0, bool)):
        target = np.asarray(target, bool)
        masks = np.asarray(masks, bool) if key in predictions else np.zeros_like(target)
        if masks.shape != target.shape or target.ndim != 3:
            raise BadInput(f"masks of {key!r} have shapes {masks.shape} and {target.shape}; give two of one shape (t, h, w)")
        f = np.array([boundary_f(a, b) for a, b in zip(masks, target, strict=True)])
        objects[key] = over_frames(mask_iou(masks, target)), over_frames(f)
    return _scores(objects)


def joined(parts: Sequence[DavisScores]) -> DavisScores:
    """Combine the scores of several videos: all objects have equal weight. Raises BadInput if there are none."""
    objects = {key: pair for part in parts for key, pair in part.objects.items()}
    if not objects:
        raise BadInput("there are no scores to put together; score a video or more")
    return _scores(objects)


def _near(mask: Bool[np.ndarray, "h w"], reach: float) -> Bool[np.ndarray, "h w"]:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask) <= reach  # type: ignore[operator]


def _scores(objects: Mapping[Hashable, tuple[OverFrames, OverFrames]]) -> DavisScores:
    def mean(which: int) -> OverFrames:
        parts = [pair[which] for pair in objects.values()]
        return OverFrames(**{name: float(np.mean([getattr(p, name) for p in parts])) for name in ("mean", "recall", "decay")})

    return DavisScores(j=mean(0), f=mean(1), objects=objects)
