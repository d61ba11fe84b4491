"""Training and evaluation images, with a class per image or per pixel, in the layouts of `tapetum.data.layouts`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.data.files import opened_image, stored_file
from tapetum.data.layouts import Listing, Split, listing
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import prepare

IGNORED = -1
"""Class of pixels of which nothing is known."""


def listed(place: Path, task: str, split: Split) -> Listing:
    """List a split of the data at `place`. Raises BadInput if there is none, or no classes for the task."""
    if not place.exists():
        raise BadInput(f"there is no {place}; give the folder of the data, or a parquet file")
    if task == "segment":
        images = listing("voc" if place.is_dir() and (place / "JPEGImages").is_dir() else "parquet", place, split)
    elif place.is_dir() and not any(place.glob("*.parquet")) and not (place / "train").is_dir():
        images = listing("classes", place, split)
    else:
        images = listing("imagenet" if (place / "train").is_dir() else "parquet", place, split)
    asks = "elements" if task == "segment" else "class"
    if images.asks != asks or "image" not in images.files:
        what = "a mask for each image" if task == "segment" else "a class for each image"
        raise BadInput(f"{place} has not {what}; give other data, or another --task")
    return images


class ShuffledExamples(Dataset):
    """Examples with a prepared image, by number in a shuffled, endless order, shifted at random."""

    seed: int
    shift: int
    """Pixels by which an image (and its mask) is shifted at random, the rim repeated."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Load sample `number` of the stream."""
        example = self.plain(Shuffle(len(self), self.seed)(number))
        if self.shift:
            x, y = sample_generator(self.seed, number).integers(-self.shift, self.shift + 1, 2)
            maps = {name: example[name] for name in ("image", "target") if name in example and example[name].ndim > 1}
            example |= {name: shifted(values, int(x), int(y)) for name, values in maps.items()}
        return example

    def plain(self, k: int) -> dict[str, Tensor]:
        """Load example k unchanged."""
        raise NotImplementedError


@dataclass(frozen=True)
class OwnImages(ShuffledExamples):
    """Prepared images, each with a target of any shape."""

    examples: Sequence[tuple[Path, Any]]
    """Files, and numbers or arrays."""
    preprocessing: Preprocessing
    seed: int = 0
    shift: int = 0

    def __len__(self) -> int:
        return len(self.examples)

    def plain(self, k: int) -> dict[str, Tensor]:
        """Load image k as it is, with its number. Raises BadInput where it cannot be read."""
        file, target = self.examples[k]
        image = prepare(np.asarray(opened_image(stored_file(Path(file)), "RGB"))[None], self.preprocessing)[0]
        target = torch.as_tensor(np.asarray(target))
        return {"number": torch.tensor(k), "image": image, "target": target.float() if target.is_floating_point() else target}


@dataclass(frozen=True)
class ListedImages(ShuffledExamples):
    """Prepared images with a class, or with a class for every pixel, by number in a shuffled, endless order."""

    listing: Listing
    preprocessing: Preprocessing
    seed: int = 0
    shift: int = 0

    def __len__(self) -> int:
        return len(self.listing)

    def plain(self, k: int) -> dict[str, Tensor]:
        """Load image k as it is, with its number. Raises BadInput where it cannot be read."""
        image = np.asarray(opened_image(self.listing.files["image"][k], "RGB"))
        example = {"number": torch.tensor(k), "image": prepare(image[None], self.preprocessing)[0]}
        if self.listing.truth is not None:
            return {**example, "target": torch.tensor(int(self.listing.truth[k]))}
        mask = opened_image(self.listing.files["mask"][k], None)
        if mask.size[::-1] != image.shape[:2] or mask.mode not in ("P", "L"):
            raise BadInput(
                f"{self.listing.files['mask'][k].name} is {mask.size[0]}x{mask.size[1]} of mode {mask.mode}; a mask is as "
                f"large as its image ({image.shape[1]}x{image.shape[0]}) and has one number a pixel"
            )
        numbers = np.asarray(mask).astype(np.int64)
        known = torch.from_numpy(np.where(numbers < len(self.listing.classes), numbers, IGNORED))
        return {**example, "target": prepare_mask(known, self.preprocessing)}


def prepare_mask(mask: Int[Tensor, "h w"], how: Preprocessing) -> Int[Tensor, "H W"]:
    """Resize and crop a mask as `prepare` does its image, by nearest pixel."""
    given = int(mask.shape[0]), int(mask.shape[1])
    size, goal = how.resized(*given), how.prepared(*given)
    resized = F.interpolate(mask[None, None].double(), size=size, mode="nearest-exact")[0, 0].long()
    top, left = (round((have - want) / 2) for have, want in zip(size, goal, strict=True))
    return resized[top : top + goal[0], left : left + goal[1]]


def shifted(values: Tensor, x: int, y: int) -> Tensor:
    """Shift the last two axes by whole cells, right and down, repeating the border.

    >>> shifted(torch.tensor([[1, 2, 3]]), 1, 0).tolist()
    [[1, 1, 2]]
    """
    rows = (torch.arange(values.shape[-2]) - y).clamp(0, values.shape[-2] - 1)
    columns = (torch.arange(values.shape[-1]) - x).clamp(0, values.shape[-1] - 1)
    return values[..., rows, :][..., columns]


def square(preprocessing: Preprocessing, pixels: int | None) -> Preprocessing:
    """Resize whole prepared images, of any shape, to a square."""
    if pixels is None:
        return preprocessing
    return replace(preprocessing, size=(pixels, pixels), crop_fraction=1.0, resize="squash")
