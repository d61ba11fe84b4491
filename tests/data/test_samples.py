"""Orders of samples that are computed and not stored: permutations, by chance, of any length."""

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle, WeightedShuffle, permuted


@pytest.mark.parametrize("length", [*range(1, 40), 255, 256, 257, 1000])
def test_every_place_is_taken_once(length: int) -> None:
    assert sorted(permuted(place, length, key=5) for place in range(length)) == list(range(length))


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


@pytest.mark.parametrize("weights", [(0.7, 0.3), (1, 2, 1e-4), (5.0,)])
def test_a_mixture_keeps_to_its_weights_and_shows_all_before_any_again(weights: tuple[float, ...]) -> None:
    lengths = [37, 1000, 5][: len(weights)]
    order, count = WeightedShuffle(lengths, weights, seed=3), 5 * 4096
    ends = np.cumsum(lengths)
    places = np.array([order(n) for n in range(count)])
    for k, weight in enumerate(weights):
        theirs = places[(places >= ends[k] - lengths[k]) & (places < ends[k])] - (ends[k] - lengths[k])
        share = weight / sum(weights)
        assert abs(len(theirs) - count * share) <= 4 * (count * share * (1 - share)) ** 0.5 + 1e-9
        assert np.ptp(np.bincount(theirs, minlength=lengths[k])) <= 1
    again = WeightedShuffle(lengths, weights, seed=3)
    assert [again(n) for n in (20_000, 5, 4096)] == [places[20_000], places[5], places[4096]]
    assert order(10**12) < ends[-1]  # as fast as the first


@pytest.mark.parametrize(
    ("lengths", "weights", "message"),
    [
        ([3, 4], [1.0], "there are 1 weights for 2 sources"),
        ([3, 4], [1.0, 0.0], "each must be a number above 0"),
        ([3, 4], [1.0, float("nan")], "each must be a number above 0"),
    ],
)
def test_weights_that_are_refused(lengths: list[int], weights: list[float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        WeightedShuffle(lengths, weights, seed=0)
