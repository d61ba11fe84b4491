"""Orders of samples that are computed and not stored: permutations, by chance, of any length."""

from collections import Counter

import numpy as np
import pytest

from tapetum.data.samples import Shuffle, permuted


@pytest.mark.parametrize("length", [*range(1, 40), 255, 256, 257, 1000])
def test_every_place_is_taken_once(length: int) -> None:
    assert sorted(permuted(place, length, key=5) for place in range(length)) == list(range(length))


def test_all_permutations_are_about_equally_frequent() -> None:
    counts = Counter(tuple(permuted(place, 4, key) for place in range(4)) for key in range(4800))
    assert len(counts) == 24
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_square < 58  # 23 degrees of freedom: once in 10,000 draws


def test_neighbours_and_epochs_have_nothing_to_do_with_each_other() -> None:
    length = 10**9
    first, second = ([permuted(place, length, key) / length for place in range(4000)] for key in (1, 2))
    assert abs(np.mean(first) - 0.5) < 4 / np.sqrt(12 * 4000)
    for one, other in ((first[:-1], first[1:]), (first, second)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(4000)


def test_a_shuffle_of_a_billion_stores_nothing() -> None:
    order = Shuffle(10**9, seed=0)
    drawn = [order(number) for number in (*range(500), *range(10**9, 10**9 + 500))]
    assert len(set(drawn[:500])) == len(set(drawn[500:])) == 500
    assert len(set(drawn)) > 990
    assert drawn[:3] == [Shuffle(10**9, seed=0)(number) for number in range(3)] != [Shuffle(10**9, seed=1)(n) for n in range(3)]
    assert max(drawn) < 10**9
