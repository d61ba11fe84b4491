"""The JPEG frames of a clip: encoded, measured by their header alone, decoded, and read from their file only when needed."""

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from tapetum.systems.tapvid3d.format.npz import Damage, Npz

KEY = "images_jpeg_bytes"
"""Name of the array of frames."""

PIXELS = 2**26
"""Most pixels of an image that is decoded."""

_START = b"\xff\xd8\xff"
"""The first bytes of every JPEG file."""


def encode(image: UInt8[np.ndarray, "h w 3"], quality: int = 95) -> bytes:
    """Encode a frame as a JPEG file."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=quality)
    return data.getvalue()


def jpeg_size(data: bytes, where: str) -> tuple[int, int]:
    """Return height and width from the header of a JPEG, of which the end need not be there. Raises `Damage`.

    >>> jpeg_size(encode(np.zeros((16, 24, 3), np.uint8))[:-10], "frame 0")
    (16, 24)
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            w, h = image.size
    except UnidentifiedImageError as error:
        raise Damage("images", f"{where} is no JPEG") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Damage("images", f"{where} is no JPEG ({' '.join(str(error).split())})") from error
    if h * w > PIXELS:
        raise Damage("images", f"{where} is an image of {w}x{h}; it may have up to {PIXELS} pixels")
    return h, w


def decode(data: bytes, where: str) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a JPEG as an image. Raises `Damage`."""
    jpeg_size(data, where)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise Damage("images", f"{where} is no whole JPEG ({' '.join(str(error).split())})") from error


class StoredJpegs(Sequence[bytes]):
    """The frames of a file, read when one is asked for; `size` is (height, width). Raises `Damage`."""

    def __init__(self, path: Path, file: Npz):
        shape, dtype = file.header(KEY)
        if len(shape) != 1 or not shape[0] or not (dtype.hasobject or dtype.kind == "S"):
            raise file.damage("images", f"holds {KEY} as {dtype} {shape}; it must be JPEG files as bytes (t,)")
        self._path, self._length = path, shape[0]
        beginning = file.head(KEY, 2**20)
        first = beginning.find(_START)
        self.size = jpeg_size(beginning[first:] if first >= 0 else self[0], f"{path}: frame 0")

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        return self._frames[index]

    @cached_property
    def _frames(self) -> list[bytes]:
        with Npz(self._path) as file:
            return file.byte_strings(KEY)
