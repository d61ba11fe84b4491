"""Local correlation: how much a point's feature resembles the map around its present position.

Source: TAPIR (arXiv 2306.08637), section 3.2. The paper samples the feature map bilinearly at 7x7 places one cell apart
and takes dot products. A dot product is linear, so here the products with whole cells come first and the blending of
8x8 numbers to 7x7 second: the same values and gradients (also through the position) for far less memory traffic.

        cells      o   o   o          a sample x one quarter of a cell to the right blends its two neighbours
        samples     x   x             3/4 o + 1/4 o, with the same weights for the whole neighbourhood
"""

import torch
from jaxtyping import Float
from torch import Tensor

RADIUS = 3
"""Cells on each side: neighbourhoods are 7x7."""


def all_correlations(query: Float[Tensor, "b n #t c"], maps: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t n h*w"]:
    """Dot products of every query vector with every cell of its frame."""
    batch, frames = maps.shape[:2]
    vectors = query.to(maps.dtype).transpose(1, 2).expand(-1, frames, -1, -1)
    return torch.bmm(vectors.flatten(0, 1), maps.flatten(0, 1).flatten(2)).unflatten(0, (batch, frames))


def local_correlation(
    query: Float[Tensor, "b n #t c"],
    maps: Float[Tensor, "b t c h w"],
    centre: Float[Tensor, "b n t 2"],
) -> Float[Tensor, "b n t 49"]:
    """Dot products of `query` with bilinear samples at offsets -3..3 cells around `centre`.

    `centre` is (x, y) in raster coordinates of the map; the order is row by row (dy outer, dx inner). Cells outside of the
    map count as zero. The result is float32.
    """
    height, width = maps.shape[-2:]
    size = torch.tensor([width, height], device=centre.device)
    index = centre.float().transpose(1, 2) - 0.5
    index = torch.minimum(index.clamp(min=-RADIUS - 2.0), size + RADIUS + 1.0)
    low = index.floor()
    fraction = (index - low)[..., None]
    reach = torch.arange(-RADIUS, RADIUS + 2, device=centre.device)
    cells = low.long()[..., None] + reach
    inside = (cells >= 0) & (cells < size[:, None])
    column, row = cells.clamp(min=0).minimum(size[:, None] - 1).unbind(-2)
    place = (row[..., :, None] * width + column[..., None, :]).flatten(-2)
    products = all_correlations(query, maps).gather(-1, place).float().unflatten(-1, (len(reach), len(reach)))
    products = products * (inside[..., 1, :, None] & inside[..., 0, None, :])
    right, down = fraction[..., None, 0, :], fraction[..., None, 1, :]
    blended = torch.lerp(products[..., :-1], products[..., 1:], right)
    blended = torch.lerp(blended[..., :-1, :], blended[..., 1:, :], down)
    return blended.flatten(-2).transpose(1, 2)
