"""Retrieval by hand, intervals beside statsmodels' formula, SciPy and coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tapetum.core.errors import BadInput
from tapetum.metrics.retrieval import retrieval_scores
from tapetum.metrics.statistics import bootstrap_interval, wilson_interval


def test_ranks_by_hand() -> None:
    rng = np.random.default_rng(0)
    scores, right = rng.normal(size=(20, 15)), rng.random((20, 15)) < 0.2
    right[np.arange(20), rng.integers(0, 15, 20)] = True
    found = retrieval_scores(scores, right)
    best = [1 + sum(s > max(s[r])) for r, s in zip(right, scores, strict=True)]
    assert found.median_rank == np.median(best)
    assert found.recall == {k: pytest.approx(np.mean(np.array(best) <= k)) for k in (1, 5, 10)}


def test_constant_scores_earn_nothing() -> None:
    found = retrieval_scores(np.zeros((10, 10)), at=(1, 9, 10))
    assert (found.recall, found.median_rank) == ({1: 0, 9: 0, 10: 1}, 10)


def test_wilson_is_scipy() -> None:
    for k, n in [(0, 5), (5, 5), (3, 17), (900, 1000)]:
        theirs = binomtest(k, n).proportion_ci(method="wilson")
        assert wilson_interval(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
        narrow = wilson_interval(k, n, 0.5)
        assert narrow[1] - narrow[0] < theirs.high - theirs.low


def test_bootstrap_is_the_normal_interval_of_many_and_covers() -> None:
    values = np.random.default_rng(1).normal(3, 2, 1000)
    low, high = bootstrap_interval(values)
    reach = 1.96 * values.std() / np.sqrt(1000)
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.02)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(values, statistic=lambda v: float(v.mean()), draws=200) == pytest.approx((low, high), abs=0.04)
    assert bootstrap_interval([2.0, 2.0]) == (2.0, 2.0)


def test_bunches_are_drawn_whole() -> None:
    rng = np.random.default_rng(2)
    images = np.repeat(np.arange(40), 25)
    values = rng.normal(size=40)[images]  # all questions of an image have one answer: 40 numbers, not 1000
    single, bunched = (np.diff(bootstrap_interval(values, groups=g))[0] for g in (None, images.tolist()))
    assert bunched == pytest.approx(5 * single, rel=0.15)
    uneven = bootstrap_interval([1.0, 1.0, 0.0], groups=["a", "a", "b"], statistic=np.mean)
    assert uneven == (0, 1)


@pytest.mark.parametrize("statistic", [None, np.mean])
def test_a_value_of_a_large_bunch_counts_as_much_as_one_of_a_small(statistic) -> None:
    values, groups = [1.0] * 9 + [0.0], ["a"] * 9 + ["b"]
    # two bunches drawn of two: aa has mean 1, ab and ba 0.9, bb 0, in shares of 1/4, 1/2, 1/4
    assert bootstrap_interval(values, 0.4, groups=groups, statistic=statistic) == (0.9, 0.9)


def test_bad_input() -> None:
    for call, words in [
        (lambda: retrieval_scores([[np.nan]]), "NaN"),
        (lambda: retrieval_scores(np.zeros((2, 3))), "match one to one"),
        (lambda: retrieval_scores(np.zeros((1, 2)), np.zeros((1, 2), bool)), "query 0 has no right item"),
        (lambda: retrieval_scores(np.zeros((0, 0))), "no right item"),
        (lambda: retrieval_scores(np.zeros((2, 2)), np.eye(2)), "float64"),
        (lambda: retrieval_scores(np.zeros((2, 2)), at=(0,)), "from 1 on"),
        (lambda: wilson_interval(3, 2), "3 successes of 2"),
        (lambda: wilson_interval(0, 0), "one trial or more"),
        (lambda: wilson_interval(1, 2, 95), "confidence is 95"),
        (lambda: bootstrap_interval([]), "0 values"),
        (lambda: bootstrap_interval([1.0, np.nan]), "NaN"),
        (lambda: bootstrap_interval([1.0], groups=[]), "0 groups"),
    ]:
        with pytest.raises(BadInput, match=words):
            call()
