"""Files of COCO (Lin et al., "Microsoft COCO", arXiv 1405.0312), read and written; DocLayNet and others have this form too.

    instances.json   {images: [{id, file_name, height, width}], categories: [{id, name}],
                      annotations: [{image_id, category_id, bbox (x, y, width, height), area, iscrowd, segmentation}]}
    captions.json    images, annotations (caption)

Every reader of COCO takes what is written here, pycocotools first. Unusual: boxes that are read have corners; annotations may
have no segmentation; masks are written as run-length text for single instances too, since polygons are not exact.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, write_lists
from tapetum.data.questions import Key
from tapetum.data.rle import decode_mask, encode_mask, segmentation_mask
from tapetum.types import Masks


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """One image and what is known of it."""

    id: int
    file_name: str
    """Relative to the folder of images."""
    height: int
    width: int
    instances: Sequence[Mapping[str, Any]] = ()
    """Of `instance`."""
    captions: Sequence[str] = ()


def instance(category: int, mask: Bool[np.ndarray, "h w"] | Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Describe an instance of a category by its mask (h, w), or its run-length text; box and area are those of the mask.

    `more` are further fields of its entry. Raises BadInput for an empty mask.
    """
    pixels = decode_mask(mask) if isinstance(mask, Mapping) else mask
    if not pixels.any():
        raise BadInput("the mask of an instance is empty; leave the instance out")
    x1, y1, x2, y2 = Masks(masks=pixels[None]).boxes.xyxy[0].astype(int).tolist()
    return {
        "category_id": int(category),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(pixels.sum()),
        "segmentation": dict(mask) if isinstance(mask, Mapping) else encode_mask(pixels),
        "iscrowd": 0,
        **more,
    }


def write_instances(path: str | Path, images: Callable[[], Iterable[CocoImage]], categories: Mapping[int, str]) -> Path:
    """Write instances. `images` is called twice, so that they need not be in memory; ids of annotations count from 1."""

    def instances(image: CocoImage) -> Sequence[Mapping[str, Any]]:
        for entry in image.instances:
            if entry["category_id"] not in categories:
                raise BadInput(f"an instance of {image.file_name} has category {entry['category_id']}; give its name too")
        return image.instances

    named = [{"id": number, "name": name, "supercategory": "thing"} for number, name in sorted(categories.items())]
    return write_lists(
        path, info={}, licenses=[], images=_images(images), annotations=_annotations(images, instances), categories=named
    )


def write_captions(path: str | Path, images: Callable[[], Iterable[CocoImage]]) -> Path:
    """Write captions. `images` is called twice, so that they need not be in memory; ids of annotations count from 1."""
    captions = _annotations(images, lambda image: [{"caption": caption} for caption in image.captions])
    return write_lists(path, info={}, licenses=[], images=_images(images), annotations=captions)


def _annotations(
    images: Callable[[], Iterable[CocoImage]], entries_of: Callable[[CocoImage], Sequence[Mapping[str, Any]]]
) -> Iterator[dict[str, Any]]:
    numbers = itertools.count(1)
    return ({"id": next(numbers), "image_id": image.id, **entry} for image in images() for entry in entries_of(image))


def _images(images: Callable[[], Iterable[CocoImage]]) -> Iterator[dict[str, Any]]:
    ids: set[int] = set()
    for image in images():
        if image.id in ids:
            raise BadInput(f"two images have the number {image.id}; numbers of images must differ")
        ids.add(image.id)
        yield {"id": image.id, "file_name": image.file_name, "height": image.height, "width": image.width}


_FARTHEST = 1e6


@dataclass(frozen=True, kw_only=True)
class InstanceAnnotation:
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
    things: tuple[InstanceAnnotation, ...]

    def masks(self) -> Bool[np.ndarray, "n h w"]:
        """Draw the masks of all things. Raises BadInput for one without a segmentation, or with a damaged one."""
        masks = np.zeros((len(self.things), *self.size), bool)
        for k, thing in enumerate(self.things):
            if thing.segmentation is None:
                raise BadInput(f"a {thing.label} of image {self.key} has no segmentation; read its box alone")
            masks[k] = segmentation_mask(thing.segmentation, self.size)
        return masks


def read_instances(file: str | Path, images: str | Path) -> list[Instances]:
    """Read all images of a file, those without a thing too; `images` is the folder of its file names."""
    file, images = Path(file), Path(images)
    names = {entry.key("id"): entry.text("name") for entry in entries(file, "categories")}
    listed = {entry.key("id"): entry for entry in entries(file, "images")}
    if not listed:
        raise BadInput(f"{file} has no images; copy it again")
    things: dict[Key, list[InstanceAnnotation]] = {key: [] for key in listed}
    for entry in entries(file, "annotations"):
        image_id, category = entry.key("image_id"), entry.key("category_id")
        if image_id not in things or category not in names:
            raise BadInput(f"{entry.where} is of image {image_id} and category {category}, which the file lacks; copy it again")
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


def corners(entry: JsonEntry) -> tuple[float, float, float, float]:
    """Compute the corners of the `bbox` of an entry. Raises BadInput where it is none."""
    box = entry.fields.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_number, box)) or min(box[2:]) < 0:
        raise BadInput(f"bbox of {entry.where} is {str(box)[:60]}; wanted x, y, width, height: copy the file again")
    x, y, w, h = map(float, box)
    return x, y, x + w, y + h


def _thing(entry: JsonEntry, label: str) -> InstanceAnnotation:
    x1, y1, x2, y2 = corners(entry)
    area = entry.fields.get("area")
    area = area if area is not None else (x2 - x1) * (y2 - y1)
    if not _number(area) or area < 0:
        raise BadInput(f"area of {entry.where} is {str(area)[:60]}; wanted square pixels: copy the file again")
    segmentation = entry.fields.get("segmentation") or None
    if not isinstance(segmentation, (list, Mapping, type(None))):
        raise BadInput(f"segmentation of {entry.where} is {str(segmentation)[:60]}; wanted polygons or runs: copy it again")
    crowd = bool(entry.whole("iscrowd")) if "iscrowd" in entry else False
    return InstanceAnnotation(label=label, xyxy=(x1, y1, x2, y2), area=float(area), crowd=crowd, segmentation=segmentation)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _FARTHEST**2
