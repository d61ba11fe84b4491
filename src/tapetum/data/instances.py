"""Things in images, with boxes and masks, in COCO's form (Lin et al., arXiv 1405.0312); DocLayNet and others have it too.

    FILE.json    {images: [{id, file_name, height, width}], categories: [{id, name}],
                  annotations: [{image_id, category_id, bbox, area, iscrowd, segmentation}]}

`tapetum.data.coco` writes such files. Unusual: boxes are x, y, width, height there and corners here; an annotation may have no
segmentation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput
from tapetum.data.entries import Entry, entries
from tapetum.data.polygons import segmentation_mask
from tapetum.data.questions import Key

_FARTHEST = 1e6


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing in an image."""

    label: str
    xyxy: tuple[float, float, float, float]
    """Its box in raster pixels."""
    area: float
    """Of its mask, in square pixels; of its box where the file does not say."""
    crowd: bool
    """Many that were not told apart."""
    segmentation: Sequence[Sequence[float]] | Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Instances:
    """An image and the things in it."""

    key: Key
    image: Path
    size: tuple[int, int]
    """Height and width."""
    things: tuple[Thing, ...]

    def masks(self) -> Bool[np.ndarray, "n h w"]:
        """Draw the masks of all things. Raises BadInput for one without a segmentation, or with a damaged one."""
        masks = np.zeros((len(self.things), *self.size), bool)
        for k, thing in enumerate(self.things):
            if thing.segmentation is None:
                raise BadInput(f"a {thing.label} of image {self.key} has no segmentation; read its box alone")
            masks[k] = segmentation_mask(thing.segmentation, self.size)
        return masks


def read_instances(file: str | Path, images: str | Path) -> list[Instances]:
    """Read all images of a file, those without a thing too; `images` is the folder of its file names.

    Raises BadInput for a file that is missing or damaged, and things of an image or category that it has not.
    """
    file, images = Path(file), Path(images)
    names = {entry.key("id"): entry.text("name") for entry in entries(file, "categories")}
    listed = {entry.key("id"): entry for entry in entries(file, "images")}
    if not listed:
        raise BadInput(f"{file} has no images; copy it anew")
    things: dict[Key, list[Thing]] = {key: [] for key in listed}
    for entry in entries(file, "annotations"):
        image_id, category = entry.key("image_id"), entry.key("category_id")
        if image_id not in things or category not in names:
            raise BadInput(
                f"{entry.where} is of image {image_id} and category {category}, of which the file lacks one; copy it anew"
            )
        things[image_id].append(_thing(entry, names[category]))
    return [
        Instances(
            key=key,
            image=images / entry.file_name("file_name"),
            size=(entry.whole("height"), entry.whole("width")),
            things=tuple(things[key]),
        )
        for key, entry in listed.items()
    ]


def corners(entry: Entry) -> tuple[float, float, float, float]:
    """Return the corners of the `bbox` of an entry. Raises BadInput where it is none."""
    box = entry.fields.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_number, box)) or min(box[2:]) < 0:
        raise BadInput(f"bbox of {entry.where} is {str(box)[:60]}; wanted x, y, width, height: copy the file anew")
    x, y, w, h = map(float, box)
    return x, y, x + w, y + h


def _thing(entry: Entry, label: str) -> Thing:
    x1, y1, x2, y2 = corners(entry)
    area = entry.fields.get("area")
    area = area if area is not None else (x2 - x1) * (y2 - y1)
    if not _number(area) or area < 0:
        raise BadInput(f"area of {entry.where} is {str(area)[:60]}; wanted square pixels: copy the file anew")
    segmentation = entry.fields.get("segmentation") or None
    if not isinstance(segmentation, (list, Mapping, type(None))):
        raise BadInput(
            f"segmentation of {entry.where} is {str(segmentation)[:60]}; wanted polygons or runs: copy the file anew"
        )
    crowd = bool(entry.whole("iscrowd")) if "iscrowd" in entry else False
    return Thing(label=label, xyxy=(x1, y1, x2, y2), area=float(area), crowd=crowd, segmentation=segmentation)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _FARTHEST**2
