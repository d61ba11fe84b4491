"""Positions of tokens on a line or a grid: sine codes, and learned ones taken to another grid as different sources do.

The sine codes of a grid are those of MAE (arXiv 2111.06377): half of the channels tell the column, then half the row.

How three libraries take a learned grid to another size:

    timm          bicubic, corners on corners of the raster, widened filter when shrinking (antialias)
    transformers  bicubic, corners on corners of the raster, the filter never widened
    big_vision    linear, centres of the corner cells on centres of the corner cells (scipy's zoom of order 1)
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tapetum.core.errors import BadInput

Resample = Literal["timm", "big_vision", "transformers"]
"""Whose way of taking a learned grid of positions to another size."""


def sine_1d(at: Float[Tensor, " n"], width: int, wavelength: float = 10_000.0) -> Float[Tensor, "n c"]:
    """Code places on a line: `width` / 2 sines, then as many cosines, of at * wavelength ** (-2 i / width); in
    float64."""
    if width % 2:
        raise BadInput(f"sine codes have pairs of channels, not {width}; give an even number")
    speed = wavelength ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angle = at.double()[:, None] * speed
    return torch.cat((angle.sin(), angle.cos()), 1)


def sine_2d(grid: tuple[int, int], width: int) -> Float[Tensor, "n c"]:
    """Code the cells of a grid of (rows, columns), row by row, as MAE does; float32. The width is a multiple of 4."""
    rows, columns = grid
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    return torch.cat((sine_1d(column.double(), width // 2), sine_1d(row.double(), width // 2)), 1).float()


def interpolate(
    positions: Float[Tensor, "n c"], grid: tuple[int, int], new_grid: tuple[int, int], how: Resample = "timm"
) -> Float[Tensor, "m c"]:
    """Take learned positions from a grid of (rows, columns), row by row, to another, as `how` does.

    Raises BadInput where the positions are not of that grid, or for an unknown way.
    """
    if how not in get_args(Resample):
        raise BadInput(f"there is no way {how!r} to interpolate positions; it is one of {', '.join(get_args(Resample))}")
    if positions.shape[0] != grid[0] * grid[1]:
        raise BadInput(
            f"{positions.shape[0]} positions are not a grid of {grid[0]} x {grid[1]}; give those without other tokens"
        )
    if grid == new_grid:
        return positions
    x = positions.to(torch.promote_types(positions.dtype, torch.float32)).unflatten(0, grid).movedim(-1, 0)[None]
    if how == "big_vision":
        x = F.interpolate(x, size=new_grid, mode="bilinear", align_corners=True)
    else:
        x = F.interpolate(x, size=new_grid, mode="bicubic", align_corners=False, antialias=how == "timm")
    return x[0].movedim(0, -1).flatten(0, 1).to(positions.dtype)
