"""Random numbers of many samples at once, each sample's a function of (seed, its number) alone.

SplitMix64 (Steele, Lea and Flood, 2014): number k of a stream is a hash of its start + (k + 1) * gamma, so that all are made in
a few operations on arrays. A stream's start is a hash of the seed and of the sample's number. `np.random.default_rng` for every
sample would cost more than its views.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, UInt64

GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mixed(x: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Hash 64 bits to 64, one to one."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def stream(start: UInt64[np.ndarray, " b"], count: int) -> UInt64[np.ndarray, "b count"]:
    """Give the first `count` numbers of the SplitMix64 generators that begin at `start`."""
    return mixed(start[:, None] + GAMMA * np.arange(1, count + 1, dtype=np.uint64))


def uniforms(seed: int, purpose: int, numbers: Sequence[int], count: int) -> Float64[np.ndarray, "b count"]:
    """Draw `count` numbers from 0 to 1 (never 1) for each sample of `numbers`; another `purpose` gives others.

    >>> bool((uniforms(1, 0, [4, 5], 3)[1] == uniforms(1, 0, [5], 3)[0]).all())
    True
    """
    root = int(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0])
    start = mixed(mixed(np.asarray(numbers, np.uint64) + np.uint64(1)) + np.uint64(root))
    return (stream(start, count) >> np.uint64(11)) * 2.0**-53
