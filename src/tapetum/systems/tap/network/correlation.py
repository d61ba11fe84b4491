"""Local correlation: how much a point's feature resembles the map around its present position.

Source: TAPIR (arXiv 2306.08637), section 3.2. The paper samples the feature map bilinearly at 7x7 places one cell apart
and takes dot products. A dot product is linear, so here the products with whole cells come first and the blending of
8x8 numbers to 7x7 second: the same values and gradients (also through the position) for far less memory traffic.

        cells      o   o   o          a sample x one quarter of a cell to the right blends its two neighbours
        samples     x   x             3/4 o + 1/4 o, with the same weights for the whole neighbourhood
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.layers.sampling import constant

RADIUS = 3
"""Cells on each side: neighbourhoods are 7x7."""
FEW_CELLS = 32 * 32
"""Maps of so few cells are multiplied as a whole, which is faster than picking cells."""
FEW_CELLS_TO_LEARN = 64 * 64
"""The same where gradients flow to the map: those of picked cells are slow to add up."""
PICKED_AT_A_TIME = 1 << 22
"""Numbers picked from a map, or widened to float32, at a time, which bounds memory."""


def all_correlations(query: Float[Tensor, "b n #t c"], maps: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t n h*w"]:
    """Compute dot products of every query vector with every cell of its frame."""
    batch, frames = maps.shape[:2]
    vectors = query.to(_working(maps)).transpose(1, 2).expand(-1, frames, -1, -1).flatten(0, 1)
    cells = maps.flatten(0, 1).flatten(1, 2)
    if cells.requires_grad:
        products = _Products.apply(vectors, cells)
    elif cells.dtype == vectors.dtype:
        products = _products(vectors, cells)
    else:
        step = max(1, PICKED_AT_A_TIME // cells[0].numel())
        pairs = zip(vectors.split(step), cells.split(step), strict=True)
        products = torch.cat([_products(some, part.to(some.dtype)) for some, part in pairs])
    return products.unflatten(0, (batch, frames))


def _working(maps: Tensor) -> torch.dtype:
    """The precision to multiply in: maps may be kept in float16 to save memory, which is too coarse (and slow on a CPU)."""
    return torch.float32 if maps.dtype == torch.float16 and not maps.requires_grad else maps.dtype


def _products(vectors: Float[Tensor, "m n c"], cells: Float[Tensor, "m k c"]) -> Float[Tensor, "m n k"]:
    return torch.bmm(vectors, cells.mT)


class _Products(torch.autograd.Function):
    """`_products` whose gradient for the cells comes out in the layout of the cells.

    torch's own is transposed, and turning it around at every refinement takes a sixth of a training step.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, cells: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(vectors, cells)
        return _products(vectors, cells)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        vectors, cells = ctx.saved_tensors
        grad = grad.to(cells.dtype)
        return torch.bmm(grad, cells), torch.bmm(grad.mT, vectors)


def picked_correlations(
    query: Float[Tensor, "b n #t c"], maps: Float[Tensor, "b t h w c"], place: Int[Tensor, "b t n k"]
) -> Float[Tensor, "b t n k"]:
    """Compute dot products of every query vector with the cells `place` (numbers in row order) of its frame."""
    batch, frames, count, picks = place.shape
    channels = maps.shape[-1]
    vectors = query.to(_working(maps)).transpose(1, 2).expand(-1, frames, -1, -1).flatten(0, 1)
    cells = maps.flatten(0, 1).flatten(1, 2)
    step = max(1, PICKED_AT_A_TIME // (count * picks * channels))
    parts = []
    for some, at, to in zip(cells.split(step), place.flatten(0, 1).split(step), vectors.split(step), strict=True):
        first = torch.arange(len(some), device=place.device)[:, None, None] * some.shape[1]
        rows = some.flatten(0, 1).index_select(0, (at + first).flatten()).view(-1, picks, channels)
        parts.append(torch.bmm(rows.to(to.dtype), to.reshape(-1, channels, 1)))
    return torch.cat(parts).view(batch, frames, count, picks)


def local_correlation(
    query: Float[Tensor, "b n #t c"], maps: Float[Tensor, "b t h w c"], centre: Float[Tensor, "b n t 2"]
) -> Float[Tensor, "b n t 49"]:
    """Compute dot products of `query` with bilinear samples at offsets -3..3 cells around `centre`.

    `centre` is (x, y) in raster coordinates of the map; the order is row by row (dy outer, dx inner). Cells outside of the
    map count as zero. The result is float32.
    """
    height, width = maps.shape[2:4]
    size = constant([width, height], centre, torch.long)
    index = centre.float().transpose(1, 2) - 0.5
    index = torch.minimum(index.clamp(min=-RADIUS - 2.0), size + RADIUS + 1.0)
    low = index.floor()
    fraction = (index - low)[..., None]
    reach = torch.arange(-RADIUS, RADIUS + 2, device=centre.device)
    cells = low.long()[..., None] + reach
    inside = (cells >= 0) & (cells < size[:, None])
    column, row = cells.clamp(min=0).minimum(size[:, None] - 1).unbind(-2)
    place = (row[..., :, None] * width + column[..., None, :]).flatten(-2)
    if height * width <= (FEW_CELLS_TO_LEARN if maps.requires_grad else FEW_CELLS):
        products = all_correlations(query, maps).gather(-1, place)
    else:
        products = picked_correlations(query, maps, place)
    products = products.float().unflatten(-1, (len(reach), len(reach)))
    products = products * (inside[..., 1, :, None] & inside[..., 0, None, :])
    right, down = fraction[..., None, 0, :], fraction[..., None, 1, :]
    blended = torch.lerp(products[..., :-1], products[..., 1:], right)
    blended = torch.lerp(blended[..., :-1, :], blended[..., 1:, :], down)
    return blended.flatten(-2).transpose(1, 2)
