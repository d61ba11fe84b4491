"""Checked inputs of a tracker: queries and single frames."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.types.checks import unmasked

_FLAT = 2.0
"""Grey levels; a frame whose standard deviation is less is of one colour."""


def check_queries(queries: Any, frames: int, size: tuple[int, int]) -> Float[Tensor, "n 3"]:
    """Check queries (t, x, y) as a float32 tensor.

    Raises BadInput, naming the first bad one, unless each lies within 0..frames-1 and the image of (height, width) `size`.
    """
    try:
        array = np.array(unmasked(queries, "queries"), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BadInput(f"queries are not numbers ({error}); give (t, x, y) for each point") from error
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise BadInput(f"queries have shape {array.shape}; give (n, 3), one or more points: t, x, y of each")
    most = np.array([frames - 1, size[1], size[0]])
    bad = ~(np.isfinite(array) & (array >= 0) & (array <= most)).all(1)
    if bad.any():
        t, x, y = array[number := int(bad.argmax())]
        raise BadInput(
            f"query {number} is t={t:g}, x={x:g}, y={y:g}; t must be in 0..{frames - 1}, x in 0..{size[1]}, y in 0..{size[0]}"
        )
    return torch.from_numpy(array)


def check_frame(frame: Any, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Check a frame, of a stream of (height, width) `size` if that is set; any strides are accepted.

    Raises BadInput for other types and shapes.
    """
    frame = np.asarray(unmasked(frame, "a frame"))
    if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise BadInput(f"a frame is {frame.dtype} of shape {frame.shape}; give uint8 (height, width, 3)")
    if size is not None and frame.shape[:2] != size:
        raise BadInput(f"a frame is {frame.shape[0]}x{frame.shape[1]} where the stream has {size[0]}x{size[1]}; start again")
    return np.require(frame, requirements=["C", "W"])  # torch takes no strides below 0, as a view of BGR as RGB has


def is_flat(frame: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Check whether a frame has a single colour, such as black, and so shows no point.

    >>> is_flat(np.zeros((16, 16, 3), np.uint8)), is_flat(np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
    (True, False)
    """
    return bool(frame[::8, ::8].std() < _FLAT)
