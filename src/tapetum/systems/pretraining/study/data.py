"""The images of a plan, read once per process and kept in memory."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.data.files import opened_image
from tapetum.data.layouts import listing
from tapetum.data.segmentation import SEGMENTED
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.sources import read_source
from tapetum.systems.pretraining.study.plan import SHAPES, ImagesPlan, PixelsPlan
from tapetum.systems.pretraining.study.shapes import ShapePixels, shape_source
from tapetum.transfer.fine_tune import Segmented
from tapetum.transfer.segmentation import IGNORED

_POOL = 4
"""Shapes of which a variant is chosen, for each that it has: enough for a long tail."""
_SHAPE_PIXELS = {"train": 400, "test": 200}


@lru_cache(maxsize=8)
def pool(plan: ImagesPlan, captions: bool = False) -> ImageSource:
    """Read the images that variants are made from."""
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
        """Get image k and its labels."""
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
    if plan.data == SHAPES:
        return ShapePixels("train" if part == "train" else "val", _SHAPE_PIXELS[part], plan.kept)
    place = Path(plan.data)
    if plan.layout == "parquet":
        return _Listed(place, part)
    if plan.layout not in SEGMENTED:
        raise BadInput(f"there is no layout {plan.layout!r} of pixels; it is one of parquet, {', '.join(SEGMENTED)}")
    if not place.is_dir():
        raise BadInput(f"there is no folder {place}; give one laid out as {plan.layout}")
    held_out = "test" if plan.layout == "camvid" else "val"  # of the others the truth of test is not public
    return SEGMENTED[plan.layout](place, "train" if part == "train" else held_out)


class _Listed:
    """Tables with the columns image and mask."""

    def __init__(self, place: Path, part: str):
        dataset = listing("parquet", place, "train" if part == "train" else "val")
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
