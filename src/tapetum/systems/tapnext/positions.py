"""Positions of points in TAPNext: embedded in the query's token, and decoded from the logits of 256 bins per axis."""

import torch
from jaxtyping import Float, Num
from torch import Tensor

RADIUS = 8
"""Pixels around a position within which `compute_certainty` sums probability."""


def embed_positions(
    xy: Float[Tensor, "*s 2"], size: tuple[int, int], width: int, *, edge: bool = False
) -> Float[Tensor, "*s c"]:
    """Embed raster positions in an image of (height, width) `size` as sin(x w), cos(x w), sin(y w), cos(y w), w = 10000^-k.

    The public code samples a table, which has a row for each pixel, bilinearly, so that between pixel centres high frequencies
    are damped. As sin(x w) does not depend on y, two rows an axis are enough. Outside of the outer pixel centres the table
    goes on with zeros, or with `edge` with its outer row.
    """
    parts, weights = [], []
    xy = xy.float().cpu() if xy.device.type == "mps" else xy.float()  # which has no double precision
    for axis, side in enumerate((size[1], size[0])):
        # In this order of operations as torch's grid_sample, for the same roundings.
        index = ((xy[..., axis] / side * 2 - 1 + 1) * side - 1) / 2
        index = index.clamp(0, side - 1) if edge else index.clamp(-2, side + 1)
        low = index.floor()
        part, total = index.new_zeros(*index.shape, width // 2), torch.zeros_like(index)
        for row, weight in ((low, low + 1 - index), (low + 1, index - low)):
            weight = weight * ((row >= 0) & (row < side))
            part = part + weight[..., None] * _waves(row, width)
            total = total + weight
        parts.append(part)
        weights.append(total[..., None])
    return torch.cat([parts[0] * weights[1], parts[1] * weights[0]], -1)


def embed_pixels(xy: Num[Tensor, "*s 2"], width: int) -> Float[Tensor, "*s c"]:
    """Embed whole numbers (x, y) of pixels: the rows of the table."""
    return torch.cat([_waves(xy[..., 0], width), _waves(xy[..., 1], width)], -1)


def _waves(index: Num[Tensor, "*s"], width: int) -> Float[Tensor, "*s c"]:
    """Sines and cosines along one axis, half of `width`; in double precision before they are rounded, as the public code."""
    frequencies = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64, device=index.device) / (width // 4 - 1))
    angles = index.double()[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1).float()


def decode_positions(logits: Float[Tensor, "*s 2 bins"], radius: int = 20, temperature: float = 0.5) -> Float[Tensor, "*s 2"]:
    """Compute the mean position, in raster pixels, of the bins within `radius` of the most likely one.

    Their probabilities are the softmax of temperature * logits. The gradient passes through these, not through the choice.
    """
    likeliest = logits.argmax(-1, keepdim=True)
    offset = torch.arange(logits.shape[-1], device=logits.device) - likeliest
    probability = (temperature * logits).softmax(-1) * (offset.abs() <= radius)
    mean = (probability / probability.sum(-1, keepdim=True) * offset).sum(-1)
    return likeliest[..., 0] + mean + 0.5


def compute_certainty(
    logits: Float[Tensor, "*s 2 bins"], xy: Float[Tensor, "*s 2"], radius: int = RADIUS
) -> Float[Tensor, "*s"]:
    """Compute the probability that a point is at most `radius` pixels from `xy`, if x and y are independent."""
    bins = logits.shape[-1]
    cells = min(2 * radius + 1, bins)
    start = (xy - radius - 0.5).floor().clamp(0, bins - cells).long()  # within the bins
    index = start[..., None] + torch.arange(cells, device=logits.device)  # (..., 2, cells)
    probability = logits.softmax(-1).gather(-1, index)
    offset = (index + 0.5 - xy[..., None]).square()
    near = offset[..., 0, :, None] + offset[..., 1, None, :] <= radius**2 + 1e-8
    both = probability[..., 0, :, None] * probability[..., 1, None, :]
    return (both * near).sum((-2, -1))
