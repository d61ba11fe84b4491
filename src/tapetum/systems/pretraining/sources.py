"""Readers of training images: folders, parquet files, shards, CIFAR.

a folder                    images in it and below; the folder that an image lies in may be its class, and a text beside
                            it (cat.txt beside cat.jpg) its caption
train/CLASS/*.jpg           as a folder: only train is learned from
*.parquet, *.tar            as `tapetum.data.layouts` says; the held-out part is left alone. Shards may have captions: txt
data_batch_*.bin, train.bin the binary files of CIFAR-10 and CIFAR-100, one beside the other
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tapetum.core.errors import BadInput
from tapetum.core.reading import LONGEST_TEXT, no_pipe, read_text
from tapetum.data.files import stored_file
from tapetum.data.layouts import listing
from tapetum.data.samples import WeightedShuffle
from tapetum.data.shards import Shards
from tapetum.systems.pretraining.data import FileImages, Image, ImageSequence, ImageSource, classes_of
from tapetum.video.images import IMAGES

_LONGEST_CAPTION = 4 * LONGEST_TEXT
"""Bytes of a file of one."""


@dataclass
class RawImages:
    """Images whose bytes lie in the binary files of CIFAR: a row has labels, then 32 x 32 reds, greens and blues."""

    rows: UInt8[np.ndarray, "n bytes"]
    labels: int
    """Bytes before the pixels."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, k: int) -> Image:
        return np.ascontiguousarray(self.rows[k, self.labels :].reshape(3, 32, 32).transpose(1, 2, 0))

    def name(self, k: int) -> str:
        return f"image {k}"


def read_source(place: Path | str, *, captions: bool = False) -> ImageSource:
    """Find the images at a path; captions are looked for only if requested.

    Raises BadInput for fewer than two images, for captions that only some images have, and for anything that the data layouts
    refuse.
    """
    place = Path(place)
    if not place.exists():
        raise BadInput(f"there is no {place}; give a folder of images")
    binary = sorted(place.glob("data_batch_*.bin")) or sorted(place.glob("train.bin")) if place.is_dir() else []
    if binary:
        source = _cifar(place, binary)
    elif place.suffix == ".parquet" or (place.is_dir() and any(place.glob("train*.parquet"))):
        source = _listed("parquet", place)
    elif place.is_dir() and (any(place.glob("*.tar")) or any(place.glob("train/*.tar"))):
        source = _listed("shards", place)
        source = replace(source, captions=_texts(place)) if captions else source
    elif place.is_dir():
        source = _folder(place, captions)
    else:
        raise BadInput(f"{place} is no folder, parquet file or tar; give a folder of images")
    if len(source) < 2:
        raise BadInput(f"{place} holds one image; give a folder with 2 or more, of which something can be learned")
    return replace(source, about={"data": place.resolve().name, "images": len(source), **source.about})


def _listed(layout: str, place: Path) -> ImageSource:
    images = listing(layout, place, "train")
    if "image" not in images.files:
        raise BadInput(f"{place} has {', '.join(images.files)} and no images; give data that has")
    labels = images.truth if images.asks == "class" else None
    return ImageSource(FileImages(images.files["image"]), labels, images.classes)


def _texts(place: Path) -> Sequence[str] | None:
    """The texts of shards, in the image order of `listing`: all of train, or nine of ten."""
    folder = place / "train" if (place / "train").is_dir() else place
    shards = Shards(folder)
    if "txt" not in shards.fields:
        return None
    numbers = (k for k in range(len(shards)) if folder != place or k % 10)
    return [shards.read(k)["txt"].decode(errors="replace").strip() for k in numbers]


def _cifar(place: Path, files: Sequence[Path]) -> ImageSource:
    labels = 2 if files[0].name == "train.bin" else 1
    size = 3072 + labels
    parts = []
    for file in files:
        if file.stat().st_size % size or not file.stat().st_size:
            raise BadInput(
                f"{file} has {file.stat().st_size} bytes, no multiple of {size}, as CIFAR's files have; copy it anew"
            )
        parts.append(np.fromfile(no_pipe(file), np.uint8).reshape(-1, size))
    rows = np.concatenate(parts)
    truth = rows[:, labels - 1].astype(np.int64)
    listed = next((place / name for name in ("batches.meta.txt", "fine_label_names.txt") if (place / name).is_file()), None)
    names = tuple(read_text(listed).split()) if listed else ()
    if len(names) <= truth.max():
        names = tuple(str(k) for k in range(int(truth.max()) + 1))
    return ImageSource(RawImages(rows, labels), truth, names)


