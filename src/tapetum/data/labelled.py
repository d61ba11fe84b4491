"""Images with one class each, in any layout: CIFAR's binary files, ImageNet's and other folders, parquet, tar shards.

DIR/data_batch_1.bin to ..._5.bin, test_batch.bin, batches.meta.txt     CIFAR-10, 3,073 bytes an image: class, then 1,024 red,
                                                                        green and blue values
DIR/train.bin, test.bin, fine_label_names.txt                           CIFAR-100: coarse class, fine class, and the same
DIR/train/CLASS/*, DIR/val/CLASS/*                                      as ImageNet has them
DIR/CLASS/*                                                             a folder a class; every fifth image is of "val"
*.parquet, *.tar                                                        as `tapetum.data.layouts` reads them

CIFAR (Krizhevsky 2009) is read in its binary version: the files of the python version are pickles.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.data.entries import one_of, text_of
from tapetum.data.files import opened_image
from tapetum.data.layouts import listing

Image = UInt8[np.ndarray, "h w 3"]
Cifar = tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, " n"], tuple[str, ...]]
"""Images, numbers of classes, names of classes."""
_SIDE = 32


class ImageSequence(Protocol):
    """Images by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> Image: ...


def labelled_images(
    place: Path, split: str, most: int | None = None
) -> tuple[ImageSequence, Int64[np.ndarray, " n"], Sequence[str]]:
    """Read images, the class index of each, and the class names, of "train" or "val", which of CIFAR is its test part.

    At `most` so many images are taken, evenly chosen. Raises BadInput for a place without images with one class each.
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
    """The listing of the layout that matches the data; if none does, the last error says what they look like."""
    if place.suffix == ".parquet" or (place.is_dir() and any(place.glob("*.parquet"))):
        return listing("parquet", place, split)  # type: ignore[arg-type]
    if place.is_dir() and (any(place.glob("*.tar")) or any(place.glob("train/*.tar"))):
        return listing("shards", place, split)  # type: ignore[arg-type]
    layout = "imagenet" if any((place / part).is_dir() for part in ("train", "val")) else "classes"
    return listing(layout, place, split)  # type: ignore[arg-type]


def _chosen(count: int, most: int | None) -> Int64[np.ndarray, " n"]:
    return np.unique(np.linspace(0, count - 1, min(count, most or count)).round().astype(np.int64))


class _Opened:
    """Images of files, opened on demand."""

    def __init__(self, files: Any, which: Int64[np.ndarray, " n"]):
        self.files, self.which = files, which

    def __len__(self) -> int:
        return len(self.which)

    def content(self, k: int) -> Path | bytes:
        """Find the file of image k, or its bytes."""
        return self.files[int(self.which[k])].content

    def __getitem__(self, k: int, /) -> Image:
        return np.array(opened_image(self.files[int(self.which[k])], "RGB"))


def read_cifar10(folder: Path, split: str) -> Cifar:
    """Read train or test: images, class indices, names. Raises BadInput for files that are missing or damaged."""
    train = one_of(split, ("train", "test")) == "train"
    files = [f"data_batch_{k}.bin" for k in range(1, 6)] if train else ["test_batch.bin"]
    return _read_cifar(Path(folder), files, "batches.meta.txt", 1)


def read_cifar100(folder: Path, split: str) -> Cifar:
    """Read train or test with the 100 fine classes. Raises BadInput for files that are missing or damaged."""
    return _read_cifar(Path(folder), [f"{one_of(split, ('train', 'test'))}.bin"], "fine_label_names.txt", 2)


def _read_cifar(folder: Path, files: list[str], names: str, labels: int) -> Cifar:
    classes = tuple(line.strip() for line in text_of(folder / names).splitlines() if line.strip())
    length, rows = labels + 3 * _SIDE * _SIDE, []
    for name in files:
        file = folder / name
        try:
            data = np.fromfile(no_pipe(file), np.uint8)
        except OSError as error:
            raise BadInput(f"cannot read {file}: {error.strerror}; put the binary version of CIFAR there") from error
        if not len(data) or len(data) % length:
            raise BadInput(f"{file} has {len(data)} bytes, which is no number of images of {length} bytes; copy it again")
        rows.append(data.reshape(-1, length))
    whole = np.concatenate(rows)
    truth = whole[:, labels - 1].astype(np.int64)
    if truth.max() >= len(classes):
        raise BadInput(f"{folder} has the class {truth.max()}, and {names} {len(classes)} names; copy it again")
    return np.ascontiguousarray(whole[:, labels:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)), truth, classes
