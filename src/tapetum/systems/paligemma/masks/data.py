"""Training data of the mask codec: masks of objects, cropped to their boxes, mirrored, transposed and coarsened.

Layouts: a folder with masks/*.png whose pixels are instance numbers, 0 for none (`tapetum scenes images`), or a COCO instances
file (Lin et al., arXiv 1405.0312), with run-length texts or polygons; crowds are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe, read_json
from tapetum.data.rle import decode_mask
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.systems.paligemma.masks.codec import cut_out
from tapetum.types import Masks

LEAST = 24
"""Pixels of a mask; smaller ones have no shape."""
COARSE = 10, 48
"""Pixels of the longest side to which half of the masks are brought first, for things that are small in their images."""


class MaskCrops(Dataset):
    """Masks by number, float32 (64, 64) from 0 to 1, a function of (seed, number); without `varied`, in order and unchanged."""

    def __init__(self, crops: Sequence[Bool[np.ndarray, "_h _w"]], seed: int = 0, *, varied: bool = True):
        if not crops:
            raise BadInput("there are no masks to learn from; give folders that tapetum scenes images made")
        self.crops, self.seed, self.varied = list(crops), seed, varied
        self._order = Shuffle(len(self.crops), seed)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, number: int) -> Float[Tensor, "64 64"]:
        if not self.varied:
            return torch.from_numpy(_square(self.crops[number]))
        rng = sample_generator(self.seed, number)
        mask = self.crops[self._order(number)]
        mask = mask[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        if rng.random() < 0.5:
            mask = mask.T
        if rng.random() < 0.5:
            mask = coarser(mask, int(rng.integers(*COARSE)))
        return torch.from_numpy(_square(mask))


def _square(mask: Bool[np.ndarray, "h w"]) -> np.ndarray:
    return cut_out(np.ascontiguousarray(mask), (0, 0, mask.shape[1], mask.shape[0]))


def coarser(mask: Bool[np.ndarray, "h w"], longest: int) -> Bool[np.ndarray, "h2 w2"]:
    """Downsample a mask until its longest side is `longest` pixels; a smaller one stays."""
    scale = longest / max(mask.shape)
    if scale >= 1:
        return mask
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    small = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)) > 127
    return small if small.any() else mask


def read_crops(places: Sequence[str | Path]) -> list[Bool[np.ndarray, "_h _w"]]:
    """Read all masks of folders and files, cropped to their boxes. Raises BadInput if one cannot be read or has none."""
    crops: list[np.ndarray] = []
    for place in map(Path, places):
        before = len(crops)
        masks = _of_folder(place) if place.is_dir() else _of_coco(place)
        crops += [mask for mask in masks if mask.sum() >= LEAST]
        if len(crops) == before:
            raise BadInput(f"{place} holds no masks of {LEAST} pixels or more; give one that does")
    return crops


def _of_folder(folder: Path) -> Iterator[np.ndarray]:
    from tapetum.video.images import folder_of_images

    if not (folder / "masks").is_dir():
        raise BadInput(f"{folder} has no folder masks; give one that tapetum scenes images made, or a file of COCO's instances")
    for path in folder_of_images(folder / "masks"):
        try:
            ids = np.asarray(Image.open(no_pipe(path)))
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} is damaged ({str(error)[:100]}); replace it or take it out of the folder") from error
        if ids.ndim != 2:
            raise BadInput(f"{path} is no grey image of numbers of instances; give masks as tapetum scenes images makes them")
        for number in np.unique(ids[ids > 0]):
            yield _tight(ids == number)


def _of_coco(path: Path) -> Iterator[np.ndarray]:
    try:
        content = read_json(path)
        sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in content["images"]}
        annotations = list(content["annotations"])
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; give a file of COCO's instances") from error
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} holds no instances as COCO has them ({type(error).__name__}: {error}); give such a file"
        ) from error
    for entry in annotations:
        if entry.get("segmentation") and not entry.get("iscrowd"):
            mask = _decoded(entry["segmentation"], sizes[entry["image_id"]])
            if mask.any():
                yield _tight(mask)


def _decoded(segmentation: Mapping[str, Any] | list, size: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, Mapping):
        return decode_mask(segmentation)
    image = Image.new("L", (size[1], size[0]))
    for polygon in segmentation:
        if len(polygon) >= 6:
            ImageDraw.Draw(image).polygon([float(v) for v in polygon], fill=1)
    return np.asarray(image).astype(bool)


def _tight(mask: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = Masks(masks=mask[None]).boxes.xyxy[0].astype(int)
    return mask[y1:y2, x1:x2].copy()
