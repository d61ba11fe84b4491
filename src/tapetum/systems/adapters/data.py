"""Images to train on and evaluate, and features of them that are computed once.

Images have a class each, or one per pixel, in the layouts of `tapetum.data.layouts`. What enters block k with the lowest
adapter does not change while adapters are trained, so it is recorded. The rest is the same network, whose blocks before k pass
their input on, and whose block k takes what was recorded; a blank image goes through the beginning. With a bottom adapter there
is nothing to record.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.data.files import opened_image, stored_file
from tapetum.data.layouts import Listing, Split, listing
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import prepare
from tapetum.systems.adapters.adapted import Adapted
from tapetum.systems.adapters.addresses import chain
from tapetum.systems.adapters.layers import Adapter
from tapetum.systems.adapters.weaving import renewed

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
        example = self.plain(Shuffle(len(self), self.seed)(number))
        if self.shift:
            x, y = sample_generator(self.seed, number).integers(-self.shift, self.shift + 1, 2)
            maps = {name: example[name] for name in ("image", "target") if name in example and example[name].ndim > 1}
            example |= {name: shifted(values, int(x), int(y)) for name, values in maps.items()}
        return example

    def plain(self, k: int) -> dict[str, Tensor]:
        raise NotImplementedError


@dataclass(frozen=True)
class OwnImages(ShuffledExamples):
    """Prepared images, each with a target of any shape."""

    examples: Sequence[tuple[Path, Any]]
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
    resized = F.interpolate(mask[None, None].double(), size=how.resized(*given), mode="nearest-exact")[0, 0].long()
    return resized[how.crop(*given)]


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


_AT_A_TIME = 32


class _Enough(Exception):
    """Raised once the features are recorded."""


class _PassOn(nn.Module):
    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return x


class _Resume(nn.Module):
    """A block that takes the recorded features as input."""

    def __init__(self, block: nn.Module, holder: list[Tensor]):
        super().__init__()
        self.block, self._holder = block, holder

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.block(self._holder[0], *args, **kwargs)


class Below:
    """The part of an adapted encoder below the lowest adapter in use, and what follows it."""

    def __init__(self, bank: Adapted):
        self.bank, name = bank, bank.in_use
        self.blocks = chain(bank.trunk)
        self.sites = bank.sites(name) if name else ()
        self.first = self._first()
        """Number of the block with the lowest adapter; that of all blocks where only the pooled vector has one."""
        self._holder: list[Tensor] = []
        self._woven: nn.Module | None = None
        self._rest: nn.Module = _PassOn()

    @property
    def possible(self) -> bool:
        """Check whether there is anything to record."""
        return self.first is not None

    def _first(self) -> int | None:
        numbers = [len(self.blocks)]
        for site in self.sites:
            if site.where == "pooled":
                continue
            inside = [i for i, block in enumerate(self.blocks) if f"{site.address}.".startswith(f"{block}.")]
            if not inside:
                return None
            numbers += inside
        return min(numbers) if self.blocks else None

    @torch.no_grad()
    def record(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b ..."]:
        """Compute the input of the block with the lowest adapter, or the pooled vector, for prepared images."""
        assert self.first is not None
        frozen = self.bank.network(None)
        if self.first == len(self.blocks):
            return frozen(images).pooled
        kept: list[Tensor] = []

        def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
            kept.append(args[0])
            raise _Enough

        block = self.blocks[self.first]
        stopping = renewed(frozen, [block])
        stopping.get_submodule(block).register_forward_pre_hook(keep)
        with suppress(_Enough):
            stopping(images)
        return kept[0]

    def resume(self, recorded: Float[Tensor, "b ..."], size: tuple[int, int]) -> Float[Tensor, "b e"]:
        """Compute the pooled vectors of images of `size` (rows, columns) from their `record`."""
        assert self.first is not None
        if self.first == len(self.blocks):
            for adapter in self._adapters():
                recorded = adapter(recorded, recorded)
            return recorded
        self._holder[:] = [recorded]
        return self._network()(recorded.new_zeros(1, 3, *size)).pooled

    def _adapters(self) -> list[Adapter]:
        name = self.bank.in_use
        return list(self.bank.at_sites(name).values()) if name else []

    def _network(self) -> nn.Module:
        """The rest of the network; rebuilt after the bank has moved to another device, which weaves it again."""
        woven = self.bank.network(self.bank.in_use)
        if self._woven is not woven:
            assert self.first is not None
            self._woven = woven
            self._rest = renewed(woven, self.blocks[: self.first + 1])
            for i, name in enumerate(self.blocks[: self.first + 1]):
                parent, _, leaf = name.rpartition(".")
                module = _Resume(woven.get_submodule(name), self._holder) if i == self.first else _PassOn()
                self._rest.get_submodule(parent)._modules[leaf] = module
        return self._rest


class Recorded(Dataset):
    """Examples whose images are replaced by the features below the lowest adapter, recorded with their neighbours at first use:
    batches are the same in every run."""

    def __init__(self, examples: ShuffledExamples, below: Below, shown: int):
        """`shown` is the number used in the whole run; if not all will be used, each is recorded alone."""
        self.examples, self.below = examples, below
        self._together = _AT_A_TIME if shown >= len(examples) else 1
        self._kept: dict[int, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        k = Shuffle(len(self), self.examples.seed)(number)
        if k not in self._kept:
            first = k - k % self._together
            numbers = range(first, min(first + self._together, len(self)))
            examples = [self.examples.plain(i) for i in numbers]
            recorded = self.below.record(torch.stack([example.pop("image") for example in examples]))
            for i, example, one in zip(numbers, examples, recorded, strict=True):
                self._kept[i] = {**example, "recorded": one.clone()}
        return self._kept[k]
