"""Sampling feature maps at positions between their cells.

Coordinates are raster coordinates of the map: (0, 0) is the outer corner of the first cell, so that the centre of cell
(row i, column j) is at x = j + 0.5, y = i + 0.5. Converting between grids is therefore one multiplication per axis.
"""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tapetum.core.devices import send_to_device


def constant(numbers: Sequence[float] | Sequence[Sequence[float]], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Put numbers on the device of `like`, without waiting on the host, in its dtype unless another is set.

    >>> constant([1, 2], torch.zeros(3))
    tensor([1., 2.])
    """
    return send_to_device(torch.tensor(numbers, dtype=dtype or like.dtype), like.device)


def scale_xy(xy: Float[Tensor, "... 2"], source: tuple[int, int], target: tuple[int, int]) -> Float[Tensor, "... 2"]:
    """Convert (x, y) from a raster of (height, width) `source` to one of (height, width) `target`.

    >>> scale_xy(torch.tensor([10.0, 10.0]), (20, 40), (5, 80)).tolist()
    [20.0, 2.5]
    """
    if source == target:
        return xy
    return xy * constant([target[1] / source[1], target[0] / source[0]], xy)


def resize_frames(
    frames: Float[Tensor, "f c h w"], size: tuple[int, int], antialias: bool = False
) -> Float[Tensor, "f c h2 w2"]:
    """Resize frames bilinearly to (height, width), with aligned corners; `antialias` matters only when shrinking."""
    if frames.shape[-2:] == size:
        return frames
    return F.interpolate(frames, size=size, mode="bilinear", align_corners=False, antialias=antialias)


def sample_video(maps: Float[Tensor, "b t h w c"], points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n c"]:
    """Sample `maps` trilinearly at points (t, x, y); x and y in raster coordinates of the maps, t in frames.

    Integer t is exactly that frame. Outside the maps the nearest border value is used (TAPIR, section 3.1, samples the
    features of a query this way). The result is float32 whatever the precision of the maps.
    """
    frames, height, width = maps.shape[1:4]
    last = constant([frames - 1, width - 1, height - 1], points, torch.long)
    index = points.float() - constant([0.0, 0.5, 0.5], points, torch.float32)
    index = torch.minimum(index.clamp(min=0), last)
    low = index.floor()
    fraction = index - low
    low = low.long()
    batch = torch.arange(maps.shape[0], device=points.device)[:, None]
    total = torch.zeros(())
    for corner in product((0, 1), repeat=3):
        step = constant(corner, points, torch.long)
        t, x, y = torch.minimum(low + step, last).unbind(-1)
        weight = torch.where(step.bool(), fraction, 1 - fraction).prod(-1, keepdim=True)
        total = total + weight * maps[batch, t, y, x].float()
    return total
