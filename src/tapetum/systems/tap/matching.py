"""Stage 1 of TAPIR, matching: the cost volume of a point with each frame separately, and its heads; local correlations.

Source: TAPIR (arXiv 2306.08637), section 3.1, after TAP-Net (arXiv 2211.03726). The map of correlations between a query and a
frame goes through a small shared convolution; one head turns it into a position, another into the logits of being occluded and
of being wrong. The paper's softmax, cut to a disc and renormalised, equals the softmax over the disc computed here.

Refinement (section 3.2) correlates a feature with the map at 7x7 places one cell apart. A dot product is linear, so products
with 8x8 whole cells are computed first and then blended to 7x7:

        cells      o   o   o          a sample x one quarter of a cell to the right blends its two neighbours
        samples     x   x             3/4 o + 1/4 o, with the same weights for the whole neighbourhood

Differs from the public PyTorch code: the soft-argmax keeps its gradient, so the position head can learn.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.layers.precision import is_autocast
from tapetum.layers.sampling import constant
from tapetum.systems.tap.config import TapirConfig

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
    """The precision for products: maps may be stored in float16 to save memory, too coarse here (and slow on a CPU)."""
    return torch.float32 if maps.dtype == torch.float16 and not maps.requires_grad else maps.dtype


def _products(vectors: Float[Tensor, "m n c"], cells: Float[Tensor, "m k c"]) -> Float[Tensor, "m n k"]:
    return torch.bmm(vectors, cells.mT)


class _Products(torch.autograd.Function):
    """`_products`, with the gradient of the cells in their layout: transposing torch's own takes a sixth of a training step."""

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
    step = max(1, PICKED_AT_A_TIME // (count * picks * channels)) if len(cells) > 1 else 1
    parts = []
    for some, at, to in zip(cells.split(step), place.flatten(0, 1).split(step), vectors.split(step), strict=True):
        first = torch.arange(len(some), device=place.device)[:, None, None] * some.shape[1]
        rows = some.flatten(0, 1).index_select(0, (at + first).flatten()).view(-1, picks, channels)
        parts.append(torch.bmm(rows.to(to.dtype), to.reshape(-1, channels, 1)))
    return torch.cat(parts).view(batch, frames, count, picks)


def local_correlation(
    query: Float[Tensor, "b n #t c"], maps: Float[Tensor, "b t h w c"], centre: Float[Tensor, "b n t 2"]
) -> Float[Tensor, "b n t 49"]:
    """Compute float32 dot products of `query` with bilinear samples at offsets -3..3 cells around `centre`, (x, y) in raster
    coordinates of the map, in row order (dy outer, dx inner). Cells outside the map count as zero."""
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


DISC_RADIUS = 5
"""Cells strictly nearer than this to the maximum take part in the soft-argmax."""


def soft_argmax(heatmap: Float[Tensor, "m h w"]) -> Float[Tensor, "m 2"]:
    """Compute the mean (x, y) of cell centres, weighted by softmax(heat) over the disc around each map's maximum."""
    logits, x, y = _disc(heatmap)
    weight = logits.softmax(1)
    return torch.stack([(weight * (x + 0.5)).sum(1), (weight * (y + 0.5)).sum(1)], -1)


def peak_share(heatmap: Float[Tensor, "m h w"]) -> Float[Tensor, " m"]:
    """Compute the logarithm of the share of softmax(heat) that lies on the disc around each map's maximum.

    >>> heatmap = torch.full((1, 9, 9), -1e9)
    >>> heatmap[0, 0, 0] = heatmap[0, 8, 8] = 0.0
    >>> round(peak_share(heatmap).exp().item(), 2)
    0.5
    """
    return _disc(heatmap)[0].logsumexp(1) - heatmap.float().flatten(1).logsumexp(1)


def _disc(heatmap: Float[Tensor, "m h w"]) -> tuple[Float[Tensor, "m k"], Int[Tensor, "m k"], Int[Tensor, "m k"]]:
    """The logits of the cells on the disc around each map's maximum, minus infinity outside, and their columns and rows."""
    height, width = heatmap.shape[-2:]
    flat = heatmap.float().flatten(1)
    best = flat.argmax(1)
    reach = range(1 - DISC_RADIUS, DISC_RADIUS)
    disc = [(dy, dx) for dy in reach for dx in reach if dy**2 + dx**2 < DISC_RADIUS**2]
    dy, dx = constant(disc, heatmap, torch.long).unbind(1)
    y = (best // width)[:, None] + dy
    x = (best % width)[:, None] + dx
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    place = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return flat.gather(1, place).masked_fill(~inside, -torch.inf), x, y


class Matching(nn.Module):
    """Heads on the cost volume of query features and lowres maps: a position, an occlusion and an expected-distance logit."""

    def __init__(self, config: TapirConfig):
        super().__init__()
        trunk, strided, hidden = config.matching_channels
        self.temperature = config.softmax_temperature
        self.trunk = nn.Conv2d(1, trunk, 3, padding=1)
        self.position = nn.Conv2d(trunk, 1, 3, padding=1)
        self.occlusion_conv = nn.Conv2d(trunk, strided, 3, 2)
        self.occlusion_hidden = nn.Linear(strided, hidden)
        self.occlusion_out = nn.Linear(hidden, 2)

    def forward(
        self, query: Float[Tensor, "b n c"], maps: Float[Tensor, "b t h w c"]
    ) -> tuple[Float[Tensor, "b n t 2"], Float[Tensor, "b n t"], Float[Tensor, "b n t"], Float[Tensor, "b n t h w"]]:
        """Compute positions (x, y) in raster coordinates of the maps, the two logits, and the logits of all cells."""
        batch, frames, height, width = maps.shape[:4]
        # One channel, last: so that the convolutions of the heads run channels-last, which is several times faster backward.
        cost_volume = all_correlations(query[:, :, None], maps).reshape(-1, height, width, 1).permute(0, 3, 1, 2)  # btn 1 h w
        if not is_autocast(cost_volume):
            cost_volume = cost_volume.to(self.trunk.weight.dtype)
        trunk = F.relu(self.trunk(cost_volume), inplace=not torch.is_grad_enabled())
        heatmap = self.position(trunk)[:, 0].float() * self.temperature
        position = soft_argmax(heatmap)
        same = F.pad(trunk, (width % 2, 1, height % 2, 1))
        strided = F.relu(self.occlusion_conv(same))
        pooled = F.avg_pool2d(strided, strided.shape[-2:]).flatten(1)
        logits = self.occlusion_out(F.relu(self.occlusion_hidden(pooled))).float()
        both = torch.cat([position, logits], -1).view(batch, frames, -1, 4).transpose(1, 2)
        heatmap = heatmap.view(batch, frames, -1, height, width).transpose(1, 2)
        return both[..., :2], both[..., 2], both[..., 3], heatmap
