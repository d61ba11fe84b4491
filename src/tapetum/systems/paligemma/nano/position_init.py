"""Where things are, written into weights that a training begins with.

A small model learns what a thing is long before where it is, for two reasons, which are mended here:

- a table of positions that begins near 0 is drowned by what a stem of convolutions makes of an image, and nothing makes the
  vision encoder's tokens say where they are: in the first `paligemma-nano` they told their column no better than 15 of 112
pixels; - the rows of 1,024 places begin as far from their neighbours as from any other, so each place has to be learned alone.

    vision encoder     positions += a line and three waves along each axis, each in a direction of its own
    rows    row of place n = waves of n: neighbours alike, as sharp as the shortest wave

            . * .
          *       *        likeness of a row with others: 1 with itself, and falling smoothly
    . . *           * . .

Differs from the paper, whose rows are drawn at random, and whose vision encoder learned where things are from forty billion
images.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.systems.paligemma.config import LOCATIONS

WAVES = 40
"""Of the rows of places; the shortest is 2 / 40 of the image."""


def write_positions(table: Float[Tensor, "n d"], grid: tuple[int, int], strength: float = 6.0) -> None:
    """Add to a table of positions, in place, how far right and how far down each is."""
    row, column = (v.flatten() for v in torch.meshgrid(*(torch.linspace(-1, 1, n) for n in grid), indexing="ij"))
    told = [
        part
        for axis in (column, row)
        for part in (axis, *(torch.sin(torch.pi * k * axis / 2 + torch.pi / 4) for k in (1, 2, 3)))
    ]
    with torch.no_grad():
        table += strength * torch.stack(told, 1) @ _directions(len(told), table.shape[1])


def place_rows(width: int, norm: float) -> Float[Tensor, "1024 d"]:
    """Make rows of places, all of the same norm, of which neighbours are alike."""
    place = torch.arange(LOCATIONS) / (LOCATIONS - 1)
    waves = torch.arange(1, WAVES + 1)
    angles = torch.pi * place[:, None] * waves
    loudness = (1 + waves) ** -0.25
    told = torch.cat((angles.cos() * loudness, angles.sin() * loudness), 1)
    return norm / loudness.square().sum().sqrt() * told @ _directions(2 * WAVES, width)


def _directions(count: int, width: int) -> Float[Tensor, "k d"]:
    """Draw directions at right angles, always the same ones; where there are too few dimensions, random ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = torch.randn(max(width, count), count)
    return torch.linalg.qr(drawn).Q.T[:, :width]
