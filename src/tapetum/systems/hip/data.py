"""Examples for HiP: any modalities, as arrays in memory, files (`tapetum.data.media`) or shards, altered when they are shown.

An element of an example is a row of channels; nothing tells the network where it is. Every showing is a pure function of
(seed, index), as the training loop asks. All fields of an example draw the same random numbers, so that what lies together, a
image and its mask, is moved together.

Source: HiP (arXiv 2202.10890) takes raw pixels and samples; the shifts and mirrors here are the usual ones of small images.

Data sets lie in their official layouts (`tapetum.data.layouts`); inputs are as large as in the paper (arXiv 2202.10890), unless
sizes are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.data.layouts import Asks, Listing, Split, listing
from tapetum.data.media import ImageFiles, MaskFiles, MeshFiles, SoundFiles, VideoFiles
from tapetum.data.point_clouds import CloudFiles
from tapetum.data.samples import Shuffle
from tapetum.data.shards import ShardColumn
from tapetum.systems.hip.config import Modality, Preparation, Sizes

TARGET = "target"
"""Name of the class, or of the classes of all elements, in an example."""


@dataclass(frozen=True, eq=False)
class ModalityField:
    """One modality of all examples."""

    values: "np.ndarray | ShardColumn | ImageFiles | MaskFiles | SoundFiles | VideoFiles | MeshFiles | CloudFiles"
    """(N, *shape, channels), any kind of number; in memory, or read when it is shown."""
    mean: float | np.ndarray = 0.0
    std: float | np.ndarray = 1.0
    """Subtracted and divided by, each a number or one a channel."""
    shift: int = 0
    """Places by which an example is moved at most along each axis, `fill` following."""
    fill: float = 0.0
    mirror: bool = False
    """The last axis of the shape is turned round in half of the showings."""
    order: np.ndarray | None = None
    """A fixed order of the elements, in which they are shown; None: row-major."""

    @property
    def modality(self) -> Modality:
        """Describe the field's shape and channels, as a network must know them."""
        return Modality(self.values.shape[1:-1], self.values.shape[-1])

    @property
    def preparation(self) -> Preparation:
        """Describe mean, standard deviation and rate, as a network's file stores them."""
        rate = getattr(self.values, "sample_rate", None) or getattr(self.values, "frame_rate", None)
        mean, std = (tuple(float(x) for x in np.atleast_1d(v)) for v in (self.mean, self.std))
        return Preparation(mean, std, None if rate is None else float(rate))

    def show(self, k: int, rng: np.random.Generator | None) -> np.ndarray:
        """Show example k as float32 (n, c); as it is without a generator."""
        rows = self.rows(k, rng).astype(np.float32)
        return ((rows - self.mean) / self.std).astype(np.float32)

    def rows(self, k: int, rng: np.random.Generator | None) -> np.ndarray:
        """Load example k as (n, c), its numbers as they are stored."""
        value = self.values[k] if isinstance(self.values, np.ndarray | ShardColumn) else self.values.read(k, rng)
        if rng is not None:
            value = moved(value, rng, self.shift, self.mirror, self.fill)
        rows = value.reshape(-1, value.shape[-1])
        return rows if self.order is None else rows[self.order]


def moved(value: np.ndarray, rng: np.random.Generator, shift: int, mirror: bool, fill: float = 0.0) -> np.ndarray:
    """Compute (*shape, c), moved by up to `shift` places along each axis with `fill` following, and maybe mirrored."""
    if mirror and rng.random() < 0.5:
        value = np.flip(value, value.ndim - 2)
    if shift:
        axes = value.ndim - 1
        padded = np.pad(value, [(shift, shift)] * axes + [(0, 0)], constant_values=fill)
        starts = rng.integers(0, 2 * shift + 1, axes)
        value = padded[tuple(slice(s, s + n) for s, n in zip(starts, value.shape, strict=False))]
    return value


