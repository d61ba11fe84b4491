"""J and F of DAVIS (Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv 1704.00675): overlap and contour accuracy of masks.

    J   intersection over union of the two masks
    F   F-measure of their outlines: a pixel of one outline is right if the other comes within a distance of it, which is
        0.008 of the image's diagonal, rounded up

    over frames   mean, recall (share of frames over 0.5), decay (mean of the first quarter less that of the last)
    J&F           the mean of the two means

Unusual, as in the official code: an outline runs along the pixels right of and below which the mask changes; two empty masks
have J and F of 1; neighbouring quarters share a frame; a semi-supervised run leaves out the first frame, which is given, and
the last one (`davis_scores` takes the frames that count).

Differs: frames are not numbered in 8 bits, so videos may be longer than 256 frames.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt

from tapetum.core.errors import BadInput
from tapetum.metrics.masks import mask_iou
from tapetum.metrics.pairing import paired

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
    """J and F of each."""

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
    return distance_transform_edt(~mask) <= reach  # type: ignore[operator]


def _scores(objects: Mapping[Hashable, tuple[OverFrames, OverFrames]]) -> DavisScores:
    def mean(which: int) -> OverFrames:
        parts = [pair[which] for pair in objects.values()]
        return OverFrames(**{name: float(np.mean([getattr(p, name) for p in parts])) for name in ("mean", "recall", "decay")})

    return DavisScores(j=mean(0), f=mean(1), objects=objects)
