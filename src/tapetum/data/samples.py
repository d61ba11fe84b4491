"""Samples by number: what a sample is depends on (seed, number) alone, never on a worker's state.

All randomness of a run has one root, its seed, from which streams for different purposes branch off.
"""

import random
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int64

WEIGHTS, SAMPLE, LOSS, ORDER, EVALUATION = range(5)
"""Independent streams of randomness under one seed."""


def mix_seed(seed: int, stream: int, index: int) -> int:
    """Mix a 63-bit seed for one purpose, from the run's seed and a number."""
    return int(np.random.SeedSequence([seed, stream, index]).generate_state(1, np.uint64)[0] >> 1)


def seed_globals(seed: int) -> None:
    """Seed the global generators of torch (this process's CPU and GPU), numpy and random."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def sample_generator(seed: int, number: int) -> np.random.Generator:
    """Make a numpy generator for the making of sample `number`."""
    return np.random.default_rng([seed, SAMPLE, number])


class Shuffle:
    """An endless shuffled order over a finite collection: every epoch a new permutation, computed from its number.

    >>> order = Shuffle(3, seed=0)
    >>> sorted(order(n) for n in range(3, 6))
    [0, 1, 2]
    """

    def __init__(self, length: int, seed: int):
        self.length = length
        self.seed = seed

    def __call__(self, number: int) -> int:
        """Look up which of the `length` samples is sample `number` of the stream."""
        epoch, place = divmod(number, self.length)
        return int(_permutation(self.length, self.seed, epoch)[place])


@lru_cache(maxsize=4)
def _permutation(length: int, seed: int, epoch: int) -> Int64[np.ndarray, " length"]:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(length)
