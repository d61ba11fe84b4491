"""Balanced random choices: by count over samples, and over instances of a scene. Imports no torch."""

import numpy as np

from tapetum.world.types import I64


def balanced_choice(seed: int, purpose: int, number: int, kinds: int) -> int:
    """Choose one of `kinds` for sample `number`: `kinds` consecutive samples from a multiple of it on all differ.

    >>> sorted(balanced_choice(0, 1, number, 4) for number in range(8, 12))
    [0, 1, 2, 3]
    """
    block, place = divmod(number, kinds)
    return int(np.random.default_rng([seed, purpose, block]).permutation(kinds)[place])


def choose_by_instance(rng: np.random.Generator, instance: I64, n: int) -> I64:
    """Choose n candidates by their instances (m,), where -1 is none; small instances are over-represented.

    As in Kubric's sampling, candidates are taken instance by instance, from the fewest candidates to the most.
    """
    ids, counts = np.unique(instance[instance >= 0], return_counts=True)
    chosen: list[I64] = []
    for left, k in zip(range(len(ids), 0, -1), np.argsort(counts, kind="stable"), strict=True):
        remaining, available = n - sum(map(len, chosen)), int(counts[k])
        take = min(round(remaining / left), max(1, round(0.25 * available))) if left > 1 else remaining
        chosen.append(rng.choice(np.flatnonzero(instance == ids[k]), take, replace=take > available))
    return rng.permutation(np.concatenate(chosen))
