"""Rotary positions: pairs of channels of a query or key are rotated by an angle that depends on its position.

    text               angle = position * wavelength ** (-2 i / d), for a token's place in a sequence
    grid, "dinov3"     the first half of the angles by row, the second by column; each axis runs from -1 to 1, whatever its
                       length, times 2 pi; base 100; channel i is rotated with channel i + d / 2 (halves)
    grid, "pe"         the first half of the angles by column, the second by row; whole numbers; base 10000; channel 2 i is
                       rotated with channel 2 i + 1 (pairs)

Sources: RoFormer (arXiv 2104.09864); halves of a head instead of neighbours, GPT-NeoX (2204.06745) and Gemma (2403.08295);
DINOv3 (2508.10104); Perception Encoder (2504.13181). A grid has d / 4 frequencies base ** (-4 k / d) per axis.

Differs from DINOv3: coordinates are not shifted and scaled at random in training, and frequencies are float32, as in
transformers and timm (the original stores its periods in bfloat16).
"""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Rotary = Literal["dinov3", "pe"]
"""Whose rotary positions of a grid."""
_BASES: dict[Rotary, float] = {"dinov3": 100.0, "pe": 10_000.0}


def rotary_angles(
    positions: Int[Tensor, "#b n"], width: int, wavelength: float = 10_000.0
) -> tuple[Float[Tensor, "#b 1 n d"], Float[Tensor, "#b 1 n d"]]:
    """Compute cosines and sines of position * wavelength ** (-2 i / width); the sines of the first half are negated."""
    half = width // 2
    speed = wavelength ** -(torch.arange(half, device=positions.device, dtype=torch.float32) / half)
    angle = positions[:, None, :, None].float() * speed
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def apply_rotary(
    x: Float[Tensor, "b h n d"], cos: Float[Tensor, "*#s n d"], sin: Float[Tensor, "*#s n d"], pairs: bool = False
) -> Float[Tensor, "b h n d"]:
    """Rotate channels i and i + d / 2 of each head, or with `pairs` 2 i and 2 i + 1; the sine of the first of two is
    negated."""
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if pairs else x.roll(x.shape[-1] // 2, -1)
    return torch.addcmul(x * cos, swapped, sin).to(x.dtype)


class Rotation(NamedTuple):
    """Cosines and sines that rotate the queries and keys of a sequence, in float32; see `apply_rotary`."""

    cos: Float[Tensor, "n d"]
    sin: Float[Tensor, "n d"]
    pairs: bool

    def apply(self, x: Float[Tensor, "b h n d"]) -> Float[Tensor, "b h n d"]:
        """Rotate queries or keys."""
        return apply_rotary(x, self.cos, self.sin, self.pairs)


def grid_rotation(
    grid: tuple[int, int], width: int, kind: Rotary, prefix: int = 0, device: torch.device | None = None
) -> Rotation:
    """Compute the rotation of the cells of a grid of (rows, columns), row by row, after `prefix` tokens that are not rotated.

    Args:
        grid: rows and columns of any size; those of "pe" are never scaled to the training grid, as in the authors'
            code (timm's `ref_feat_shape` scales them).
        width: channels of a head, a multiple of 4.
        kind: "dinov3" or "pe"; with a prefix, whose angle is 0, whole numbers begin at 1.
        prefix: tokens before the grid.
        device: of the result.
    """
    rows, columns = (torch.arange(count, device=device, dtype=torch.float32) for count in grid)
    if kind == "dinov3":
        rows, columns = (2 * math.pi * (2 * (at + 0.5) / len(at) - 1) for at in (rows, columns))
    elif prefix:
        rows, columns = rows + 1, columns + 1
    speed = _BASES[kind] ** -(torch.arange(width // 4, device=device, dtype=torch.float32) / (width // 4))
    by_row, by_column = rows.repeat_interleave(grid[1])[:, None] * speed, columns.repeat(grid[0])[:, None] * speed
    pairs = kind == "pe"
    angle = torch.cat((by_column, by_row) if pairs else (by_row, by_column), -1)  # (rows * columns, width / 2)
    angle = F.pad(angle, (0, 0, prefix, 0))
    cos, sin = angle.cos(), angle.sin()
    if pairs:
        return Rotation(cos.repeat_interleave(2, -1), torch.stack((-sin, sin), -1).flatten(-2), True)
    return Rotation(torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1), False)
