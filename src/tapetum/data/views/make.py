"""Views of batches of images, as tensors that a network takes."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor

from tapetum.data.views.colour import blur_radius, recolour
from tapetum.data.views.config import View
from tapetum.data.views.draw import Drawn, draw

Image = UInt8[np.ndarray, "h w 3"]
_PURPOSE = 0x76696577
"""Begins the streams of views, apart from other uses of the same seed."""


class Views:
    """Makes the same views of an image that is sample n whatever else is in the batch, and whoever makes it."""

    def __init__(
        self,
        views: Sequence[View],
        *,
        seed: int,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (255.0, 255.0, 255.0),
    ):
        """Take what each view is, and mean and deviation of the channels in units of 0..255, as an encoder has them."""
        self.views, self.seed = tuple(views), seed
        self.mean, self.std = (torch.tensor(value).view(3, 1, 1) / 255 for value in (mean, std))

    def __call__(self, images: Sequence[Image], numbers: Sequence[int]) -> list[Float32[Tensor, "b 3 s s"]]:
        """Make every view of the images (red, green, blue; 0..255; of any sizes), which are samples `numbers`."""
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        made = []
        for which, view in enumerate(self.views):
            drawn = draw(view, sizes, self.seed, _PURPOSE + which, numbers)
            x = recolour(crop(images, drawn, view).contiguous().float().div_(255), drawn, blur_radius(view.sigma[1]))
            made.append(x.sub_(self.mean).div_(self.std))
        return made


def crop(images: Sequence[Image], drawn: Drawn, view: View) -> UInt8[Tensor, "b 3 s s"]:
    """Cut the boxes out and bring them to the view's size, mirrored where that was drawn."""
    made = torch.empty(len(images), view.size, view.size, 3, dtype=torch.uint8).movedim(-1, 1)
    for out, image, (top, left, rows, columns), mirrored in zip(
        made, images, drawn.boxes.tolist(), drawn.mirrored.tolist(), strict=True
    ):
        part = torch.from_numpy(image[top : top + rows, left : left + columns]).movedim(-1, 0)[None]
        part = F.interpolate(part, (view.size, view.size), mode=view.interpolation, align_corners=False, antialias=True)[0]
        out.copy_(part.flip(-1) if mirrored else part)
    return made


def runs(views: Sequence[View]) -> list[slice]:
    """Give neighbouring views of one size as slices: what can pass a network in one batch.

    >>> runs([View(size=64), View(size=64), View(size=32)])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    cuts = [0, *(k + 1 for k, (one, other) in enumerate(pairwise(views)) if one.size != other.size), len(views)]
    return [slice(a, b) for a, b in pairwise(cuts)]