class HipExamples(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Endless showings in a shuffled order: `examples[index]` has a tensor (n, c) of each modality, and the target."""

    def __init__(
        self,
        fields: Mapping[str, ModalityField],
        targets: "np.ndarray | ShardColumn | ModalityField | None" = None,
        *,
        seed: int = 0,
    ):
        """`targets`: (N,) classes, (N, classes) truths, or a field of the class of each element, moved as the others are.

        Raises BadInput for fields of different numbers of examples, or none.
        """
        counts = {name: field.values.shape[0] for name, field in fields.items()}
        if targets is not None:
            counts[TARGET] = (targets.values if isinstance(targets, ModalityField) else targets).shape[0]
        if len(set(counts.values())) != 1 or not min(counts.values(), default=0):
            raise BadInput(f"numbers of examples differ or are 0: {counts}; they must be one number")
        self.fields, self.targets, self.seed = dict(fields), targets, seed
        self.about: dict[str, Any] = {"examples": len(self)}
        """What the identity of a run says of the data."""

    def __len__(self) -> int:
        return next(iter(self.fields.values())).values.shape[0]

    @cached_property
    def order(self) -> Shuffle:
        """Shuffle the examples: which is shown when."""
        return Shuffle(len(self), self.seed)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self._example(self.order(index), index)

    def plain(self, start: int, stop: int) -> dict[str, Tensor]:
        """Load examples from `start` to `stop` as they are, in one batch."""
        rows = [self._example(k, None) for k in range(start, min(stop, len(self)))]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _example(self, k: int, index: int | None) -> dict[str, Tensor]:
        def rng() -> np.random.Generator | None:
            return None if index is None else np.random.default_rng((self.seed, 3, index))

        example = {name: torch.from_numpy(field.show(k, rng())) for name, field in self.fields.items()}
        if isinstance(self.targets, ModalityField):
            example[TARGET] = torch.from_numpy(self.targets.rows(k, rng())[..., 0].astype(np.int64))
        elif self.targets is not None:
            example[TARGET] = torch.as_tensor(self.targets[k])
        return example

    def modalities(self) -> dict[str, Modality]:
        """Describe what a network must know of the fields."""
        return {name: field.modality for name, field in self.fields.items()}

    def preparations(self) -> dict[str, Preparation]:
        """Describe what a network's file must say of the fields."""
        return {name: field.preparation for name, field in self.fields.items()}


def without_target(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select all of a batch but its target, the inputs."""
    return {name: value for name, value in batch.items() if name != TARGET}


MEAN, STD = np.array([123.7, 116.3, 103.5], np.float32), np.array([58.4, 57.1, 57.4], np.float32)
"""Mean and deviation of the channels of ImageNet's images, 0..255."""
_WHOLE = {"parquet": 1.0}
"""Least fraction of an image that is looked at, by layout; 0.08 where none is given."""
_SIZE = {"voc": (512, 512)}
"""Height and width of images in the paper, by layout; (224, 224) where none is given."""


@dataclass(frozen=True)
class HipSplit:
    """One split of a data set, with its classes."""

    examples: HipExamples
    classes: tuple[str, ...]
    """Names, by number."""
    asks: Asks
    """One class of each example, any number of labels, a class of each element of `image`, or nothing is known."""
    missing: int = 0
    """HipExamples that are listed, but of which there is no file."""


def data_set(
    layout: str, place: Path, split: Split, sizes: Sizes | None = None, seed: int = 0, modalities: Sequence[str] = ()
) -> HipSplit:
    """Open a split of the data set at `place`, with all its modalities or those that are named.

    Raises BadInput for an unknown layout, or what is not in it.
    """
    listed, sizes = listing(layout, place, split), sizes or Sizes()
    fields, truth = _fields(listed, layout, sizes)
    if unknown := [name for name in modalities if name not in fields]:
        raise BadInput(f"{place} has no {unknown[0]}; its modalities are {', '.join(fields)}")
    fields = {name: field for name, field in fields.items() if not modalities or name in modalities}
    examples = HipExamples(fields, listed.truth if truth is None else truth, seed=seed)
    examples.about |= {"layout": layout, "data": place.name, "sizes": asdict(sizes), "seed": seed}
    return HipSplit(examples, listed.classes, listed.asks, listed.missing)


def image_size(layout: str, sizes: Sizes) -> tuple[int, int]:
    """Look up height and width of a layout's images and frames.

    >>> image_size("voc", Sizes())
    (512, 512)
    """
    return sizes.image or _SIZE.get(layout, (224, 224))


def _fields(listed: Listing, layout: str, sizes: Sizes) -> tuple[Mapping[str, ModalityField], ModalityField | None]:
    """The modalities, and the class of each element of `image` where a mask tells it."""
    files, size = listed.files, image_size(layout, sizes)
    fields: dict[str, ModalityField] = {}
    if "mask" in files:
        mask = ModalityField(MaskFiles(files["mask"], size, len(listed.classes), area=0.25), mirror=True, fill=-1)
        return {"image": ModalityField(ImageFiles(files["image"], size, area=0.25), MEAN, STD, mirror=True)}, mask
    if "image" in files:
        fields["image"] = ModalityField(ImageFiles(files["image"], size, _WHOLE.get(layout, 0.08)), MEAN, STD, mirror=True)
    if "video" in files:
        clips = VideoFiles(files["video"], sizes.frames, size, sizes.video_rate)
        fields["video"] = ModalityField(clips, MEAN, STD, mirror="audio" not in files)
    if "audio" in files:
        fields["audio"] = ModalityField(SoundFiles(files["audio"], sizes.sound_rate, sizes.samples))
    if "points" in files:
        fields["points"] = ModalityField(MeshFiles(files["points"], sizes.points))
    if "cloud" in files:
        fields["points"] = ModalityField(CloudFiles(files["cloud"], sizes.points))
    return fields, None
