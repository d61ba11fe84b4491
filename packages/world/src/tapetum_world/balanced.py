"""Balanced random choices by count over samples. Imports no torch."""

import numpy as np


def balanced_choice(seed: int, purpose: int, number: int, kinds: int) -> int:
    """Choose one of `kinds` for sample `number`: `kinds` consecutive samples from a multiple of it on all differ.

    >>> sorted(balanced_choice(0, 1, number, 4) for number in range(8, 12))
    [0, 1, 2, 3]
    """
    block, place = divmod(number, kinds)
    return int(np.random.default_rng([seed, purpose, block]).permutation(kinds)[place])
