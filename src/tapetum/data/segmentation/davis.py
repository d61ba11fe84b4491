"""DAVIS 2016 and 2017 (Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv 1704.00675): videos with object masks.

    DIR/ImageSets/2017/val.txt                    names of videos; train; 2016 too
    DIR/JPEGImages/480p/bike-packing/00000.jpg    frames
    DIR/Annotations/480p/bike-packing/00000.png   palette: 0 nothing, then the number of the object, 255 does not count

Unusual: only objects in the first frame count; numbers that appear later are ignored. Masks of 2016 have one object,
which is 255 there. A semi-supervised score uses the first mask as input and leaves out the first frame and the last one
(`scored_frames`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.data.entries import inside, one_of
from tapetum.data.listings import text_of
from tapetum.data.segmentation.images import IGNORE, read_values


@dataclass(frozen=True, kw_only=True)
class MaskedVideo:
    """A video and the masks of its frames."""

    name: str
    frames: Sequence[Path]
    masks: Sequence[Path]
    """Of each frame."""

    def objects(self) -> list[int]:
        """List the numbers of the objects in the first mask. Raises BadInput if the file is damaged."""
        numbers = [int(n) for n in np.unique(read_values(self.masks[0])) if n]
        return numbers if numbers == [IGNORE] else [n for n in numbers if n != IGNORE]

    def read_masks(self, frames: Sequence[int] | slice = slice(None)) -> dict[int, Bool[np.ndarray, "t h w"]]:
        """Read the masks of each object in some frames. Raises BadInput if a file is damaged or of another size."""
        chosen = [self.masks[k] for k in np.arange(len(self.masks))[frames]]
        values = [read_values(path) for path in chosen]
        for path, one in zip(chosen, values, strict=True):
            if one.shape != values[0].shape:
                raise BadInput(f"{path} is {one.shape[1]}x{one.shape[0]}, and {chosen[0].name} is not; copy the video again")
        return {n: np.stack([one == n for one in values]) for n in self.objects()}


scored_frames = slice(1, -1)
"""Frames that a semi-supervised score counts."""


def read_davis(folder: Path, split: str, year: int = 2017, resolution: str = "480p") -> list[MaskedVideo]:
    """List the videos of train or val. Raises BadInput if a list, a frame or a mask is missing."""
    folder = Path(folder)
    file = folder / "ImageSets" / one_of(str(year), ("2016", "2017")) / f"{one_of(split, ('train', 'val', 'trainval'))}.txt"
    names = [line.strip() for line in text_of(file).splitlines() if line.strip()]
    videos = []
    for name in dict.fromkeys(n.split("/")[3] if n.startswith("/") and n.count("/") > 3 else n for n in names):
        inside(name, f"a line of {file}")
        frames = sorted((folder / "JPEGImages" / resolution / name).glob("*.jpg"))
        masks = [folder / "Annotations" / resolution / name / f"{path.stem}.png" for path in frames]
        absent = [path for path in masks if not path.is_file()]
        if not frames or absent:
            raise BadInput(
                f"there is no {absent[0] if absent else folder / 'JPEGImages' / resolution / name}; copy the video again"
            )
        videos.append(MaskedVideo(name=name, frames=frames, masks=masks))
    if not videos:
        raise BadInput(f"{file} names no videos; copy it again")
    return videos


def write_numbers(path: Path, numbers: Int[np.ndarray, "h w"]) -> None:
    """Write the number of the object at each pixel as a PNG with VOC's palette, as the official evaluation reads it."""
    image = Image.frombytes("P", (numbers.shape[1], numbers.shape[0]), numbers.astype(np.uint8).tobytes())
    image.putpalette(palette())
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")


def palette() -> list[int]:
    """Compute VOC's palette, which DAVIS shares: the bits of a number are distributed to red, green and blue.

    >>> palette()[:12]
    [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    """
    return [
        sum(((number >> (3 * level + channel)) & 1) << (7 - level) for level in range(3))
        for number in range(256)
        for channel in range(3)
    ]
