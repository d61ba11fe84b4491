"""Training images by number, with their classes and captions; `sources` reads them from files, and those at an address
(object storage, a web server, a repository of Hugging Face) are read here.

A damaged file is replaced by the next one, the same in every run; the loop names and counts it.

s3://bucket/shards          *.tar, or train/*.tar beside val: as on the disk, nine of ten samples or the part train
s3://bucket/photos          images in it and below, as on the disk; over the web as pages of links
{0000..0099}.tar            a pattern of tars

Files are read ahead and cached, in bounded space (`tapetum.core.remote_cache`). Labels and captions of shards are stored next
to their images and read with them, sample by sample, so the class names must come from classes.json.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import UInt8

from tapetum.core.addresses import RemoteFile, check_address, join_address, list_files, name_at
from tapetum.core.devices import send_to_device
from tapetum.core.errors import BadInput
from tapetum.core.reading import parse_json
from tapetum.core.remote_cache import RemoteCache
from tapetum.data.fields import IMAGES as ENCODED
from tapetum.data.fields import last
from tapetum.data.files import Files, encoded_image, opened_image
from tapetum.data.jpegs import EncodedImage, EncodedSequence, decode_on_device
from tapetum.data.layout_parquet import RemoteFiles, ShardFiles
from tapetum.data.samples import ReadsAhead, Shuffle, WeightedShuffle
from tapetum.data.shards import Shards
from tapetum.data.views.make import channels_first
from tapetum.video.images import IMAGES

Image = UInt8[np.ndarray, "h w 3"]
_CACHED_BYTES = 512 << 20
"""Decoded images that a process keeps."""
_TRIES = 100
"""Damaged images on end after which a run gives up."""


class ImageSequence(Protocol):
    """Images by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> Image:
        """Raises BadInput if it is damaged."""
        ...

    def name(self, k: int) -> str:
        """Get a readable name of image k."""
        ...


@dataclass(frozen=True)
class NoImages:
    """Placeholder for images where only what is known of them is needed."""

    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Image:
        raise BadInput(f"{self.name(k)} is not here; ask the dataset")

    def name(self, k: int) -> str:
        return f"image {k}"


@dataclass
class FileImages:
    """Images in files, decoded when they are asked for and kept while there is room: in half a gigabyte a process."""

    files: Files
    _cache: dict[int, Image] = field(default_factory=dict, repr=False)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> Image:
        if k in self._cache:
            return self._cache[k]
        image = np.array(opened_image(self.files[k], "RGB"))
        if self._bytes + image.nbytes <= _CACHED_BYTES:
            self._cache[k] = image
            self._bytes += image.nbytes
        return image

    def encoded(self, k: int) -> "EncodedImage | Image":
        """Read image k as a JPEG to decode later, or else decode it."""
        image = None if k in self._cache else encoded_image(self.files[k])
        return self[k] if image is None else image

    def read_ahead(self, numbers: Iterable[int]) -> None:
        """Start reading the files of some images in the background, if they are at addresses."""
        if isinstance(self.files, ReadsAhead):
            self.files.read_ahead(k for k in numbers if k not in self._cache)

    def name(self, k: int) -> str:
        return self.files[k].name

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "_cache": {}, "_bytes": 0}


@dataclass(frozen=True)
class ImageSource:
    """Images to learn from."""

    images: ImageSequence
    labels: np.ndarray | None = None
    """int64 (n,) numbers of classes; None: none are known."""
    classes: tuple[str, ...] = ()
    """Names, by number."""
    captions: Sequence[str] | None = None
    """A text for each image; None: there are none."""
    sizes: tuple[int, ...] = ()
    """Images of each of several sources that this one joins."""
    weights: tuple[float, ...] = ()
    """How much each of them is shown; none: every image once an epoch."""
    about: dict[str, Any] = field(default_factory=dict)
    """What the identity of a run says of the data."""

    def __len__(self) -> int:
        return len(self.images)


def classes_of(folders: Sequence[str | None]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Number images by the names of their folders; there are no classes if an image is in no folder, or all are in one.

    >>> classes_of(["cat", "ant", "cat"]), classes_of(["cat", None])
    ((array([1, 0, 1]), ('ant', 'cat')), (None, ()))
    """
    names = tuple(sorted({name for name in folders if name}))
    if not all(folders) or len(names) < 2:
        return None, ()
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[str(name)] for name in folders]), names


class TrainingImage(NamedTuple):
    """An image as sample `number` of a run."""

    image: Image | EncodedImage
    number: int
    index: int
    """Which image of the source it is."""
    damaged: tuple[int, ...]
    """Images that should have been shown, and could not be read."""

    @property
    def pixels(self) -> Image:
        """Get the image, which must be decoded already."""
        assert not isinstance(self.image, EncodedImage)
        return self.image


class ShuffledImages(torch.utils.data.Dataset[TrainingImage]):
    """Endless samples in shuffled order."""

    def __init__(self, source: ImageSource, seed: int, encoded: bool = False):
        """`encoded`: leave JPEGs to be decoded later, if the source supports it (`tapetum.data.jpegs`)."""
        self.source, self.seed, self.encoded = source, seed, encoded

    @cached_property
    def order(self) -> Shuffle | WeightedShuffle:
        """Make the shuffled order of the images."""
        if self.source.weights:
            return WeightedShuffle(self.source.sizes, self.source.weights, self.seed)
        return Shuffle(len(self.source), self.seed)

    def read_ahead(self, numbers: Iterable[int]) -> None:
        """Start reading samples in the background, if they are at addresses."""
        if isinstance(self.source.images, ReadsAhead):
            self.source.images.read_ahead(self.order(number) for number in numbers)

    def __getitem__(self, number: int) -> TrainingImage:
        """Get sample `number`. Raises BadInput if a hundred images in a row, or all, are damaged."""
        first, damaged = self.order(number), []
        images = self.source.images
        show = images.encoded if self.encoded and isinstance(images, EncodedSequence) else images.__getitem__
        for step in range(min(_TRIES, len(self.source))):
            k = (first + step) % len(self.source)
            try:
                return TrainingImage(show(k), number, k, tuple(damaged))
            except BadInput as error:
                damaged.append(k)
                last = error
        raise BadInput(f"{len(damaged)} images on end cannot be read, the last because {last}")


def decode_images(
    items: Sequence[TrainingImage], source: ImageSource, seed: int, device: torch.device
) -> tuple[list[TrainingImage], list[torch.Tensor]]:
    """Decode the images of a micro-batch on a device.

    An image that the device cannot decode is read as a worker would, which decides whether it is damaged and which is next.
    """
    encoded = [item.image for item in items if isinstance(item.image, EncodedImage)]
    decoded = iter(decode_on_device(encoded, device))
    shown, images = list(items), []
    for k, item in enumerate(items):
        later = isinstance(item.image, EncodedImage)
        x = next(decoded) if later else None
        if later and x is None:
            shown[k] = ShuffledImages(source, seed)[item.number]
        images.append(send_to_device(channels_first(shown[k].pixels), device) if x is None else x)
    return shown, images


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
