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


_COMPUTED = 1 << 24
"""Samples from which on an epoch's order is computed number by number, in constant memory, and not drawn as a whole."""
_ROUNDS = 8
"""Of the Feistel network; four make it a pseudo-random permutation (Luby and Rackoff 1988), more make up for small domains."""


class Shuffle:
    """An endless shuffled order over a finite collection: every epoch a new permutation, computed from its number.

    Of 2^24 samples and more no permutation is stored: each place is computed (`permuted`), so 10^9 take no memory.

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
        if self.length >= _COMPUTED:
            return permuted(place, self.length, _key(self.seed, epoch))
        return int(_permutation(self.length, self.seed, epoch)[place])


def permuted(place: int, length: int, key: int) -> int:
    """Compute where a keyed pseudo-random permutation of 0 .. length - 1 sends `place`, in constant time and memory.

    A Feistel network permutes the numbers of an even count of bits, up to four times as many as `length`; what falls outside is
    sent on until it falls inside (cycle walking, Black and Rogaway 2002), which keeps it a permutation.

    >>> sorted(permuted(place, 10, key=3) for place in range(10))
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    bits = max((length - 1).bit_length() + 1, 2) // 2  # of each half
    mask = (1 << bits) - 1
    while True:
        left, right = place >> bits, place & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_scrambled(right + (turn << 32), key) & mask)
        place = left << bits | right
        if place < length:
            return place


@lru_cache(maxsize=4)
def _key(seed: int, epoch: int) -> int:
    return mix_seed(seed, ORDER, epoch)


def _scrambled(number: int, key: int) -> int:
    """Mix the bits of 64 (SplitMix64's output function, Steele et al. 2014)."""
    z = (number * 0x9E3779B97F4A7C15 + key) & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return z ^ z >> 31


@lru_cache(maxsize=4)
def _permutation(length: int, seed: int, epoch: int) -> Int64[np.ndarray, " length"]:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(length)
