"""Training images at an address: object storage, a web server, a repository of Hugging Face.

s3://bucket/shards          *.tar, or train/*.tar beside val: as on the disk, nine of ten samples or the part train
s3://bucket/photos          images in it and below, as on the disk; over the web as pages of links
{0000..0099}.tar            a pattern of tars

Files are read ahead and cached, in bounded space (`tapetum.core.remote_cache`). Labels and captions of shards are stored next
to their images and read with them, sample by sample, so the class names must come from classes.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath

import numpy as np

from tapetum.core.addresses import RemoteFile, check_address, join_address, list_files, name_at
from tapetum.core.errors import BadInput
from tapetum.core.reading import parse_json
from tapetum.core.remote_cache import RemoteCache
from tapetum.data.fields import IMAGES as ENCODED
from tapetum.data.fields import last
from tapetum.data.layout_parquet import RemoteFiles, ShardFiles
from tapetum.data.shards import Shards
from tapetum.systems.pretraining.data import FileImages, ImageSource, classes_of
from tapetum.video.images import IMAGES

_COPIED = "train*.parquet", "data_batch_*.bin", "train.bin"
"""Files that are read as a whole."""


@dataclass(frozen=True)
class FileTexts:
    """Texts in files at addresses, read when they are asked for."""

    files: ShardFiles | RemoteFiles

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> str:
        return _text(self.files, k)


@dataclass(frozen=True)
class ShardLabels:
    """The classes of samples of shards, read when they are asked for."""

    files: ShardFiles
    classes: int
    """How many there are."""

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: "int | np.ndarray") -> "int | np.ndarray":
        """Read the class of one sample, or of several. Raises BadInput for anything that is not one of the classes."""
        if isinstance(k, np.ndarray):
            return np.array([self[int(each)] for each in k], np.int64)
        text = _text(self.files, int(k))
        if not text.isdecimal() or int(text) >= self.classes:
            raise BadInput(f"{self.files[int(k)].name} has the class {text[:20]!r}; wanted 0 to {self.classes - 1}")
        return int(text)


def _text(files: ShardFiles | RemoteFiles, k: int) -> str:
    content = files[k].content
    assert isinstance(content, bytes)
    return content.decode(errors="replace").strip()


def read_remote_source(address: str, cache: RemoteCache, *, captions: bool = False) -> ImageSource | None:
    """Find the images at an address; None for parquet tables and CIFAR's files, which must be copied first.

    Raises BadInput if there are none, and UnreachableAddress.
    """
    check_address(address)
    if address.endswith(".parquet"):
        return None
    if address.endswith(".tar"):
        return _shards(address, [], whole=False, cache=cache, captions=captions)
    files = list_files(address)
    below = {file.address.removeprefix(address.rstrip("/") + "/"): file for file in files}
    if any(fnmatch(name, pattern) for name in below for pattern in _COPIED):
        return None
    part = "train/" if any(name.startswith("train/") for name in below) else ""
    inside = {name.removeprefix(part): file for name, file in below.items() if name.startswith(part)}
    if any(name.endswith(".tar") and "/" not in name for name in inside):
        folder = join_address(address, part.rstrip("/")) if part else address
        return _shards(folder, list(inside.values()), whole=not part, cache=cache, captions=captions)
    return _images(address, inside, cache, captions)


def _shards(address: str, files: Sequence[RemoteFile], *, whole: bool, cache: RemoteCache, captions: bool) -> ImageSource:
    opened = Shards(address, cache=cache)
    rows = np.arange(len(opened))
    rows = rows[rows % 10 != 0] if whole else rows
    field = next((name for name in opened.fields if last(name) in ENCODED), None)
    if field is None:
        raise BadInput(f"{address} has the fields {', '.join(opened.fields)} and no images; give data that has")

    def column(name: str) -> ShardFiles:
        return ShardFiles(opened, name, rows)

    named = next((file for file in files if name_at(file.address) == "classes.json"), None)
    classes = _classes(named, cache) if named is not None and "cls" in opened.fields else ()
    return ImageSource(
        FileImages(column(field)),
        ShardLabels(column("cls"), len(classes)) if classes else None,  # pyright: ignore[reportArgumentType]
        classes,
        FileTexts(column("txt")) if captions and "txt" in opened.fields else None,  # pyright: ignore[reportArgumentType]
    )


def _classes(file: RemoteFile, cache: RemoteCache) -> tuple[str, ...]:
    try:
        return tuple(map(str, parse_json(cache.read_whole(file))))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{file} is no list of names; write it anew") from error


def _images(address: str, files: dict[str, RemoteFile], cache: RemoteCache, captions: bool) -> ImageSource:
    """Images by their names below an address."""
    names = sorted(name for name in files if PurePosixPath(name).suffix.lower() in IMAGES)
    if not names:
        raise BadInput(f"{address} holds no images, .tar or .parquet files that begin with train")
    labels, classes = classes_of([name.split("/")[0] if "/" in name else None for name in names])
    images = FileImages(RemoteFiles([files[name] for name in names], cache))
    texts = _beside(address, names, files, cache) if captions else None
    return ImageSource(images, labels, classes, texts)  # pyright: ignore[reportArgumentType]


def _beside(address: str, names: Sequence[str], files: dict[str, RemoteFile], cache: RemoteCache) -> "FileTexts | None":
    """The texts next to images; None if there are none at all."""
    beside = [str(PurePosixPath(name).with_suffix(".txt")) for name in names]
    lacking = [name for name, text in zip(names, beside, strict=True) if text not in files]
    if len(lacking) == len(names):
        return None
    if lacking:
        raise BadInput(
            f"{len(lacking)} of {len(names)} images at {address} have no caption, the first is {lacking[0]}; write one for "
            "each, or take all of them away"
        )
    return FileTexts(RemoteFiles([files[text] for text in beside], cache))
