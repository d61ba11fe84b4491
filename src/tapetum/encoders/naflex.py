"""The size to which an image is scaled so that it is cut into at most so many patches. Imports no torch.

Source: SigLIP 2 (arXiv 2502.14786, section 2.4.2), whose NaFlex networks see images nearly in their own shape.
"""

import math


def size_in_patches(rows: int, columns: int, patches: int, patch: int) -> tuple[int, int]:
    """Compute rows and columns, in pixels, of the scaled image of `rows` x `columns`.

    The scale, found by bisection, is the largest at which both sides, each rounded up to whole patches, make at most `patches`
    of them.

    >>> size_in_patches(1080, 1920, 256, 16), size_in_patches(480, 640, 1024, 16)
    ((192, 336), (432, 576))
    """

    def sides(scale: float) -> tuple[int, int]:
        return max(1, math.ceil(rows * scale / patch)), max(1, math.ceil(columns * scale / patch))

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:  # the bounds and the last step decide sizes: they are those of the published code
        middle = (low + high) / 2
        fits = math.prod(sides(middle)) <= patches
        low, high = (middle, high) if fits else (low, middle)
    down, across = sides(low)
    return down * patch, across * patch
