"""Which patches are hidden from a student, drawn for a whole step, whatever process or micro-batch an image is in. No torch.

`step_masks`: DINOv2's random blocks (arXiv 2304.07193; the masks are BEiT's, 2106.08254). Half of the crops of a step have
hidden patches; their shares of the grid are spread evenly between two bounds.

`jepa_blocks`: I-JEPA's blocks to predict, and the context to predict them from (2301.08243, section 3).

Differs from I-JEPA's public code: a block may touch the last row and column and be as large as the grid; its area and its
aspect are independent; of a context larger than its group's smallest, patches are left out at random instead of from the end.
"""

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int

from tapetum.core.errors import BadInput

_STREAM, _JEPA_STREAM = 0x626C6F63, 0x6A657061
"""Begin the streams of random numbers of these masks."""
SMALLEST, ASPECT, TRIES = 4, 0.3, 10
"""Patches of the smallest block, least ratio of its sides (the greatest is 1 / this), tries to place one."""


@lru_cache(maxsize=4)
def step_masks(
    grid: tuple[int, int], crops: int, shares: tuple[float, float], probability: float, seed: int, step: int
) -> Bool[np.ndarray, "crops n"]:
    """Draw the masks of all `crops` of a step, in all processes, on a grid of patches; True is hidden.

    `shares`: least and greatest part of the grid that is hidden in a crop that has a mask; `probability`: part of the crops
    that have one.
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


TARGET_ASPECT, CONTEXT_LEAST, REDRAWS = (0.75, 1.5), 0.04, 100
"""Rows / columns of a target block; least part of the grid that is context; how often an image with less is drawn again."""
JEPA_GROUP = 128
"""Images whose contexts are cut to the same number of patches: those of one device in the public code."""


@lru_cache(maxsize=4)
def jepa_blocks(
    grid: tuple[int, int],
    images: int,
    context: tuple[float, float],
    target: tuple[float, float],
    blocks: int,
    seed: int,
    step: int,
) -> tuple[list[Int[np.ndarray, "group visible"]], Int[np.ndarray, "images blocks m"]]:
    """Draw, for all `images` of a step, the patches of the context and of the blocks to predict, which it leaves out.

    All target blocks of a step have one size. Contexts are in groups of `JEPA_GROUP` images, each with as many patches as the
    group's smallest. Returns numbers of patches, ascending. Raises BadInput if the targets leave an image no context.

    Args:
        grid: rows and columns of patches.
        images: of the step, in all processes.
        context: least and greatest part of the grid of the square block that the context is what is left of.
        target: those of a target block.
        blocks: target blocks of an image.
    """
    rng = np.random.default_rng([seed, _JEPA_STREAM, step])
    cells = grid[0] * grid[1]

    def side_lengths(area: tuple[float, float], aspect: tuple[float, float]) -> tuple[int, int]:
        size, ratio = cells * rng.uniform(*area), rng.uniform(*aspect)
        rows, columns = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
        return min(max(rows, 1), grid[0]), min(max(columns, 1), grid[1])

    def placed(sides: tuple[int, int], *shape: int) -> Bool[np.ndarray, "*shape n"]:
        inside = []
        for side, length in zip(sides, grid, strict=True):
            first = rng.integers(length - side + 1, size=(*shape, 1))
            inside.append((np.arange(length) >= first) & (np.arange(length) < first + side))
        return (inside[0][..., :, None] & inside[1][..., None, :]).reshape(*shape, cells)

    target_sides, context_sides = side_lengths(target, TARGET_ASPECT), side_lengths(context, (1, 1))
    hidden, visible = np.zeros((images, blocks, cells), bool), np.zeros((images, cells), bool)
    for _ in range(REDRAWS):
        short = visible.sum(1) < max(1, CONTEXT_LEAST * cells)
        if not short.any():
            break
        hidden[short] = placed(target_sides, short.sum(), blocks)
        visible[short] = placed(context_sides, short.sum()) & ~hidden[short].any(1)
    else:
        raise BadInput(
            f"{blocks} target blocks of {target_sides[0]}x{target_sides[1]} patches leave no context in a grid of "
            f"{grid[0]}x{grid[1]}; give smaller patches, or a smaller target_area"
        )
    order = np.where(visible, rng.random(visible.shape), 2).argsort(1)
    groups = [slice(first, first + JEPA_GROUP) for first in range(0, images, JEPA_GROUP)]
    contexts = [np.sort(order[group, : visible[group].sum(1).min()], 1) for group in groups]
    return contexts, hidden.nonzero()[2].reshape(images, blocks, -1)
