"""Open anything that is a video: one function, `open_video`."""

import os
import re
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import named_path
from tapetum.core.reading import open_file
from tapetum.video.arrays import ArrayVideo, load_array
from tapetum.video.files import FileVideo
from tapetum.video.images import IMAGES, ImageVideo, folder_of_images
from tapetum.video.types import DEFAULT_RATE, Video, check_rate

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_video(source: Any, *, rate: float = DEFAULT_RATE) -> Video:
    """Open `source` as a `Video`.

    Args:
        source: a path to a video file or a still image; a folder of images (in natural order: f2 before f10); an
            .npy or .npz file; an array or torch tensor, uint8 or float 0..1, of shape (t, h, w, 3) or, gray,
            (t, h, w); or a `Video`, which is returned as it is.
        rate: frames per second of a source that has no clock of its own (a folder, an array, an image).

    Raises:
        BadInput: nothing there, nothing that can be decoded, or a source that is not what was asked for. Addresses of
            the network are refused, and no file can make the reader open another file or a connection.

    >>> import numpy as np
    >>> video = open_video(np.zeros((5, 8, 9, 3), np.uint8), rate=10)
    >>> len(video), video.height, video.width, video[-1].shape, video.timestamps[-1]
    (5, 8, 9, (8, 9, 3), np.float64(0.4))
    """
    if isinstance(source, Video):
        return source
    check_rate(rate)
    if not isinstance(source, (str, os.PathLike)):
        return ArrayVideo(source, rate=rate)
    if isinstance(source, str) and _URL.match(source) and not os.path.exists(source):
        raise BadInput(f"{source} is an address; only local files are opened: download it first and give its path")
    path = named_path(source)
    _must_be_readable(path)
    if path.is_dir():
        return ImageVideo(folder_of_images(path), name=os.path.basename(os.path.realpath(path)), rate=rate)
    if path.suffix.lower() in (".npy", ".npz"):
        return ArrayVideo(load_array(path), rate=rate, name=path.name)
    if path.suffix.lower() in IMAGES:
        return ImageVideo([path], name=path.name, rate=rate)
    return FileVideo(path)


def _must_be_readable(path: Path) -> None:
    """Raise `BadInput` unless `path` is a folder or a file with something in it."""
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
