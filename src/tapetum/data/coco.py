"""Files of COCO (Lin et al., "Microsoft COCO", arXiv 1405.0312): instances and captions.

    instances.json   images, annotations (bbox x, y, width, height; area; segmentation as run-length text), categories
    captions.json    images, annotations (caption)

Every reader of COCO takes these, pycocotools first. Unusual: masks are written as run-length text for single instances too,
not as polygons, since polygons are not exact; readers know both.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput
from tapetum.data.json_files import write_lists
from tapetum.data.rle import decode_mask, encode_mask
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
    """Return an instance of a category by its mask (h, w), or its run-length text; box and area are those of the mask.

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
    """Write instances. `images` is called twice, so that they need not be in memory; ids of annotations count from 1.

    Raises BadInput for an instance of no category, an image id that comes twice, and a file that cannot be written.
    """

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for image in images():
            for entry in image.instances:
                number += 1
                if entry["category_id"] not in categories:
                    raise BadInput(f"an instance of {image.file_name} has category {entry['category_id']}; give its name too")
                yield {"id": number, "image_id": image.id, **entry}

    named = [{"id": number, "name": name, "supercategory": "thing"} for number, name in sorted(categories.items())]
    return write_lists(path, info={}, licenses=[], images=_images(images), annotations=annotations(), categories=named)


def write_captions(path: str | Path, images: Callable[[], Iterable[CocoImage]]) -> Path:
    """Write captions. `images` is called twice, so that they need not be in memory; ids of annotations count from 1."""

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for image in images():
            for caption in image.captions:
                number += 1
                yield {"id": number, "image_id": image.id, "caption": caption}

    return write_lists(path, info={}, licenses=[], images=_images(images), annotations=annotations())


def _images(images: Callable[[], Iterable[CocoImage]]) -> Iterator[dict[str, Any]]:
    ids: set[int] = set()
    for image in images():
        if image.id in ids:
            raise BadInput(f"two images have the number {image.id}; numbers of images must differ")
        ids.add(image.id)
        yield {"id": image.id, "file_name": image.file_name, "height": image.height, "width": image.width}
