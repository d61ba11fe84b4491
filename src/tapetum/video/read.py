"""Opening videos and images: a path, an array, a tensor, a Pillow image, a list of these.

All commands open files through this module, so that invalid inputs get the same messages everywhere.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import named_path
from tapetum.core.reading import open_file
from tapetum.video.arrays import ArrayVideo, load_array, to_numpy
from tapetum.video.files import FileVideo
from tapetum.video.images import IMAGES, ImageVideo, folder_of_images
from tapetum.video.types import DEFAULT_RATE, Frame, Video, check_rate

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_video(source: Any, *, frame_rate: float = DEFAULT_RATE) -> Video:
    """Open `source` as a `Video`: a path to a video file or a still image; a folder of images (f2 before f10); an .npy or .npz
    file; an episode of a LeRobot data set, as FOLDER#episode=3; an array or torch tensor, uint8 or float 0..1, (t, h, w, 3) or
    (t, h, w); or a `Video`, returned as it is. `frame_rate` is for those without a clock of their own.

    Raises BadInput if the source does not exist, cannot be decoded, or is of the wrong kind. Network addresses are refused, and
    no file can make the reader open another file or a connection.

    >>> import numpy as np
    >>> video = open_video(np.zeros((5, 8, 9, 3), np.uint8), frame_rate=10)
    >>> len(video), video.height, video.width, video[-1].shape, video.timestamps[-1]
    (5, 8, 9, (8, 9, 3), np.float64(0.4))
    """
    if isinstance(source, Video):
        return source
    check_rate(frame_rate)
    if not isinstance(source, (str, os.PathLike)):
        return ArrayVideo(source, frame_rate=frame_rate)
    if isinstance(source, str) and _URL.match(source) and not os.path.exists(source):
        raise BadInput(f"{source} is an address; only local files are opened: download it first and give its path")
    if "#" in os.fspath(source) or os.path.isdir(source):
        from tapetum.video.episodes import open_episode, parse_episode_address

        if (address := parse_episode_address(source)) is not None:
            return open_episode(address)
    path = named_path(source)
    _must_be_readable(path)
    if path.is_dir() or path.suffix.lower() in IMAGES:
        from tapetum.video.images import ImageVideo

        if not path.is_dir():
            return ImageVideo([path], name=path.name, frame_rate=frame_rate)
        return ImageVideo(folder_of_images(path), name=os.path.basename(os.path.realpath(path)), frame_rate=frame_rate)
    if path.suffix.lower() in (".npy", ".npz"):
        return ArrayVideo(load_array(path), frame_rate=frame_rate, name=path.name)
    return FileVideo(path)


def _must_be_readable(path: Path) -> None:
    """Raise `BadInput` unless `path` is a folder or a non-empty file."""
    try:
        if path.is_dir():
            return
        if not path.exists():
            raise BadInput(f"there is no file {path}; give the path of a video, an image, a folder of frames or an array")
        if not path.is_file():
            raise BadInput(f"{path} is not a regular file; give the path of a video, an image, a folder of frames or an array")
        if path.stat().st_size == 0:
            raise BadInput(f"{path} is empty (0 bytes); give a file with a video or an image in it")
        with open_file(path):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot read {path}: {reason}; give the path of a video that may be read") from error


PATH = str, os.PathLike
_IMAGE = "an image is a path, an array uint8 or float 0..1 of shape (h, w, 3), or an image of Pillow"


def list_sources(given: Any, what: str = "images") -> list[Any]:
    """List one or several sources: paths as `Path`, and images and videos in memory unchanged; a list is several, and so is an
    array (n, h, w, c) if `what` is images. Raises BadInput for anything else.

    >>> list_sources("a.png"), len(list_sources([np.zeros((4, 5, 3), np.uint8)])), len(list_sources(np.zeros((2, 4, 5, 3))))
    ([PosixPath('a.png')], 1, 2)
    """
    if isinstance(given, (list, tuple)):
        return [part for each in given for part in ([_source(each)] if isinstance(each, PATH) else list_sources(each, what))]
    if what == "images" and not isinstance(given, Video) and getattr(given, "ndim", 0) == 4:
        return list(to_numpy(given, "the array"))
    return [_source(given)]


def in_memory(source: Any) -> bool:
    """Check whether a source is not a path."""
    return not isinstance(source, PATH)


def name_of(source: Any, number: int) -> str:
    """Name a source in tables and messages: its path, its address if it is a copy, or its index in the input."""
    return str(source) if isinstance(source, PATH) else f"image-{number}"


def read_image(source: Any, name: str = "the image") -> Frame:
    """Read one image, upright, uint8 (h, w, 3), red, green, blue; the first page of a file with several.

    Raises BadInput, naming `name`, if it is not an image, or is damaged.

    >>> read_image(np.full((2, 3), 0.5)).tolist()[0][0]
    [128, 128, 128]
    """
    from PIL import Image

    from tapetum.video.images import image_rgb

    if isinstance(source, PATH):
        path = Path(source)
        return ImageVideo([path], name=path.name, frame_rate=1.0)[0]
    if isinstance(source, Image.Image):
        return image_rgb(source, name)
    frames = source if isinstance(source, Video) else ArrayVideo(_stacked(source, name), frame_rate=1.0, name=name)
    if len(frames) != 1:
        raise BadInput(f"{name} is a video of {len(frames)} frames; give one of them: {_IMAGE}")
    return frames[0]


def open_source(source: Any, name: str) -> Video:
    """Open data in memory as a video: an image becomes a single frame. Raises BadInput for anything else.

    >>> len(open_source(np.zeros((4, 5, 3), np.uint8), "a")), len(open_source(np.zeros((7, 4, 5, 3), np.uint8), "b"))
    (1, 7)
    """
    if isinstance(source, Video):
        return source
    image = getattr(source, "ndim", 3) != 4
    return ArrayVideo(read_image(source, name)[None] if image else source, frame_rate=DEFAULT_RATE, name=name)


def label_of(source: Path | Video) -> str:
    """Name a file by its path, or its address if it is a copy, and a video by its name."""
    return source.name if isinstance(source, Video) else str(source)


def _stacked(source: Any, name: str) -> np.ndarray:
    """An array (1, h, w, c) from an image (h, w, c), gray (h, w), or one that already has the 1."""
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
