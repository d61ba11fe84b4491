"""Random choices of synthetic tasks that are balanced by count, not only by expectation. Imports no torch."""

import numpy as np


def balanced_choice(seed: int, purpose: int, number: int, kinds: int) -> int:
    """Choose one of `kinds` for sample `number`: of every `kinds` samples from a multiple of it on, each gets another one.

    >>> sorted(balanced_choice(0, 1, number, 4) for number in range(8, 12))
    [0, 1, 2, 3]
    """
    block, place = divmod(number, kinds)
    return int(np.random.default_rng([seed, purpose, block]).permutation(kinds)[place])
