"""Images with one class each, of whatever layout: CIFAR's binary files, ImageNet's and other folders, parquet, tar shards.

DIR/data_batch_1.bin, DIR/train.bin      CIFAR-10, CIFAR-100
DIR/train/CLASS/*, DIR/val/CLASS/*       as ImageNet has them
DIR/CLASS/*                              a folder a class, of which every fifth image is of the part "val"
*.parquet, *.tar                         as `tapetum.data.layouts` reads them
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.data.cifar import read_cifar10, read_cifar100
from tapetum.data.files import opened_image
from tapetum.data.layouts import listing

Image = UInt8[np.ndarray, "h w 3"]


class ImageSequence(Protocol):
    """Images by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> Image: ...


def labelled_images(
    place: Path, split: str, most: int | None = None
) -> tuple[ImageSequence, Int64[np.ndarray, " n"], Sequence[str]]:
    """Read images, the number of the class of each, and the names of the classes.

    Args:
        place: folder or file of one of the layouts above.
        split: "train" or "val", which of CIFAR is its test part.
        most: so many at most, evenly chosen.

    Raises:
        BadInput: there is no such place, or it has no images with one class each.
    """
    if not place.exists():
        raise BadInput(f"there is no {place}; give --data with a folder of labelled images")
    for mark, read in (("data_batch_1.bin", read_cifar10), ("train.bin", read_cifar100)):
        if (place / mark).is_file():
            images, labels, classes = read(place, "train" if split == "train" else "test")
            which = _chosen(len(labels), most)
            return list(images[which]), labels[which], classes
    entries = _listed(place, split)
    if entries.truth is None or entries.truth.ndim != 1 or "image" not in entries.files:
        raise BadInput(f"{place} has no images with one class each; put them into a folder a class")
    which = _chosen(len(entries), most)
    return _Opened(entries.files["image"], which), np.asarray(entries.truth)[which].astype(np.int64), entries.classes


def _listed(place: Path, split: str) -> Any:
    """The listing of the layout that the data have; where none fits, the last says what they look like."""
    if place.suffix == ".parquet" or (place.is_dir() and any(place.glob("*.parquet"))):
        return listing("parquet", place, split)  # type: ignore[arg-type]
    if place.is_dir() and (any(place.glob("*.tar")) or any(place.glob("train/*.tar"))):
        return listing("shards", place, split)  # type: ignore[arg-type]
    layout = "imagenet" if any((place / part).is_dir() for part in ("train", "val")) else "classes"
    return listing(layout, place, split)  # type: ignore[arg-type]


def _chosen(count: int, most: int | None) -> Int64[np.ndarray, " n"]:
    return np.unique(np.linspace(0, count - 1, min(count, most or count)).round().astype(np.int64))


class _Opened:
    """Images of files, opened when they are asked for."""

    def __init__(self, files: Any, which: Int64[np.ndarray, " n"]):
        self.files, self.which = files, which

    def __len__(self) -> int:
        return len(self.which)

    def content(self, k: int) -> Path | bytes:
        """Find the file of image k, or its bytes."""
        return self.files[int(self.which[k])].content

    def __getitem__(self, k: int, /) -> Image:
        return np.array(opened_image(self.files[int(self.which[k])], "RGB"))
