"""Which patches are hidden from a student: DINOv2's random blocks (arXiv 2304.07193; the masks are BEiT's, 2106.08254).

Half of the crops of a step have hidden patches. Their shares of the grid are spread evenly between two bounds over the whole
step, whatever process or micro-batch an image is in. Imports no torch.
"""

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

_STREAM = 0x626C6F63
"""Begins the stream of random numbers of these masks."""
SMALLEST, ASPECT, TRIES = 4, 0.3, 10
"""Patches of the smallest block, least ratio of its sides (the greatest is 1 / this), tries to place one."""


@lru_cache(maxsize=4)
def step_masks(
    grid: tuple[int, int], crops: int, shares: tuple[float, float], probability: float, seed: int, step: int
) -> Bool[np.ndarray, "crops n"]:
    """Draw the masks of all `crops` of a step; True is hidden.

    Args:
        grid: rows and columns of patches.
        crops: of the step, in all processes.
        shares: least and greatest part of the grid that is hidden in a crop that has a mask.
        probability: part of the crops that have one.
        seed: of the run.
        step: which of its steps.
    """
    rng = np.random.default_rng([seed, _STREAM, step])
    masked = int(crops * probability)
    bounds = np.linspace(*shares, masked + 1)
    masks = np.zeros((crops, grid[0] * grid[1]), bool)
    for row, low, high in zip(rng.permutation(crops)[:masked], bounds[:-1], bounds[1:], strict=True):
        masks[row] = blocks(grid, int(masks.shape[1] * rng.uniform(low, high)), rng).ravel()
    return masks


def blocks(grid: tuple[int, int], count: int, rng: np.random.Generator) -> Bool[np.ndarray, "rows columns"]:
    """Hide `count` patches by rectangles, or fewer where the next does not fit in `TRIES` tries."""
    mask = np.zeros(grid, bool)
    while (left := count - int(mask.sum())) > 0:
        for _ in range(TRIES):
            area = rng.uniform(min(SMALLEST, left), max(SMALLEST, left))
            aspect = math.exp(rng.uniform(math.log(ASPECT), -math.log(ASPECT)))
            rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if not (0 < rows < grid[0] and 0 < columns < grid[1]):
                continue
            top, first = rng.integers(grid[0] - rows + 1), rng.integers(grid[1] - columns + 1)
            block = mask[top : top + rows, first : first + columns]
            if 0 < block.size - block.sum() <= left:
                block[:] = True
                break
        else:
            break
    return mask
