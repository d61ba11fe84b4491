"""JPEGs that are decoded later, on the device that trains (torchvision; by nvJPEG on CUDA, elsewhere by libjpeg on the CPU).

Workers read the header alone (`tapetum.data.files.encoded_image`), which says how large the image is. They decode what a
device might decode otherwise than Pillow, or cut off without a word: other formats, CMYK, red, green and blue as they are, a
file without its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from tapetum.core.errors import MissingExtra


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
    return (width, height) if image.orientation > 4 else (height, width)


def _upright(x: UInt8[Tensor, "3 h w"], orientation: int) -> UInt8[Tensor, "3 a b"]:
    """Turn a stored image as EXIF's orientation says: first over its diagonal (5 to 8), then left-right, then upside down."""
    if orientation > 4:
        x = x.transpose(1, 2)
    mirrored = [axis for axis, which in ((2, (2, 3, 6, 7)), (1, (3, 4, 7, 8))) if orientation in which]
    return x.flip(mirrored) if mirrored else x
