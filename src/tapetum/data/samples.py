"""Samples by number: a sample depends on (seed, number) alone, never on a worker's state.

All randomness of a run has one root, its seed, from which streams for different purposes branch off.
"""

import random
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int64

from tapetum.core.errors import BadInput

WEIGHTS, SAMPLE, LOSS, ORDER, EVALUATION, SOURCE = range(6)
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
    """Make a numpy generator for sample `number`."""
    return np.random.default_rng([seed, SAMPLE, number])


_COMPUTED = 1 << 24
"""Samples from which on an epoch's order is computed number by number, in constant memory, and not drawn as a whole."""
_ROUNDS = 8
"""Of the Feistel network; four make it a pseudo-random permutation (Luby and Rackoff 1988), more make up for small domains."""


class Shuffle:
    """An endless shuffled order over a finite collection: every epoch a new permutation, computed from its number.

    From 2^24 samples on, no permutation is stored: each position is computed (`permuted`), so 10^9 take no memory.

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
            return permuted(place, self.length, _key(self.seed, ORDER, epoch))
        return int(_permutation(self.length, self.seed, epoch)[place])


_BLOCK = 4096
"""Samples among which the shares of several collections are kept."""
_MOST_COLLECTIONS = 64
"""So that the largest share of a block is never less than what rounding takes of it."""
_WHOLE = 1 << 32
"""Shares are whole numbers out of this, so that any sample can be counted up to without an error of rounding."""


class WeightedShuffle:
    """An endless weighted order over several finite collections, numbered consecutively: each has its own shuffled epochs.

    Nothing is stored. Before block b of B = 4096 samples, a collection with share w has had floor(b B w) samples, and that with
    the largest share all others; a keyed permutation mixes those within the block. So at the end of any block, each share is
    correct to within one sample per collection, and a collection has shown none of its samples two times more than another.

    >>> order = WeightedShuffle([3, 100], [0.5, 0.5], seed=0)
    >>> places = [order(n) for n in range(4096)]
    >>> sum(place < 3 for place in places), len({place for place in places if place >= 3})
    (2048, 100)
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], seed: int):
        """Check the weights, which need not sum to 1. BadInput unless each collection has one above 0, or for too many."""
        if len(weights) != len(lengths):
            raise BadInput(f"there are {len(weights)} weights for {len(lengths)} sources of data; give one for each")
        if not all(0 < weight < float("inf") for weight in weights):
            raise BadInput(f"the weights of data are {', '.join(map(str, weights))}; each must be a number above 0")
        if len(lengths) > _MOST_COLLECTIONS:
            raise BadInput(f"there are {len(lengths)} sources of data; give {_MOST_COLLECTIONS} or fewer, or put some together")
        self.seed = seed
        self._shares = [round(weight / sum(weights) * _WHOLE) for weight in weights]
        self._largest = self._shares.index(max(self._shares))
        self._orders = [Shuffle(length, mix_seed(seed, SOURCE, k)) for k, length in enumerate(lengths)]
        self._offsets = [sum(lengths[:k]) for k in range(len(lengths))]

    def __call__(self, number: int) -> int:
        """Look up which sample is sample `number` of the stream: its number among those of all collections, end to end."""
        block, place = divmod(number, _BLOCK)
        place = permuted(place, _BLOCK, _key(self.seed, SOURCE, len(self._shares) + block))
        for collection, (begin, end) in enumerate(zip(self._counts(block), self._counts(block + 1), strict=True)):
            if place < end - begin:
                return self._offsets[collection] + self._orders[collection](begin + place)
            place -= end - begin
        raise AssertionError  # the counts of a block sum to its length

    def _counts(self, block: int) -> list[int]:
        """Samples of each collection before a block."""
        counts = [block * _BLOCK * share // _WHOLE for share in self._shares]
        counts[self._largest] += block * _BLOCK - sum(counts)
        return counts


def permuted(place: int, length: int, key: int) -> int:
    """Compute where a keyed pseudo-random permutation of 0 .. length - 1 sends `place`, in constant time and memory.

    A Feistel network permutes the numbers of an even count of bits, up to four times as many as `length`; results outside the
    range are permuted again until inside (cycle walking, Black and Rogaway 2002), so that it stays a permutation.

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
def _key(seed: int, stream: int, index: int) -> int:
    return mix_seed(seed, stream, index)


def _scrambled(number: int, key: int) -> int:
    """Mix the bits of 64 (SplitMix64's output function, Steele et al. 2014)."""
    z = (number * 0x9E3779B97F4A7C15 + key) & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return z ^ z >> 31


@lru_cache(maxsize=4)
def _permutation(length: int, seed: int, epoch: int) -> Int64[np.ndarray, " length"]:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(length)
