"""Whole images at their own aspect ratio: nothing is cropped, so every cell keeps its position in them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from tapetum.encoders.features import Encoder, prepare

Look = Callable[[UInt8[np.ndarray, "h w 3"]], Float[Tensor, "d h w"]]
"""What makes a map of features of an image."""
_ROUND = 64


def whole_size(rows: int, columns: int, short_side: int, stride: int) -> tuple[int, int]:
    """Find the size at which an image is encoded: the shorter side as requested, the longer rounded down to a multiple of 64.

    Both are multiples of `stride`, the pixels of the encoder's coarsest cell (DINO's script for DAVIS, if strides allow).

    >>> whole_size(480, 854, 480, 16), whole_size(480, 854, 480, 14), whole_size(20, 10, 8, 32)
    ((480, 832), (476, 854), (32, 32))
    """
    longer = short_side * max(rows, columns) // min(rows, columns)
    unit = _ROUND if _ROUND % stride == 0 and longer >= _ROUND else stride
    short, long = max(short_side // stride, 1) * stride, max(longer // unit, 1) * unit
    return (short, long) if rows <= columns else (long, short)


def prepare_whole(encoder: Encoder, image: UInt8[np.ndarray, "h w 3"], short_side: int) -> Float[Tensor, "1 3 H W"]:
    """Prepare a whole image for an encoder, on its device; only the rounding of `whole_size` changes the shape."""
    rows, columns = image.shape[:2]
    size = whole_size(rows, columns, short_side, max(encoder.strides))
    how = replace(encoder.preprocessing, size=size, resize="squash", crop_fraction=1.0)
    return prepare(image[None], how, next(encoder.parameters()).device)


def level_of(encoder: Encoder, stride: int) -> int:
    """Choose the map for cells of `stride` pixels: the coarsest that is no coarser, else the finest."""
    fitting = [level for level, own in enumerate(encoder.strides) if own <= stride]
    return fitting[-1] if fitting else 0
