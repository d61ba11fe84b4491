"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), the binary version: 60,000 images of 32x32.

    DIR/data_batch_1.bin to data_batch_5.bin, test_batch.bin, batches.meta.txt             3,073 bytes each: class, then 1,024
                                                                                           red, green and blue values
    DIR/train.bin, test.bin, fine_label_names.txt                                          CIFAR-100: coarse class, fine class,
                                                                                           and the same

The python version of the files is pickled and not read; the images as parquet are read by `tapetum.data.layouts`.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.data.entries import one_of
from tapetum.data.listings import text_of

_SIDE = 32


def read_cifar10(folder: Path, split: str) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Read train or test: images, numbers of classes, names. Raises BadInput for files that are missing or damaged."""
    train = one_of(split, ("train", "test")) == "train"
    files = [f"data_batch_{k}.bin" for k in range(1, 6)] if train else ["test_batch.bin"]
    return _read(Path(folder), files, "batches.meta.txt", 1)


def read_cifar100(folder: Path, split: str) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Read train or test with the 100 fine classes. Raises BadInput for files that are missing or damaged."""
    return _read(Path(folder), [f"{one_of(split, ('train', 'test'))}.bin"], "fine_label_names.txt", 2)


def _read(folder: Path, files: list[str], names: str, labels: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    classes = tuple(line.strip() for line in text_of(folder / names).splitlines() if line.strip())
    length, rows = labels + 3 * _SIDE * _SIDE, []
    for name in files:
        file = folder / name
        try:
            data = np.fromfile(no_pipe(file), np.uint8)
        except OSError as error:
            raise BadInput(f"cannot read {file}: {error.strerror}; put the binary version of CIFAR there") from error
        if not len(data) or len(data) % length:
            raise BadInput(f"{file} has {len(data)} bytes, which is no number of images of {length} bytes; copy it anew")
        rows.append(data.reshape(-1, length))
    whole = np.concatenate(rows)
    truth = whole[:, labels - 1].astype(np.int64)
    if truth.max() >= len(classes):
        raise BadInput(f"{folder} has the class {truth.max()}, and {names} {len(classes)} names; copy it anew")
    return np.ascontiguousarray(whole[:, labels:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)), truth, classes
