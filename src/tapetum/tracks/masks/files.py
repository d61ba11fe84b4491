"""Masks of objects through a video in files of other programs: COCO, PNG, DAVIS; and drawn on the video."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.core.files import whole_file
from tapetum.data.coco import CocoImage, instance, write_instances
from tapetum.data.segmentation import write_numbers
from tapetum.tracks.masks.clip import ClipMasks
from tapetum.types import Masks
from tapetum.video import Video
from tapetum.video.draw_regions import draw_regions
from tapetum.video.types import Frame


def write_coco(path: Path, objects: Mapping[int, ClipMasks], names: Mapping[int, str] | None = None) -> Path:
    """Write the masks of objects, by number, as COCO's instances: an image a frame, an annotation a mask that is not empty.

    Images have the number of their frame, and file names as `write_pngs` and ffmpeg's %05d count them. Raises BadInput as
    `write_instances`.
    """
    some = next(iter(objects.values()))

    def images() -> Iterator[CocoImage]:
        for frame in range(len(some)):
            shown = {number: masks.runs[frame] for number, masks in objects.items() if masks[frame].any()}
            yield CocoImage(
                id=frame,
                file_name=_name(frame),
                height=some.height,
                width=some.width,
                instances=[instance(number, runs, track_id=number) for number, runs in shown.items()],
            )

    return write_instances(path, images, names or {number: f"object {number}" for number in objects})


def write_pngs(folder: Path, masks: ClipMasks) -> None:
    """Write 00000.png, 00001.png, ... with the object white."""
    for frame in range(len(masks)):
        with whole_file(folder / _name(frame)) as temporary:
            Image.fromarray(masks[frame].astype(np.uint8) * 255).save(temporary, format="PNG")


def write_davis(folder: Path, objects: Mapping[int, ClipMasks]) -> None:
    """Write 00000.png, 00001.png, ... as a video of DAVIS has them: with a palette, the number of the object at each pixel.

    Where objects overlap, the later one of the mapping counts.
    """
    some = next(iter(objects.values()))
    for frame in range(len(some)):
        numbers = np.zeros((some.height, some.width), np.uint8)
        for number, masks in objects.items():
            numbers[masks[frame]] = number
        write_numbers(folder / _name(frame), numbers)


def draw_masks(video: Video, objects: Mapping[int, ClipMasks]) -> Iterator[Frame]:
    """Draw the masks on the frames of the video; each object keeps its colour."""
    for number, frame in enumerate(video):
        yield draw_regions(frame, masks=Masks(masks=np.stack([masks[number] for masks in objects.values()])))


def _name(frame: int) -> str:
    return f"{frame:05d}.png"
