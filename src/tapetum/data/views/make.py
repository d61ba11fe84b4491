"""Views of batches of images, as tensors that a network takes: crops, colours, blur and solarising.

The random parameters of a batch are drawn before any pixel is touched; each sample's are a function of (seed, number), by
SplitMix64 (Steele, Lea and Flood, 2014): number k of a stream is a hash of its start + (k + 1) * gamma, so that all are made in
a few operations on arrays. A stream's start is a hash of the seed and of the sample's number. `np.random.default_rng` for every
sample would cost more than its views.

The colour arithmetic is torchvision's (`transforms.functional`, on float tensors), which every function here matches.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8, UInt64
from torch import Tensor

from tapetum.data.views import View

_TRIES = 10
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
NEUTRAL = np.array([1.0, 1.0, 1.0, 0.0])
"""Factors of these that change nothing."""


@dataclass(frozen=True)
class ViewParameters:
    """The draws of a view for b images."""

    boxes: Int64[np.ndarray, "b 4"]
    """Top, left, rows, columns of the crop, in pixels."""
    mirrored: Bool[np.ndarray, " b"]
    jittered: Bool[np.ndarray, " b"]
    order: Int64[np.ndarray, "b 4"]
    """Which of BRIGHTNESS, CONTRAST, SATURATION and HUE comes first, and so on."""
    factors: Float64[np.ndarray, "b 4"]
    """Of these; the last is the turn of the hue."""
    grey: Bool[np.ndarray, " b"]
    sigma: Float64[np.ndarray, " b"]
    """Of the blur; 0: there is none."""
    solarised: Bool[np.ndarray, " b"]

    def of(self, part: slice) -> "ViewParameters":
        """Select the draws of some of the images."""
        return ViewParameters(**{field.name: getattr(self, field.name)[part] for field in fields(self)})


def draw(view: View, sizes: Sequence[tuple[int, int]], seed: int, purpose: int, numbers: Sequence[int]) -> ViewParameters:
    """Draw the view of images of `sizes` (rows, columns), which are samples `numbers`; views differ by `purpose`."""
    u = uniforms(seed, purpose, numbers, 4 * _TRIES + 15)
    crops, u = u[:, : 4 * _TRIES].reshape(len(u), _TRIES, 4), u[:, 4 * _TRIES :]
    spread = np.array([view.brightness, view.contrast, view.saturation, view.hue])
    least = np.maximum(NEUTRAL - spread, [0, 0, 0, -spread[HUE]])
    low, high = view.sigma
    return ViewParameters(
        boxes=crop_boxes(view, np.array(sizes, np.int64).reshape(-1, 2), crops),
        mirrored=u[:, 0] < view.mirror,
        jittered=u[:, 1] < view.jitter,
        order=np.argsort(u[:, 2:6], axis=1, kind="stable"),
        factors=least + u[:, 6:10] * (NEUTRAL + spread - least),
        grey=u[:, 10] < view.grey,
        sigma=np.where(u[:, 11] < view.blur, low + u[:, 12] * (high - low), 0.0),
        solarised=u[:, 13] < view.solarise,
    )


def crop_boxes(view: View, sizes: Int64[np.ndarray, "b 2"], u: Float64[np.ndarray, "b tries 4"]) -> Int64[np.ndarray, "b 4"]:
    """Sample crops as Inception does: area and the logarithm of the aspect are even; up to ten tries, then the middle.

    Differs from torchvision in nothing but the generator.
    """
    rows, columns = sizes[:, :1], sizes[:, 1:]
    area = rows * columns * (view.area[0] + u[..., 0] * (view.area[1] - view.area[0]))
    least, most = np.log(view.aspect)
    aspect = np.exp(least + u[..., 1] * (most - least))
    width, height = (np.rint(np.sqrt(area * x)).astype(np.int64) for x in (aspect, 1 / aspect))
    fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
    chosen = np.arange(len(sizes)), fits.argmax(1)
    height, width = height[chosen], width[chosen]
    top, left = ((u[..., k][chosen] * (whole[:, 0] - part + 1)) for k, whole, part in ((2, rows, height), (3, columns, width)))
    boxes = np.stack([top, left, height, width], 1).astype(np.int64)
    return np.where(fits.any(1)[:, None], boxes, _middle(view, sizes))


def _middle(view: View, sizes: Int64[np.ndarray, "b 2"]) -> Int64[np.ndarray, "b 4"]:
    """The largest part in the middle whose aspect is allowed."""
    rows, columns = sizes[:, 0], sizes[:, 1]
    least, most = view.aspect
    height = np.where(columns / rows < least, np.rint(columns / least).astype(np.int64), rows)
    width = np.where(columns / rows > most, np.rint(rows * most).astype(np.int64), columns)
    return np.stack([(rows - height) // 2, (columns - width) // 2, height, width], 1)


GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mixed(x: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Hash 64 bits to 64, one to one."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def stream(start: UInt64[np.ndarray, " b"], count: int) -> UInt64[np.ndarray, "b count"]:
    """Compute the first `count` numbers of the SplitMix64 generators that begin at `start`."""
    return mixed(start[:, None] + GAMMA * np.arange(1, count + 1, dtype=np.uint64))


def uniforms(seed: int, purpose: int, numbers: Sequence[int], count: int) -> Float64[np.ndarray, "b count"]:
    """Draw `count` numbers from 0 to 1 (never 1) for each sample of `numbers`; another `purpose` gives others.

    >>> bool((uniforms(1, 0, [4, 5], 3)[1] == uniforms(1, 0, [5], 3)[0]).all())
    True
    """
    root = int(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0])
    start = mixed(mixed(np.asarray(numbers, np.uint64) + np.uint64(1)) + np.uint64(root))
    return (stream(start, count) >> np.uint64(11)) * 2.0**-53


Image = UInt8[np.ndarray, "h w 3"]
_PURPOSE = 0x76696577
"""Begins the streams of views, apart from other uses of the same seed."""


class Views:
    """Makes the same views of the image that is sample n, whatever else is in the batch, and in any process."""

    def __init__(
        self,
        views: Sequence[View],
        *,
        seed: int,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (255.0, 255.0, 255.0),
    ):
        """Set the views, and mean and standard deviation of the channels in units of 0..255, as in an encoder."""
        self.views, self.seed = tuple(views), seed
        self.mean, self.std = (torch.tensor(value).view(3, 1, 1) / 255 for value in (mean, std))

    def __call__(self, images: Sequence[Image], numbers: Sequence[int]) -> list[Float32[Tensor, "b 3 s s"]]:
        """Make every view of the images (red, green, blue; 0..255; of any sizes), which are samples `numbers`."""
        pixels, sizes = [channels_first(image) for image in images], [image.shape[:2] for image in images]
        made = []
        for which, view in enumerate(self.views):
            drawn = draw(view, sizes, self.seed, _PURPOSE + which, numbers)
            x = crop(pixels, drawn, view).contiguous().float().div_(255)
            made.append(recolour(x, drawn, blur_radius(view.sigma[1])).sub_(self.mean).div_(self.std))
        return made


def channels_first(image: Image) -> UInt8[Tensor, "3 h w"]:
    """View an image as a tensor with its channels first."""
    return torch.from_numpy(image).movedim(-1, 0)


def crop(images: Sequence[UInt8[Tensor, "3 h w"]], drawn: ViewParameters, view: View) -> UInt8[Tensor, "b 3 s s"]:
    """Cut out the boxes and resize them to the view's size, mirrored if drawn so."""
    made = torch.empty(len(images), view.size, view.size, 3, dtype=torch.uint8).movedim(-1, 1)
    for out, image, (top, left, rows, columns), mirrored in zip(
        made, images, drawn.boxes.tolist(), drawn.mirrored.tolist(), strict=True
    ):
        part = image[None, :, top : top + rows, left : left + columns]
        part = F.interpolate(part, (view.size, view.size), mode=view.interpolation, align_corners=False, antialias=True)[0]
        out.copy_(part.flip(-1) if mirrored else part)
    return made


