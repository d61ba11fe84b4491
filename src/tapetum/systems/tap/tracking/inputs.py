"""A reference: another image or clip that shows the points which are tracked.

TAPIR's features of a query may come from any image; only those of neighbouring frames match better. A reference of another
aspect ratio is padded at its right or lower edge, so that nothing is stretched when both are resized for the network.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.tap.network.types import Size
from tapetum.video import open_video

MOST = 8.0
"""How many times as large a reference may become by being made longer."""


class Reference:
    """An image or clip that shows points, of any size, for a video of (height, width) `size`."""

    def __init__(self, source: Any, size: Size):
        """`source` is what `open_video` takes, or one image, uint8 (h, w, 3).

        Raises BadInput for one of quite another shape.
        """
        if isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[-1] == 3:
            source = source[None]
        self.video = open_video(source)
        self.size: Size = (self.video.height, self.video.width)
        self.padded = padded_size(self.size, size)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.video)

    def frames(self, begin: int, end: int) -> UInt8[np.ndarray, "t h w 3"]:
        """Read frames begin..end-1, made as long as `padded` by what is at their edge."""
        images = self.video[begin:end]
        down, right = (padded - size for padded, size in zip(self.padded, self.size, strict=True))
        return np.pad(images, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge") if down or right else images


def padded_size(size: Size, like: Size) -> Size:
    """Compute the least height and width at or above `size` whose ratio is that of `like`, up to rounding.

    Raises BadInput where that would be more than MOST times as large.

    >>> padded_size((100, 100), (480, 640)), padded_size((480, 640), (200, 200)), padded_size((240, 320), (480, 640))
    ((100, 133), (640, 640), (240, 320))
    """
    (height, width), (tall, wide) = size, like
    padded = max(height, round(width * tall / wide)), max(width, round(height * wide / tall))
    if padded[0] * padded[1] > MOST * height * width:
        raise BadInput(f"the reference has {width}x{height} pixels, the video {wide}x{tall}; cut it to a more similar shape")
    return padded


def most_confident_places(xy: Float[Tensor, "n t 2"], confidence: Float[Tensor, "n t"]) -> Float[Tensor, "n 3"]:
    """Find (t, x, y) of each point in the frame of its highest confidence."""
    best = confidence.argmax(1)
    return torch.cat([best[:, None].to(xy), xy[torch.arange(len(xy)), best]], 1)
