"""Images with a class for every pixel: the same numbers whatever the files of a data set hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.data.media import opened_image, stored_file

IGNORE = 255
"""The number of pixels that don't count."""


@dataclass(frozen=True, kw_only=True)
class SegmentedImages:
    """One split: images and masks by number."""

    images: Sequence[Path]
    masks: Sequence[Path]
    classes: tuple[str, ...]
    """Names, by number."""
    numbers: Mapping[int, int] | None = None
    """Number of the class by the value in the file; others don't count. None: values below the number of classes are it."""

    def __len__(self) -> int:
        return len(self.images)

    def read(self, k: int) -> tuple[UInt8[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"]]:
        """Read image k, and the number of the class of each pixel, or IGNORE.

        Raises BadInput for files that are not there or damaged, a mask in colours, and one of another size.
        """
        image = np.asarray(opened_image(stored_file(self.images[k]), "RGB"))
        mask = self.classes_of(read_values(self.masks[k]))
        if mask.shape != image.shape[:2]:
            raise BadInput(f"{self.masks[k]} is {mask.shape[1]}x{mask.shape[0]}, and its image {self.images[k].name} is not")
        return image, mask

    def classes_of(self, values: np.ndarray) -> Int64[np.ndarray, "h w"]:
        """Return numbers of classes of what a mask file holds."""
        table = np.full(65536, IGNORE, np.int64)
        for value, number in (self.numbers or {k: k for k in range(len(self.classes))}).items():
            table[value] = number
        return table[values]


def read_values(path: Path) -> np.ndarray:
    """Read the numbers of a mask file, uint8 or uint16 (h, w): grey values or palette indices. Raises BadInput for others."""
    mask: Image.Image = opened_image(stored_file(path), None)
    if mask.mode not in ("P", "L") and not mask.mode.startswith("I"):
        raise BadInput(f"{path} is an image of mode {mask.mode}; a mask has one number a pixel (P, L or 16-bit grey)")
    values = np.asarray(mask)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise BadInput(f"{path} has numbers from {values.min()} to {values.max()}; a mask has 0 to 65535")
    return values.astype(np.uint16) if values.dtype.itemsize > 1 else values


def paired_files(images: Sequence[Path], masks: Sequence[Path], place: Path) -> tuple[list[Path], list[Path]]:
    """Return both, which belong together by their order. Raises BadInput where there are none."""
    if not images or len(images) != len(masks):
        raise BadInput(f"{place} holds {len(images)} images and {len(masks)} masks; wanted one or more, and one for each")
    return list(images), list(masks)