def runs(views: Sequence[View]) -> list[slice]:
    """Group neighbouring views of one size as slices that can pass through a network in one batch.

    >>> runs([View(size=64), View(size=64), View(size=32)])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    cuts = [0, *(k + 1 for k, (one, other) in enumerate(pairwise(views)) if one.size != other.size), len(views)]
    return [slice(a, b) for a, b in pairwise(cuts)]


Images = Float[Tensor, "b 3 h w"]
Numbers = Float[Tensor, " b"]

_GREY = (0.2989, 0.587, 0.114)
_CACHED = 400_000
"""Numbers that are worked on together."""


def greys(images: Images) -> Float[Tensor, "b 1 h w"]:
    """Compute the luma of each pixel."""
    red, green, blue = images.unbind(1)
    return (_GREY[0] * red).add_(green, alpha=_GREY[1]).add_(blue, alpha=_GREY[2])[:, None]


def brighten(images: Images, factors: Numbers) -> Images:
    """Multiply."""
    return (images * _each(factors)).clamp_(0, 1)


def contrast(images: Images, factors: Numbers) -> Images:
    """Mix with the mean grey of each image."""
    return _mix(images, greys(images).mean((1, 2, 3), keepdim=True), factors)


def saturate(images: Images, factors: Numbers) -> Images:
    """Mix with the greys of each pixel."""
    return _mix(images, greys(images), factors)


def turn_hue(images: Images, turns: Numbers) -> Images:
    """Rotate the hue; a whole turn is 1.

    With value v and chroma c, a channel is v - c * w, where w is 0 over a third of the circle, 1 over another, and goes
    linearly between: that is HSV without its six cases.
    """
    red, green, blue = images.movedim(1, 0).contiguous()
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    two = 2 * chroma
    blues, greens = (red - green).add_(two, alpha=2), (blue - red).add_(two)
    hue = torch.where(red == value, green - blue, torch.where(green == value, greens, blues))
    hue.div_(chroma.clamp(min=1e-12)).add_(6 * turns.view(-1, 1, 1))  # where chroma is 0, so is what is divided
    turned = torch.empty_like(images)
    for channel, shift in enumerate((5.0, 3.0, 1.0)):
        k = hue + shift
        k.sub_((k / 6).floor_(), alpha=6)
        turned[:, channel] = value - torch.minimum(k, 4 - k).clamp_(0, 1).mul_(chroma)
    return turned


def solarise(images: Images) -> Images:
    """Invert what is a half or more."""
    return torch.where(images >= 0.5, 1 - images, images)


def blur(images: Images, sigma: Numbers, radius: int) -> Images:
    """Blur with a Gaussian cut off at `radius` pixels; images are mirrored at their edges, without the edge itself."""
    height, width = map(int, images.shape[2:])
    down, across = min(radius, height - 1), min(radius, width - 1)
    x = F.pad(images, (across, across, down, down), mode="reflect")
    return _weighted(_weighted(x, sigma, down, 2, height), sigma, across, 3, width)


def _weighted(x: Tensor, sigma: Numbers, radius: int, axis: int, side: int) -> Tensor:
    """Weight and sum shifted copies, which is faster than a convolution for images in the cache."""
    kernel = (-0.5 * (torch.arange(radius + 1, device=sigma.device) / sigma[:, None]).square()).exp()
    kernel = (kernel / (2 * kernel.sum(1, keepdim=True) - 1)).view(len(sigma), -1, 1, 1, 1)
    total = x.narrow(axis, radius, side) * kernel[:, 0]
    for step in range(1, radius + 1):
        total.addcmul_(x.narrow(axis, radius - step, side) + x.narrow(axis, radius + step, side), kernel[:, step])
    return total


_JITTER = {BRIGHTNESS: brighten, CONTRAST: contrast, SATURATION: saturate, HUE: turn_hue}


def recolour(images: Images, drawn: ViewParameters, radius: int) -> Images:
    """Apply to each image the colours drawn for it, in place: as many images at a time as fit in a processor's cache."""
    together = max(1, _CACHED // images[0].numel())
    for start in range(0, len(images), together):
        part = slice(start, start + together)
        _recolour(images[part], drawn.of(part), radius)
    return images


def _recolour(images: Images, drawn: ViewParameters, radius: int) -> None:
    factors, sigma = (torch.from_numpy(numbers).to(images.dtype) for numbers in (drawn.factors, drawn.sigma))
    for place in range(4):
        for kind, change in _JITTER.items():
            rows = drawn.jittered & (drawn.order[:, place] == kind) & (drawn.factors[:, kind] != NEUTRAL[kind])
            _at(images, rows, change, factors[:, kind])
    _at(images, drawn.grey, lambda x: greys(x).expand(-1, 3, -1, -1))
    _at(images, drawn.sigma > 0, lambda x, sigma: blur(x, sigma, radius), sigma)
    _at(images, drawn.solarised, solarise)


def _at(images: Images, where: np.ndarray, change: Callable[..., Tensor], *numbers: Tensor) -> None:
    """Change the images at True."""
    chosen = where.nonzero()[0]
    if len(chosen):
        rows = torch.from_numpy(chosen)
        images[rows] = change(images[rows], *(each[rows] for each in numbers))


def blur_radius(sigma: float) -> int:
    """Compute the radius in pixels at which a Gaussian is cut off: three standard deviations."""
    return math.ceil(3 * sigma)


def _each(numbers: Numbers) -> Tensor:
    return numbers.view(-1, 1, 1, 1)


def _mix(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    factor = _each(factors)
    return (images * factor + other * (1 - factor)).clamp_(0, 1)
