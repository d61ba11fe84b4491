"""What stands for an image or a video in Python: a path, an array, a tensor, an image of Pillow, a list of these.

Every verb that takes files takes these through here, so that what is no image is refused in the same words everywhere.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.video.arrays import ArrayVideo, to_numpy
from tapetum.video.types import DEFAULT_RATE, Frame, Video

PATH = str, os.PathLike
_IMAGE = "an image is a path, an array uint8 or float 0..1 of shape (h, w, 3), or an image of Pillow"


def list_sources(given: Any, what: str = "images") -> list[Any]:
    """List what was given, one or several: paths as `Path`, and images and videos in memory as they are.

    A list or tuple is taken as several, and so is an array or tensor (n, h, w, c) where `what` is images. Raises BadInput
    for what is neither a path nor in memory.

    >>> list_sources("a.png"), len(list_sources([np.zeros((4, 5, 3), np.uint8)])), len(list_sources(np.zeros((2, 4, 5, 3))))
    ([PosixPath('a.png')], 1, 2)
    """
    if isinstance(given, (list, tuple)):
        return [part for each in given for part in ([_source(each)] if isinstance(each, PATH) else list_sources(each, what))]
    if what == "images" and not isinstance(given, Video) and getattr(given, "ndim", 0) == 4:
        return list(to_numpy(given, "the array"))
    return [_source(given)]


def in_memory(source: Any) -> bool:
    """Tell whether a source is no path."""
    return not isinstance(source, PATH)


def name_of(source: Any, number: int) -> str:
    """Name a source in tables and messages: its path, or its number among what was given."""
    return str(source) if isinstance(source, PATH) else f"image-{number}"


def read_image(source: Any, name: str = "the image") -> Frame:
    """Read one image, upright, uint8 (h, w, 3), red, green, blue: of a file with several pages the first.

    Raises BadInput, which names `name`, for what is none, or is damaged.

    >>> read_image(np.full((2, 3), 0.5)).tolist()[0][0]
    [128, 128, 128]
    """
    from PIL import Image

    from tapetum.video.images import ImageVideo, image_rgb

    if isinstance(source, PATH):
        path = Path(source)
        return ImageVideo([path], name=path.name, rate=1.0)[0]
    if isinstance(source, Image.Image):
        return image_rgb(source, name)
    frames = source if isinstance(source, Video) else ArrayVideo(_stacked(source, name), rate=1.0, name=name)
    if len(frames) != 1:
        raise BadInput(f"{name} is a video of {len(frames)} frames; give one of them: {_IMAGE}")
    return frames[0]


def open_source(source: Any, name: str) -> Video:
    """Open what is in memory as a video: an image is one of a single frame. Raises BadInput for what is neither.

    >>> len(open_source(np.zeros((4, 5, 3), np.uint8), "a")), len(open_source(np.zeros((7, 4, 5, 3), np.uint8), "b"))
    (1, 7)
    """
    if isinstance(source, Video):
        return source
    image = getattr(source, "ndim", 3) != 4
    return ArrayVideo(read_image(source, name)[None] if image else source, rate=DEFAULT_RATE, name=name)


def label_of(source: Path | Video) -> str:
    """Name a file by its path, and a video by its name."""
    return source.name if isinstance(source, Video) else str(source)


def _stacked(source: Any, name: str) -> np.ndarray:
    """An array (1, h, w, c) of an image (h, w, c), gray (h, w), or one that has the 1 already."""
    array = to_numpy(source, name)
    if array.ndim == 2:
        return array[None, ..., None]
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        raise BadInput(f"{name} has shape {array.shape}; channels go last: array.transpose(1, 2, 0)")
    if array.ndim not in (3, 4):
        raise BadInput(f"{name} has shape {array.shape}; {_IMAGE}")
    return array[None] if array.ndim == 3 else array


def _source(given: Any) -> Any:
    from PIL import Image

    if isinstance(given, PATH):
        return Path(given)
    if isinstance(given, (Image.Image, Video, Sequence)) or hasattr(given, "__array__") or hasattr(given, "detach"):
        return given
    raise BadInput(f"{type(given).__name__} is no image; {_IMAGE}")
