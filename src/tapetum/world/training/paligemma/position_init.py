"""Initial weights that encode positions: those of the vision encoder, and those of the decoder's 1,024 location tokens.

A small model learns what an object is long before it learns where it is, for two reasons:

- positions that begin near 0 are drowned by the output of a convolutional stem: in the first `paligemma-nano` the column of a
  token could be regressed from it no better than to 15 of 112 pixels;
- embeddings of locations begin as far from their neighbours as from any other, so each of 1,024 has to be learned alone.

    vision encoder     positions += a line and three waves along each axis, each in a direction of its own
    location n         waves of n: neighbours are alike, as sharply as the shortest wave

            . * .
          *       *        cosine of an embedding with others: 1 with itself, and falling smoothly
    . . *           * . .

Differs from the paper, which initialises embeddings of locations at random, and whose vision encoder learned positions from
forty billion images.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.systems.paligemma.config import LOCATIONS

WAVES = 40
"""Of the embeddings of locations; the shortest is 2 / 40 of the image."""


def add_position_waves(positions: Float[Tensor, "n d"], grid: tuple[int, int], strength: float = 6.0) -> None:
    """Add the column and row of each position embedding to it, in place."""
    row, column = (v.flatten() for v in torch.meshgrid(*(torch.linspace(-1, 1, n) for n in grid), indexing="ij"))
    waves = [
        part
        for axis in (column, row)
        for part in (axis, *(torch.sin(torch.pi * k * axis / 2 + torch.pi / 4) for k in (1, 2, 3)))
    ]
    with torch.no_grad():
        positions += strength * torch.stack(waves, 1) @ _orthogonal_directions(len(waves), positions.shape[1])


def location_embeddings(width: int, norm: float) -> Float[Tensor, "1024 d"]:
    """Compute embeddings of the locations with equal norms and similar neighbours."""
    location = torch.arange(LOCATIONS) / (LOCATIONS - 1)
    waves = torch.arange(1, WAVES + 1)
    angles = torch.pi * location[:, None] * waves
    amplitude = (1 + waves) ** -0.25
    features = torch.cat((angles.cos() * amplitude, angles.sin() * amplitude), 1)  # (1024, 2 * WAVES), all of one norm
    return norm / amplitude.square().sum().sqrt() * features @ _orthogonal_directions(2 * WAVES, width)


def _orthogonal_directions(count: int, width: int) -> Float[Tensor, "k d"]:
    """Draw orthogonal directions, always the same ones; with too few dimensions, random ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = torch.randn(max(width, count), count)
    return torch.linalg.qr(drawn).Q.T[:, :width]