def _folder(place: Path, captions: bool) -> ImageSource:
    root = place / "train" if (place / "train").is_dir() else place
    hidden = (path for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGES)
    files = [path for path in hidden if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    if not files:
        raise BadInput(f"{root} holds no images ({', '.join(sorted(IMAGES))}); give a folder that does")
    folders = [path.relative_to(root).parts[0] if path.parent != root else None for path in files]
    source = ImageSource(FileImages([stored_file(path) for path in files]), *classes_of(folders))
    return replace(source, captions=_beside(files)) if captions else source


def _beside(files: Sequence[Path]) -> Sequence[str] | None:
    """The texts next to images; None if there are none at all."""
    lacking = [path for path in files if not path.with_suffix(".txt").is_file()]
    if len(lacking) == len(files):
        return None
    if lacking:
        raise BadInput(
            f"{len(lacking)} of {len(files)} images have no caption, the first is {lacking[0]}; write one into "
            f"{lacking[0].with_suffix('.txt').name} beside it, or take all of them away"
        )
    return [read_text(path.with_suffix(".txt"), errors="replace", most=_LONGEST_CAPTION).strip() for path in files]


def check_sizes(source: ImageSource, size: int, place: str) -> None:
    """Raise BadInput if half of the checked images are smaller than a view of `size`.

    Up to 32 images are checked, evenly spaced.
    """
    sides = []
    for k in np.unique(np.linspace(0, len(source) - 1, 32).round().astype(int)).tolist():
        try:
            sides.append(min(source.images[k].shape[:2]))
        except BadInput:
            continue
    if sides and float(np.median(sides)) < size:
        middle = int(np.median(sides))
        raise BadInput(
            f"views of {size} pixels are larger than the images of {place}, whose shorter sides are about {middle}; give "
            f"--size {max(8, middle // 8 * 8)}, or --enlarge"
        )


class JoinedImages:
    """Images of several sources, end to end."""

    def __init__(self, parts: Sequence[ImageSequence]):
        self.parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def _place(self, k: int) -> tuple[ImageSequence, int]:
        part = bisect_right(self._ends, k)
        return self.parts[part], k - self._ends[part] + len(self.parts[part])

    def __getitem__(self, k: int, /) -> Image:
        part, number = self._place(k)
        return part[number]

    def name(self, k: int) -> str:
        part, number = self._place(k)
        return part.name(number)


def read_sources(places: Sequence[Path | str], weights: Sequence[float] = (), *, captions: bool = False) -> ImageSource:
    """Find the images of one or several places, each as by `read_source`, as one: equal class names are merged; classes or
    captions that one lacks are dropped for all.

    `weights` set how often each source is sampled; without them every image is shown once per epoch, so a source counts by its
    size. Raises BadInput as `read_source` and `WeightedShuffle` do, and if only some sources have captions.
    """
    sources = [read_source(place, captions=captions) for place in places]
    if len(sources) == 1 and not weights:
        return sources[0]
    sizes = tuple(map(len, sources))
    if weights:
        WeightedShuffle(sizes, weights, seed=0)
    labels, classes = None, ()
    if all(source.labels is not None for source in sources):
        classes = tuple(sorted({name for source in sources for name in source.classes}))
        numbers = [np.array([classes.index(name) for name in source.classes], np.int64) for source in sources]
        labels = np.concatenate([number[source.labels] for number, source in zip(numbers, sources, strict=True)])
    texts = [source.captions for source in sources if source.captions is not None]
    if texts and len(texts) < len(sources):
        lacking = next(source for source in sources if source.captions is None)
        raise BadInput(f"{lacking.about.get('data')} has no captions, which others have; write some, or leave it out")
    about: dict[str, Any] = {"data": [source.about["data"] for source in sources], "images": list(sizes)}
    return ImageSource(
        JoinedImages([source.images for source in sources]),
        labels,
        classes,
        [*chain(*texts)] if texts else None,
        sizes,
        tuple(weights),
        about | ({"data_weights": list(weights)} if weights else {}),
    )
