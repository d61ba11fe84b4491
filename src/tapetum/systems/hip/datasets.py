"""Data sets in their official layouts (`tapetum.data.layouts`), as examples for HiP.

Inputs are as large as in the paper (arXiv 2202.10890), unless sizes are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.data.layouts import Asks, Listing, Split, listing
from tapetum.data.media import ImageFiles, MaskFiles, MeshFiles, SoundFiles, VideoFiles
from tapetum.data.point_clouds import CloudFiles
from tapetum.systems.hip.config import Sizes
from tapetum.systems.hip.data import HipExamples, ModalityField

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
