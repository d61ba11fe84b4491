"""Videos made of pictures: a folder of frames, or one still picture."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tapetum.errors import BadInput
from tapetum.video.arrays import as_rgb
from tapetum.video.types import MAX_PIXELS, Frame, Report, Video

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"))
"""File extensions that are taken as pictures."""

_TURNED = frozenset(("JPEG", "MPO", "TIFF", "WEBP"))
"""Formats whose header may say that the picture is turned."""


class PictureVideo(Video):
    """A video whose frames are picture files of one size, turned upright as their EXIF data say."""

    def __init__(self, paths: list[Path], *, name: str, rate: float):
        self.name = name
        self._paths = paths
        self._rate = float(rate)
        self._seen: set[int] = set()
        self.width, self.height = _size(paths[0])
        for path in paths[1:]:
            width, height = _size(path)
            if (width, height) != (self.width, self.height):
                raise BadInput(
                    f"{path} is {width}x{height}, but {paths[0].name} is {self.width}x{self.height}: "
                    "frames of one video have one size; resize it or take it out of the folder"
                )
        self._load(0)

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def rate(self) -> float:
        return self._rate

    @property
    def timestamps(self) -> np.ndarray:
        return np.arange(len(self), dtype=np.float64) / self._rate

    @property
    def report(self) -> Report:
        count, seen = len(self), len(self._seen)
        return Report(promised=count, decoded=seen, damaged=0, complete=seen == count)

    def __iter__(self) -> Iterator[Frame]:
        return map(self._load, range(len(self)))

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        return map(self._load, indices)

    def _load(self, index: int) -> Frame:
        path = self._paths[index]
        with _opened(path) as image:
            try:
                upright = ImageOps.exif_transpose(image) if image.format in _TURNED else image
                frame = _pixels(upright)
            except (OSError, ValueError, SyntaxError, EOFError) as error:
                reason = " ".join(str(error).split())
                raise BadInput(f"{path} is damaged ({reason}); replace it or take it out of the folder") from error
        if frame.shape[:2] != (self.height, self.width):
            raise BadInput(f"{path} has changed its size since the video was opened; open the video again")
        self._seen.add(index)
        return frame


def folder_of_pictures(folder: Path) -> list[Path]:
    """Pictures of a folder in natural order; hidden files and folders inside are passed over.

    Raises `BadInput` where there are none.
    """
    names = [entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]
    names = [name for name in names if Path(name).suffix.lower() in PICTURES]
    if not names:
        raise BadInput(f"the folder {folder} holds no pictures (png, jpg, ...); give a folder of frames or a video file")
    return [folder / name for name in sorted(names, key=natural_key)]


def natural_key(name: str) -> tuple:
    """Key that sorts numbers in names by value.

    >>> sorted(["f10.png", "f2.png", "f1.png"], key=natural_key)
    ['f1.png', 'f2.png', 'f10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part.lower() for place, part in enumerate(parts)), name


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Image.DecompressionBombError as error:
        raise BadInput(f"{path} is too large a picture ({error}); give a smaller one") from error
    except (OSError, ValueError, SyntaxError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise BadInput(f"cannot read {path}: {error.strerror}; give a picture that may be read") from error
        raise BadInput(f"{path} is not a picture that can be read; give png, jpg or another common format") from error


def _size(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from its header."""
    with _opened(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadInput(f"{path} is {width}x{height}; pictures of more than {MAX_PIXELS} pixels are refused")
        turned = image.format in _TURNED and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)


def _pixels(image: Image.Image) -> Frame:
    """uint8 RGB; alpha is laid on black, 16 bits are cut to 8."""
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        return as_rgb((np.clip(wide, 0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return as_rgb(np.asarray(image.convert("RGBA")))
    return as_rgb(np.asarray(image.convert("RGB")))
