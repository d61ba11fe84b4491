"""The images of a plan, read once per process and kept in memory: of a folder, or generated; and variants of them.

Generated images are simple shapes on textures, with a class for each pixel, so that a study runs without any data. The class
of a training image is the shape in it; the class of a pixel is the shape it shows, or the ground. Image k of a part depends
only on the part and k.

Variants of one pool have equal size and different quality, for the study of curation, after the question of arXiv 2209.15589,
whether methods without labels need curated data; its own data sets are not available, so they are emulated from one pool.
Which images are used, and how they are changed, depends only on their number.

    curated      every class equally often
    long_tailed  classes from frequent to rare by a factor of 100, as in CIFAR-10-LT (arXiv 1901.05555)
    duplicated   a fifth of the curated images, each five times, moved by up to two pixels and made darker or brighter
    noisy        40 % of the curated labels are those of another class
    off_domain   half of the curated images are replaced by made-up textures; their labels stay, and mean nothing
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.data.files import opened_image
from tapetum.data.layouts import listing
from tapetum.data.segmentation import SEGMENTED
from tapetum.data.textures import procedural
from tapetum.systems.pretraining.data import ImageSequence, ImageSource
from tapetum.systems.pretraining.sources import read_source
from tapetum.systems.pretraining.study.plan import SHAPES, VARIANTS, ImagesPlan, PixelsPlan
from tapetum.transfer.fine_tune import Segmented
from tapetum.transfer.segmentation import IGNORED

SHAPE_NAMES = "disc", "square", "triangle", "ring", "cross", "bars"
PARTS = "train", "val"
_IMAGES, _PIXELS = 2711, 2712


def inside(shape: str, x: np.ndarray, y: np.ndarray) -> Bool[np.ndarray, "h w"]:
    """Check which points of a plane lie in a shape that fills -1..1."""
    radius, box = np.hypot(x, y), np.maximum(abs(x), abs(y))
    tests = {
        "disc": radius < 1,
        "square": box < 0.85,
        "triangle": (y < 0.8) & (y > 1.7 * abs(x) - 0.9),
        "ring": (radius < 1) & (radius > 0.55),
        "cross": (box < 1) & (np.minimum(abs(x), abs(y)) < 0.3),
        "bars": (box < 0.95) & (abs(abs(x) - 0.6) < 0.3),
    }
    return tests[shape]


def drawn(rng: np.random.Generator, size: tuple[int, int], shapes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw shapes on a texture: the image uint8 (h, w, 3), and its classes int64 (h, w), 0 for ground."""
    rows, columns = size
    image = procedural(rng, max(size))[:rows, :columns].copy()
    truth = np.zeros(size, np.int64)
    y, x = np.mgrid[:rows, :columns] + 0.5
    for shape in shapes:
        radius = rng.uniform(0.2, 0.36) * min(size)
        cy, cx = rng.uniform(radius, rows - radius), rng.uniform(radius, columns - radius)
        turn = rng.uniform(-0.5, 0.5)
        u, v = (x - cx) / radius, (y - cy) / radius
        covered = inside(SHAPE_NAMES[shape], u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn))
        paint = rng.uniform(0, 255, 3) + rng.normal(0, 6, (rows, columns, 3))
        image[covered] = np.clip(paint, 0, 255).astype(np.uint8)[covered]
        truth[covered] = shape + 1
    return image, truth


@dataclass(frozen=True)
class ShapeImages:
    """Images with one shape each."""

    part: str
    count: int
    size: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> UInt8[np.ndarray, "h w 3"]:
        return _image(self.part, k, self.size)

    def name(self, k: int) -> str:
        return f"shape {k}"


@lru_cache(maxsize=4096)
def _image(part: str, k: int, size: int) -> UInt8[np.ndarray, "h w 3"]:
    return drawn(np.random.default_rng([_IMAGES, PARTS.index(part), k]), (size, size), [k % len(SHAPE_NAMES)])[0]


def shape_source(count: int, size: int, part: str = "train") -> ImageSource:
    """Build a source of `count` images."""
    labels = np.arange(count) % len(SHAPE_NAMES)
    return ImageSource(ShapeImages(part, count, size), labels, SHAPE_NAMES, about={"data": "shapes", "size": size})


