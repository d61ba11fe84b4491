"""Masks as maps of ids: warped exactly from one crop of an image to another, and the features inside of each.

Crops are boxes (top, left, height, width) in pixels of the source, with whether they are flipped left to right (DetCon crops
and flips ids as it does pixels; Odin, arXiv 2203.08777, section 3.2, takes ids of the spanning view to both views):

    +-- spanning view: the smallest crop that holds both --+
    |   +-- view 1 ----------+                             |
    |   |       +-- view 2 --|---------+                   |
    |   +-------|------------+         |                   |
    |           +----------------------+                   |
    +------------------------------------------------------+

Differs from DetCon's code, which resizes ids to full size and lets the cells of the map vote: ids are looked up at the centres
of the cells, which is the same where ids are no finer than cells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

OUTSIDE = -1
"""The id of what lies outside of the map that ids come from."""


class Crops(NamedTuple):
    """b crops of b images."""

    box: Float[Tensor, "b 4"]
    """top, left, height, width in pixels of the source; the outer corner of its first pixel is (0, 0)."""
    flipped: Tensor
    """bool (b,): left and right are exchanged."""


def span_crops(first: Crops, second: Crops) -> Crops:
    """Compute the smallest crops that hold both; they are not flipped.

    >>> box = span_crops(Crops(torch.tensor([[1., 2., 3., 4.]]), torch.tensor([True])),
    ...                  Crops(torch.tensor([[2., 0., 5., 3.]]), torch.tensor([False]))).box
    >>> box.tolist()
    [[1.0, 0.0, 6.0, 6.0]]
    """
    low = torch.minimum(first.box[:, :2], second.box[:, :2])
    high = torch.maximum(first.box[:, :2] + first.box[:, 2:], second.box[:, :2] + second.box[:, 2:])
    return Crops(torch.cat([low, high - low], 1), torch.zeros_like(first.flipped))


def whole_crops(sizes: Sequence[tuple[int, int]]) -> Crops:
    """Make the crops that are whole images, of these sizes (rows, columns).

    >>> whole_crops([(80, 90)]).box.tolist()
    [[0.0, 0.0, 80.0, 90.0]]
    """
    box = torch.tensor([(0, 0, rows, columns) for rows, columns in sizes], dtype=torch.float32)
    return Crops(box, torch.zeros(len(sizes), dtype=torch.bool))


def warp(ids: Int[Tensor, "b h w"], source: Crops, target: Crops, size: tuple[int, int]) -> Int[Tensor, "b h2 w2"]:
    """Warp ids of the crop `source` to `size` (rows, columns) of the crop `target`; `OUTSIDE` where they are unknown."""
    rows = _cell_centres(size[0], target.box[:, 0], target.box[:, 2])  # (b, h2) in pixels of the source image
    columns = _cell_centres(size[1], target.box[:, 1], target.box[:, 3])
    columns = torch.where(target.flipped[:, None], columns.flip(1), columns)
    row, row_known = _cells(rows, source.box[:, 0], source.box[:, 2], ids.shape[1])
    column, column_known = _cells(columns, source.box[:, 1], source.box[:, 3], ids.shape[2])
    mirrored = torch.where(source.flipped[:, None], ids.shape[2] - 1 - column, column)
    batch = torch.arange(len(ids), device=ids.device)[:, None, None]
    warped = ids[batch, row[:, :, None], mirrored[:, None]]  # (b, h2, w2)
    return torch.where(row_known[:, :, None] & column_known[:, None], warped, OUTSIDE)


def _cell_centres(count: int, start: Tensor, length: Tensor) -> Tensor:
    """Compute the centres of `count` cells along an axis of the source image."""
    centres = (torch.arange(count, device=start.device, dtype=start.dtype) + 0.5) / count
    return start[:, None] + centres * length[:, None]


def _cells(positions: Tensor, start: Tensor, length: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Compute in which of `count` cells of a crop positions lie, and whether they lie in it at all."""
    along = (positions - start[:, None]) / length[:, None] * count
    slack = 1e-4  # a place on the very border is inside, whatever float32 makes of it
    known = (along >= -slack) & (along <= count + slack)
    return along.floor().long().clamp(0, count - 1), known


def pool_masks(
    features: Float[Tensor, "b d h w"], ids: Int[Tensor, "b h w"], regions: int
) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k"]]:
    """Average the features inside of each region 0 to `regions` - 1, and count its cells; an empty region is all zeros."""
    member = (ids.flatten(1)[:, None] == torch.arange(regions, device=ids.device)[:, None]).to(features.dtype)  # (b, k, n)
    cells = member.sum(-1)
    return member @ features.flatten(2).mT / cells.clamp(min=1)[..., None], cells


def sample_regions(cells: Float[Tensor, "b k"], count: int, generator: torch.Generator) -> Int[Tensor, "b r"]:
    """Draw `count` regions an image among those that have cells, with replacement, each as likely (DetCon's sampler).

    An image without any region draws evenly among all; what it draws is empty.
    """
    odds = (cells > 0).to(cells.dtype)
    odds = torch.where(odds.sum(1, keepdim=True) > 0, odds, torch.ones_like(odds))
    return torch.multinomial(odds, count, replacement=True, generator=generator)
