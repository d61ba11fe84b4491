"""Colours, blur and solarising of batches of pictures, float 0..1, each picture by its own numbers.

The arithmetic is torchvision's (`transforms.functional`, on float tensors), to which every function here is equal.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tapetum.data.views.draw import BRIGHTNESS, CONTRAST, HUE, NEUTRAL, SATURATION, Drawn

Pictures = Float[Tensor, "b 3 h w"]
Numbers = Float[Tensor, " b"]

_GREY = (0.2989, 0.587, 0.114)
_CACHED = 400_000
"""Numbers that are worked on together."""


def greys(pictures: Pictures) -> Float[Tensor, "b 1 h w"]:
    """Give the luma of each pixel."""
    red, green, blue = pictures.unbind(1)
    return (_GREY[0] * red).add_(green, alpha=_GREY[1]).add_(blue, alpha=_GREY[2])[:, None]


def brighten(pictures: Pictures, factors: Numbers) -> Pictures:
    """Multiply."""
    return (pictures * _each(factors)).clamp_(0, 1)


def contrast(pictures: Pictures, factors: Numbers) -> Pictures:
    """Mix with the mean grey of each picture."""
    return _mix(pictures, greys(pictures).mean((1, 2, 3), keepdim=True), factors)


def saturate(pictures: Pictures, factors: Numbers) -> Pictures:
    """Mix with the greys of each pixel."""
    return _mix(pictures, greys(pictures), factors)


def turn_hue(pictures: Pictures, turns: Numbers) -> Pictures:
    """Turn the hue; a whole turn is 1.

    With value v and chroma c, a channel is v - c * w, where w is 0 over a third of the circle, 1 over another, and goes
    linearly between: that is HSV without its six cases.
    """
    red, green, blue = pictures.movedim(1, 0).contiguous()
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    two = 2 * chroma
    blues, greens = (red - green).add_(two, alpha=2), (blue - red).add_(two)
    hue = torch.where(red == value, green - blue, torch.where(green == value, greens, blues))
    hue.div_(chroma.clamp(min=1e-12)).add_(6 * turns.view(-1, 1, 1))  # where chroma is 0, so is what is divided
    turned = torch.empty_like(pictures)
    for channel, shift in enumerate((5.0, 3.0, 1.0)):
        k = hue + shift
        k.sub_((k / 6).floor_(), alpha=6)
        turned[:, channel] = value - torch.minimum(k, 4 - k).clamp_(0, 1).mul_(chroma)
    return turned


def solarise(pictures: Pictures) -> Pictures:
    """Turn round what is a half or more."""
    return torch.where(pictures >= 0.5, 1 - pictures, pictures)


def blur(pictures: Pictures, sigma: Numbers, radius: int) -> Pictures:
    """Blur with a Gaussian cut off at `radius` pixels; pictures are mirrored at their edges, without the edge itself."""
    height, width = map(int, pictures.shape[2:])
    down, across = min(radius, height - 1), min(radius, width - 1)
    x = F.pad(pictures, (across, across, down, down), mode="reflect")
    return _weighted(_weighted(x, sigma, down, 2, height), sigma, across, 3, width)


def _weighted(x: Tensor, sigma: Numbers, radius: int, axis: int, side: int) -> Tensor:
    """Weigh and add shifted copies, which for pictures in the cache is faster than a convolution."""
    kernel = (-0.5 * (torch.arange(radius + 1, device=sigma.device) / sigma[:, None]).square()).exp()
    kernel = (kernel / (2 * kernel.sum(1, keepdim=True) - 1)).view(len(sigma), -1, 1, 1, 1)
    total = x.narrow(axis, radius, side) * kernel[:, 0]
    for step in range(1, radius + 1):
        total.addcmul_(x.narrow(axis, radius - step, side) + x.narrow(axis, radius + step, side), kernel[:, step])
    return total


_JITTER = {BRIGHTNESS: brighten, CONTRAST: contrast, SATURATION: saturate, HUE: turn_hue}


def recolour(pictures: Pictures, drawn: Drawn, radius: int) -> Pictures:
    """Do to each picture what was drawn for it, in place: as many pictures at a time as the processor's cache holds."""
    together = max(1, _CACHED // pictures[0].numel())
    for start in range(0, len(pictures), together):
        part = slice(start, start + together)
        _recolour(pictures[part], drawn.of(part), radius)
    return pictures


def _recolour(pictures: Pictures, drawn: Drawn, radius: int) -> None:
    factors, sigma = (torch.from_numpy(numbers).to(pictures.dtype) for numbers in (drawn.factors, drawn.sigma))
    for place in range(4):
        for kind, change in _JITTER.items():
            rows = drawn.jittered & (drawn.order[:, place] == kind) & (drawn.factors[:, kind] != NEUTRAL[kind])
            _at(pictures, rows, change, factors[:, kind])
    _at(pictures, drawn.grey, lambda x: greys(x).expand(-1, 3, -1, -1))
    _at(pictures, drawn.sigma > 0, lambda x, sigma: blur(x, sigma, radius), sigma)
    _at(pictures, drawn.solarised, solarise)


def _at(pictures: Pictures, where: np.ndarray, change: Callable[..., Tensor], *numbers: Tensor) -> None:
    """Change the pictures at True."""
    rows = torch.from_numpy(where.nonzero()[0])
    if len(rows):
        pictures[rows] = change(pictures[rows], *(each[rows] for each in numbers))


def blur_radius(sigma: float) -> int:
    """Give the pixels after which a Gaussian is cut off: three deviations."""
    return math.ceil(3 * sigma)


def _each(numbers: Numbers) -> Tensor:
    return numbers.view(-1, 1, 1, 1)


def _mix(pictures: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    factor = _each(factors)
    return (pictures * factor + other * (1 - factor)).clamp_(0, 1)