@dataclass(frozen=True)
class ShapePixels:
    """Images with one to three shapes, and a class for each pixel."""

    part: str
    count: int
    size: tuple[int, int]
    classes: tuple[str, ...] = ("ground", *SHAPE_NAMES)

    def __len__(self) -> int:
        return self.count

    def read(self, k: int) -> tuple[UInt8[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"]]:
        """Draw image k and its labels."""
        rng = np.random.default_rng([_PIXELS, PARTS.index(self.part), k])
        return drawn(rng, self.size, rng.integers(0, len(SHAPE_NAMES), int(rng.integers(1, 4))).tolist())


IMBALANCE = 100.0
"""Of the most frequent class to the rarest."""
COPIES = 5
"""Of a duplicated image."""
WRONG = 0.4
"""Share of noisy labels that are wrong."""
STRANGE = 0.5
"""Share of images off the domain."""
_SEED = 0
_ORDER, _RANK, _WRONG, _STRANGE, _MOVED, _TEXTURE = range(2701, 2707)


def varied(source: ImageSource, variant: str, count: int) -> ImageSource:
    """Make a variant with `count` images. Raises BadInput for an unknown one, and where labels or images are missing."""
    if variant not in VARIANTS:
        raise BadInput(f"there is no variant {variant!r} of the data; it is one of {', '.join(VARIANTS)}")
    if variant in ("long_tailed", "noisy") and source.labels is None:
        raise BadInput(f"data become {variant} by their classes, and these have none; put images into a folder a class")
    if variant == "long_tailed" and source.labels is not None:
        places = long_tailed(source.labels, len(source.classes), count)
    elif variant == "duplicated":
        places = np.repeat(balanced(source, -(-count // COPIES)), COPIES)[:count]
    else:
        places = balanced(source, count)
    labels = None if source.labels is None else source.labels[places].astype(np.int64)
    if variant == "noisy" and labels is not None:
        labels = mislabelled(labels, len(source.classes))
    strange = np.zeros(len(places), bool)
    if variant == "off_domain":
        strange[_generator(_STRANGE).permutation(len(places))[: round(STRANGE * len(places))]] = True
    images = VariedImages(source.images, places, variant == "duplicated", strange)
    captions = None if source.captions is None else [source.captions[k] for k in places.tolist()]
    about = {**source.about, "variant": variant, "images": len(places), "variant_seed": _SEED}
    return replace(source, images=images, labels=labels, captions=captions, about=about)


def balanced(source: ImageSource, count: int) -> Int64[np.ndarray, " n"]:
    """List images of all classes in turn, shuffled within each class."""
    if not 2 <= count <= len(source):
        raise BadInput(f"the plan wants {count} images of {len(source)}; give a count of 2 up to that")
    rng = _generator(_ORDER)
    if source.labels is None:
        return rng.permutation(len(source))[:count].astype(np.int64)
    own = [rng.permutation(np.flatnonzero(source.labels == k)) for k in range(len(source.classes))]
    turn = np.concatenate([np.arange(len(rows)) * len(own) + k for k, rows in enumerate(own)])
    return np.concatenate(own)[np.argsort(turn, kind="stable")][:count].astype(np.int64)


def long_tailed(labels: np.ndarray, classes: int, count: int) -> Int64[np.ndarray, " n"]:
    """List images whose classes, in shuffled order, become rarer by a constant factor.

    Raises BadInput if the pool has too few of the most frequent class.
    """
    shares = IMBALANCE ** -(np.arange(classes) / max(classes - 1, 1))
    counts = np.maximum(1, np.floor(shares / shares.sum() * count)).astype(int)
    counts[0] += count - counts.sum()
    rng = _generator(_RANK)
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


def mislabelled(labels: Int64[np.ndarray, " n"], classes: int) -> Int64[np.ndarray, " n"]:
    """Replace a fraction of the labels by those of other classes."""
    rng = _generator(_WRONG)
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
    moved: bool
    """Each is moved by up to two pixels, and its brightness changed by up to 8 of 255."""
    strange: Bool[np.ndarray, " n"]
    """Which are textures instead."""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, k: int) -> UInt8[np.ndarray, "h w 3"]:
        image = self.images[int(self.places[k])]
        if self.strange[k]:
            return _texture(k, image.shape[:2])
        return _moved(image, k) if self.moved else image

    def name(self, k: int) -> str:
        return f"texture {k}" if self.strange[k] else self.images.name(int(self.places[k]))


def _moved(image: UInt8[np.ndarray, "h w 3"], k: int) -> UInt8[np.ndarray, "h w 3"]:
    rng = _generator(_MOVED, k)
    (down, right), level = rng.integers(-2, 3, 2).tolist(), int(rng.integers(-8, 9))
    rows, columns = image.shape[:2]
    y = np.clip(np.arange(rows) + down, 0, rows - 1)
    x = np.clip(np.arange(columns) + right, 0, columns - 1)
    return np.clip(image[y[:, None], x].astype(np.int16) + level, 0, 255).astype(np.uint8)


@lru_cache(maxsize=4096)
def _texture(k: int, size: Sequence[int]) -> UInt8[np.ndarray, "h w 3"]:
    made = procedural(_generator(_TEXTURE, k), max(size))
    return np.ascontiguousarray(made[: size[0], : size[1]])


def _generator(stream: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([stream, _SEED, *numbers])


_POOL = 4
"""Shapes of which a variant is chosen, for each that it has: enough for a long tail."""
_SHAPE_PIXELS = {"train": 400, "test": 200}


@lru_cache(maxsize=8)
def pool(plan: ImagesPlan, captions: bool = False) -> ImageSource:
    if plan.data == SHAPES:
        return shape_source(_POOL * plan.count, plan.size)
    return read_source(Path(plan.data), captions=captions)


@dataclass(frozen=True)
class Kept:
    """Images with a class for each pixel, in memory, all of one size."""

    images: UInt8[np.ndarray, "n h w 3"]
    truths: UInt8[np.ndarray, "n h w"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, k: int) -> tuple[UInt8[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"]]:
        return self.images[k], self.truths[k].astype(np.int64)


@lru_cache(maxsize=4)
def pixels(plan: PixelsPlan, part: Literal["train", "test"]) -> Segmented:
    """Read a part, with images resized to the stored size. Raises BadInput if it is missing or has no classes."""
    dataset = _part(plan, part)
    if not 2 <= len(dataset.classes) < IGNORED:
        raise BadInput(f"{plan.data} has {len(dataset.classes)} classes of pixels; wanted 2 to {IGNORED - 1}")
    if not any(plan.kept):
        return dataset
    count = min(plan.most or len(dataset), len(dataset))
    read = [_shrunk(*dataset.read(int(k)), plan.kept) for k in np.unique(np.linspace(0, len(dataset) - 1, count).round())]
    images, truths = zip(*read, strict=True)
    return Kept(np.stack(images), np.stack(truths), tuple(dataset.classes))


def _part(plan: PixelsPlan, part: Literal["train", "test"]) -> Segmented:
    split = "train" if part == "train" else "val"  # of most layouts the truth of test is not public
    if plan.data == SHAPES:
        return ShapePixels(split, _SHAPE_PIXELS[part], plan.kept)
    if plan.layout == "parquet":
        return _Listed(Path(plan.data), split)
    if plan.layout not in SEGMENTED:
        raise BadInput(f"there is no layout {plan.layout!r} of pixels; it is one of parquet, {', '.join(SEGMENTED)}")
    if not Path(plan.data).is_dir():
        raise BadInput(f"there is no folder {plan.data}; give one laid out as {plan.layout}")
    return SEGMENTED[plan.layout](Path(plan.data), part if plan.layout == "camvid" else split)


class _Listed:
    """Tables with the columns image and mask."""

    def __init__(self, place: Path, split: Literal["train", "val"]):
        dataset = listing("parquet", place, split)
        if dataset.asks != "elements":
            raise BadInput(f"{place} has no column mask; give tables with a class for each pixel")
        self.files, self.classes = dataset.files, dataset.classes

    def __len__(self) -> int:
        return len(self.files["image"])

    def read(self, k: int) -> tuple[UInt8[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"]]:
        """Read image k; values that are not a class are ignored."""
        truth = np.asarray(opened_image(self.files["mask"][k], None)).astype(np.int64)
        image = np.asarray(opened_image(self.files["image"][k], "RGB"))
        return image, np.where((truth >= 0) & (truth < len(self.classes)), truth, IGNORED)


def _shrunk(image: Any, truth: Any, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    x = torch.from_numpy(np.array(image)).movedim(-1, 0)[None].float()
    x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)[0]
    y = F.interpolate(torch.from_numpy(np.array(truth))[None, None].double(), size, mode="nearest-exact")[0, 0]
    return x.round().clamp(0, 255).byte().movedim(0, -1).numpy(), y.numpy().astype(np.uint8)
