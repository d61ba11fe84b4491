"""Variants of one pool of images, of equal size and different quality, for the study of curation.

After the question of arXiv 2209.15589, whether methods without labels need curated data; its own data sets are not available,
so they are emulated from one pool. Which images are used, and how they are changed, depends only on the seed and their number.

    curated      every class equally often
    long_tailed  classes from frequent to rare by a factor of 100, as in CIFAR-10-LT (arXiv 1901.05555)
    duplicated   a fifth of the curated images, each five times, moved by up to two pixels and made darker or brighter
    noisy        40 % of the curated labels are those of another class
    off_domain   half of the curated images are replaced by made-up textures; their labels stay, and mean nothing
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.data.textures import procedural
from tapetum.systems.pretraining.data import ImageSequence, ImageSource
from tapetum.systems.pretraining.study.plan import VARIANTS

IMBALANCE = 100.0
"""Of the most frequent class to the rarest."""
COPIES = 5
"""Of a duplicated image."""
WRONG = 0.4
"""Share of noisy labels that are wrong."""
STRANGE = 0.5
"""Share of images off the domain."""
_ORDER, _RANK, _WRONG, _STRANGE, _MOVED, _TEXTURE = range(2701, 2707)


def varied(source: ImageSource, variant: str, count: int, seed: int = 0) -> ImageSource:
    """Make a variant with `count` images. Raises BadInput for an unknown one, and if required labels are missing."""
    if variant not in VARIANTS:
        raise BadInput(f"there is no variant {variant!r} of the data; it is one of {', '.join(VARIANTS)}")
    if variant in ("long_tailed", "noisy") and source.labels is None:
        raise BadInput(f"data become {variant} by their classes, and these have none; put images into a folder a class")
    places = chosen(source, variant, count, seed)
    labels = None if source.labels is None else source.labels[places].astype(np.int64)
    strange = np.zeros(len(places), bool)
    if variant == "noisy" and labels is not None:
        labels = mislabelled(labels, len(source.classes), seed)
    if variant == "off_domain":
        strange[_generator(_STRANGE, seed).permutation(len(places))[: round(STRANGE * len(places))]] = True
    images = VariedImages(source.images, places, seed, variant == "duplicated", strange)
    captions = None if source.captions is None else [source.captions[k] for k in places.tolist()]
    about = {**source.about, "variant": variant, "images": len(places), "variant_seed": seed}
    return replace(source, images=images, labels=labels, captions=captions, about=about)


def chosen(source: ImageSource, variant: str, count: int, seed: int) -> Int64[np.ndarray, " n"]:
    """List the pool images of a variant, some repeatedly. Raises BadInput for more than there are."""
    if variant == "long_tailed" and source.labels is not None:
        return long_tailed(source.labels, len(source.classes), count, seed)
    if variant == "duplicated":
        few = balanced(source, -(-count // COPIES), seed)
        return np.repeat(few, COPIES)[:count]
    return balanced(source, count, seed)


def balanced(source: ImageSource, count: int, seed: int) -> Int64[np.ndarray, " n"]:
    """List images of all classes in turn, shuffled within each class."""
    if not 2 <= count <= len(source):
        raise BadInput(f"the plan wants {count} images of {len(source)}; give a count of 2 up to that")
    rng = _generator(_ORDER, seed)
    if source.labels is None:
        return rng.permutation(len(source))[:count].astype(np.int64)
    own = [rng.permutation(np.flatnonzero(source.labels == k)) for k in range(len(source.classes))]
    turn = np.concatenate([np.arange(len(rows)) * len(own) + k for k, rows in enumerate(own)])
    return np.concatenate(own)[np.argsort(turn, kind="stable")][:count].astype(np.int64)


def long_tailed(labels: np.ndarray, classes: int, count: int, seed: int) -> Int64[np.ndarray, " n"]:
    """List images whose classes, in shuffled order, become rarer by a constant factor.

    Raises BadInput if the pool has too few of the most frequent class.
    """
    shares = IMBALANCE ** -(np.arange(classes) / max(classes - 1, 1))
    counts = np.maximum(1, np.floor(shares / shares.sum() * count)).astype(int)
    counts[0] += count - counts.sum()
    rng = _generator(_RANK, seed)
    ranks, chosen_rows = rng.permutation(classes), []
    for k, want in zip(ranks.tolist(), counts.tolist(), strict=True):
        rows = rng.permutation(np.flatnonzero(labels == k))
        if len(rows) < want:
            most = int(count * len(rows) / want)
            raise BadInput(
                f"a long tail of {count} images wants {want} of one class, and there are {len(rows)}; count {most} fits"
            )
        chosen_rows.append(rows[:want])
    return rng.permutation(np.concatenate(chosen_rows)).astype(np.int64)


def mislabelled(labels: Int64[np.ndarray, " n"], classes: int, seed: int) -> Int64[np.ndarray, " n"]:
    """Replace a fraction of the labels by those of other classes.

    >>> labels = np.repeat(np.arange(4), 25)
    >>> float((mislabelled(labels, 4, 0) != labels).mean())
    0.4
    """
    rng = _generator(_WRONG, seed)
    which = rng.permutation(len(labels))[: round(WRONG * len(labels))]
    other = labels.copy()
    other[which] = (labels[which] + rng.integers(1, max(classes, 2), len(which))) % classes
    return other


@dataclass(frozen=True)
class VariedImages:
    """Images of a pool, changed as their number says."""

    images: ImageSequence
    places: Int64[np.ndarray, " n"]
    """Which images of the pool."""
    seed: int
    moved: bool
    """Each is moved by up to two pixels, and its brightness changed by up to 8 of 255."""
    strange: Bool[np.ndarray, " n"]
    """Which are textures instead."""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, k: int) -> UInt8[np.ndarray, "h w 3"]:
        image = self.images[int(self.places[k])]
        if self.strange[k]:
            return _texture(self.seed, k, image.shape[:2])
        return _moved(image, self.seed, k) if self.moved else image

    def name(self, k: int) -> str:
        """Name image k."""
        return f"texture {k}" if self.strange[k] else self.images.name(int(self.places[k]))


def _moved(image: UInt8[np.ndarray, "h w 3"], seed: int, k: int) -> UInt8[np.ndarray, "h w 3"]:
    rng = _generator(_MOVED, seed, k)
    (down, right), level = rng.integers(-2, 3, 2).tolist(), int(rng.integers(-8, 9))
    rows, columns = image.shape[:2]
    y = np.clip(np.arange(rows) + down, 0, rows - 1)
    x = np.clip(np.arange(columns) + right, 0, columns - 1)
    return np.clip(image[y[:, None], x].astype(np.int16) + level, 0, 255).astype(np.uint8)


@lru_cache(maxsize=4096)
def _texture(seed: int, k: int, size: Sequence[int]) -> UInt8[np.ndarray, "h w 3"]:
    made = procedural(_generator(_TEXTURE, seed, k), max(size))
    return np.ascontiguousarray(made[: size[0], : size[1]])


def _generator(stream: int, seed: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([stream, seed, *numbers])
