"""Where things are in an image, from a convolutional classifier without further training.

    image, resized to SIDES ─► last map x (c, r, c') ─► softmax(W x + b) at every place ─► sum over the thing's classes: p
    geometric mean of p over the sizes, minus the share q of all classes that are the thing: excess e = max(0, p - q) / (1 - q)
    region: places where e is above SHARE of its peak, of these the connected part with the largest sum
    score: logistic of log-odds of (e of the whole image) x (peak of e)

W and b, fitted to the mean of the map, are applied to each of its cells (class activation maps: Zhou et al., arXiv 1512.04150).
Sides are multiples of the stride plus 1: strided convolutions then pad both ends alike, so that the outer cells lie on the
outer pixels. SHARE, sides and the score's constants are fitted for efficientnet-lite2 and photographs with one main thing
(docs/evidence/photos.md).

Differs from the paper: probabilities instead of logits, several sizes, and the subtraction of q, without which a wide noun such
as "dog", 118 of 1,000 classes, is a little everywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, UInt8
from scipy.ndimage import label
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.convolutional import ConvolutionalEncoder
from tapetum.encoders.features import Encoder, check_finite, prepare

SIDES = 385, 641
"""Pixels of the longer side of the resized images, about."""
SHARE = 0.1
"""Of the peak, above which places belong to the thing."""
GRID = 56
"""Cells along the longer side of the grid on which maps of several sizes are averaged."""
LEAST = 1e-4
"""Added to probabilities before the geometric mean."""
SCORE = 1.2, 0.82
"""Offset and slope of the score's logistic."""
LEVEL = 0.45
"""Score below which no box is given: the lowest with which 0.8 of the boxes, and a standard error more, overlap their mark by
more than half."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ThingMap:
    """Where one thing is in an image."""

    size: tuple[int, int]
    values: Float32[np.ndarray, "r c"]
    """Excess probability of the thing at each place of a grid, 0..1; see the module."""
    whole: float
    """Excess probability of the thing in the whole image."""

    @property
    def score(self) -> float:
        """Compute the probability that a box around the region overlaps the thing by more than half."""
        offset, slope = SCORE
        product = min(max(self.whole * float(self.values.max()), 1e-6), 1 - 1e-6)
        return 1 / (1 + math.exp(-offset - slope * math.log(product / (1 - product))))

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Find the pixels of the thing: of cells above a share of the peak, and connected; none where the map is 0."""
        rows, columns = ((np.arange(n) + 0.5) * k / n for n, k in zip(self.size, self.values.shape, strict=True))
        return find_region(self.values)[np.ix_(rows.astype(int), columns.astype(int))]


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseProbabilities:
    """Probabilities of all classes at the places of an image, and in the whole."""

    size: tuple[int, int]
    maps: tuple[Float[Tensor, "k _ _"], ...]
    whole: Float[Tensor, " k"]

    def of(self, classes: Sequence[int]) -> ThingMap:
        """Compute the map of a thing, which is any of these classes.

        Raises BadInput for no classes and for numbers that are no class.
        """
        numbers = sorted(set(classes))
        if not numbers or not 0 <= numbers[0] <= numbers[-1] < len(self.whole):
            raise BadInput(f"classes are {numbers[:5]}; give one or more of 0 to {len(self.whole) - 1}")
        scale = GRID / max(self.size)
        grid = max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale))
        maps = [each[numbers].sum(0)[None, None] for each in self.maps]
        places = torch.cat([F.interpolate(each, size=grid, mode="bilinear", align_corners=True)[0] for each in maps])
        chance = min(0.5, len(numbers) / len(self.whole))
        mean = (places + LEAST).log().mean(0).exp() - LEAST
        values, whole = (((each - chance) / (1 - chance)).clamp(0, 1) for each in (mean, self.whole[numbers].sum()))
        return ThingMap(size=self.size, values=values.numpy(), whole=float(whole))


@torch.inference_mode()
def dense_probabilities(encoder: Encoder, image: UInt8[np.ndarray, "h w 3"]) -> DenseProbabilities:
    """Compute the softmax of an encoder's classifier at every place of an image, for each of `SIDES`.

    Raises BadInput if the encoder has no classifier or its classifier does not read the mean of its last map.
    """
    if not isinstance(encoder, ConvolutionalEncoder) or encoder.head is None:
        raise BadInput(
            f"a {type(encoder).__name__} does not classify the mean of a map; give a convolutional network with a classifier, "
            "such as efficientnet-lite2"
        )
    size, stride, head = image.shape[:2], encoder.strides[-1], encoder.head
    whole = check_finite(encoder.classify(encoder.prepare(image[None])))[0].float().softmax(0).cpu()
    maps = []
    for side in SIDES:
        resized = tuple(stride * max(1, round((n * side / max(size) - 1) / stride)) + 1 for n in size)
        how = replace(encoder.preprocessing, size=resized, resize="squash", crop_fraction=1.0)
        cells = encoder(prepare(image[None], how, head.weight.device)).maps[-1][0]
        logits = torch.einsum("kc,chw->khw", head.weight, cells) + head.bias[:, None, None]
        maps.append(logits.float().softmax(0).cpu())
    return DenseProbabilities(size=(int(size[0]), int(size[1])), maps=tuple(maps), whole=whole)


def find_region(values: Float[np.ndarray, "r c"], share: float = SHARE) -> Bool[np.ndarray, "r c"]:
    """Find the connected cells above a share of the peak whose sum is largest; none in a map of 0."""
    if not values.max() > 0:
        return np.zeros(values.shape, bool)
    parts, _ = label(values >= share * values.max())  # type: ignore[misc]
    sums = np.bincount(parts.ravel(), values.ravel())
    return parts == 1 + int(sums[1:].argmax())


def box_around(mask: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "4"] | None:
    """Compute the box around the pixels of a mask, x1, y1, x2, y2; None if there are none.

    >>> box_around(np.array([[0, 0, 0], [0, 1, 1]], bool)).tolist()
    [1.0, 1.0, 3.0, 2.0]
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32) if len(rows) else None
