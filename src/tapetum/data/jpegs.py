"""JPEGs that are decoded later, on the device that trains (torchvision; by nvJPEG on CUDA, elsewhere by libjpeg on the CPU).

Workers read the header alone, which says how large the image is. What a device might decode otherwise than Pillow, or cut off
without a word, is left to the workers: other formats, CMYK, colours stored as red, green and blue, a file without its end.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from tapetum.core.errors import MissingExtra
from tapetum.core.reading import read_bytes
from tapetum.data.files import StoredFile
from tapetum.video.images import ORIENTATION, SIDEWAYS
from tapetum.video.types import MAX_PIXELS

_END, _TAIL = b"\xff\xd9", 1024
"""The marker of the end, and in how many bytes it is looked for: some programs write a few behind it."""


@dataclass(frozen=True)
class EncodedImage:
    """A JPEG with three channels or one, that is decoded later."""

    content: bytes
    shape: tuple[int, int]
    """Height and width of the upright image."""
    orientation: int
    """EXIF's number, 1 to 8: how the stored image is to be turned."""


@runtime_checkable
class EncodedSequence(Protocol):
    """Images by number that can be had before they are decoded."""

    def encoded(self, k: int, /) -> "EncodedImage | UInt8[np.ndarray, 'h w 3']":
        """Read image k without decoding it if a device can do that, else decode it. Raises BadInput for a damaged one."""
        ...


def encoded_image(file: StoredFile) -> EncodedImage | None:
    """Read a JPEG and its header; None for what is to be decoded by Pillow, which also says what is wrong with it."""
    try:
        content = file.content if isinstance(file.content, bytes) else read_bytes(file.content)
        if _END not in content[-_TAIL:]:
            return None
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            # Pillow calls a JPEG with several images MPO; Adobe's transform 0 says that three channels are not YCbCr
            plain = image.format == "JPEG" and image.mode in ("RGB", "L") and image.info.get("adobe_transform") != 0
            height, width = image.height, image.width
            if not plain or height * width > MAX_PIXELS:
                return None
            orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # whatever damage makes Pillow stumble over; the error is raised where the file is decoded
        return None
    orientation = orientation if orientation in range(1, 9) else 1
    return EncodedImage(content, (width, height) if orientation in SIDEWAYS else (height, width), orientation)


def check_decoder() -> None:
    """Raise MissingExtra where torchvision is not installed."""
    try:
        import torchvision.io  # noqa: F401
    except ImportError as error:
        raise MissingExtra("torchvision", "decoding", "decoding on the device") from error


def decode_on_device(images: Sequence[EncodedImage], device: torch.device) -> "list[UInt8[Tensor, '3 h w'] | None]":
    """Decode images on a device, together, and turn them upright; None for each that cannot be decoded there."""
    if not images:
        return []
    try:
        decoded: list[Tensor | None] = list(_decode(images, device))
    except RuntimeError:  # of one of them, torchvision does not say which
        decoded = [_decoded_alone(each, device) for each in images]
    return [
        None if x is None or x.shape[1:] != _stored(each) else _upright(x, each.orientation)
        for x, each in zip(decoded, images, strict=True)
    ]


def _decode(images: Sequence[EncodedImage], device: torch.device) -> list[Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg

    contents = [torch.frombuffer(bytearray(each.content), dtype=torch.uint8) for each in images]
    place = device if device.type == "cuda" else torch.device("cpu")
    decoded = decode_jpeg(contents, mode=ImageReadMode.RGB, device=place)
    return [x.to(device) for x in decoded]


def _decoded_alone(image: EncodedImage, device: torch.device) -> Tensor | None:
    try:
        return _decode([image], device)[0]
    except RuntimeError:
        return None


def _stored(image: EncodedImage) -> tuple[int, int]:
    height, width = image.shape
    return (width, height) if image.orientation in SIDEWAYS else (height, width)


def _upright(x: UInt8[Tensor, "3 h w"], orientation: int) -> UInt8[Tensor, "3 a b"]:
    """Turn a stored image as EXIF's orientation says: first over its diagonal (5 to 8), then left-right, then upside down."""
    if orientation in SIDEWAYS:
        x = x.transpose(1, 2)
    mirrored = [axis for axis, which in ((2, (2, 3, 6, 7)), (1, (3, 4, 7, 8))) if orientation in which]
    return x.flip(mirrored) if mirrored else x
