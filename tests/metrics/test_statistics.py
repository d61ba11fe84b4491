"""Student's intervals beside scipy's own and simulated means, and what an interval says of a claim."""

import numpy as np
import pytest
from scipy import stats

from tapetum.core.errors import BadInput
from tapetum.metrics.statistics import join_verdicts, judge_interval, t_interval


@pytest.mark.parametrize("count", [2, 3, 9])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_an_interval_of_a_few_values_is_that_of_the_t_test(count: int, confidence: float) -> None:
    values = np.random.default_rng(count).normal(5.0, 2.0, count)
    ends = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    assert t_interval(values, confidence) == pytest.approx((ends.low, ends.high), rel=1e-12)


def test_nineteen_of_twenty_intervals_of_three_values_hold_the_mean() -> None:
    held = [low < 1.0 < high for low, high in map(t_interval, np.random.default_rng(0).normal(1.0, 3.0, (1000, 3)))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_one_value_decides_nothing_and_none_is_refused() -> None:
    assert t_interval([3.0]) == (float("-inf"), float("inf"))
    assert judge_interval(t_interval([3.0]), 0.0) == "undecided"
    for wrong in ([], [1.0, float("nan")]):
        with pytest.raises(BadInput):
            t_interval(wrong)


def test_a_claim_is_judged_by_the_side_on_which_its_interval_lies() -> None:
    ends = {(0.1, 0.3): "held", (-0.3, -0.1): "falsified", (-0.1, 0.3): "undecided", (0.0, 0.3): "undecided"}
    assert {interval: judge_interval(interval) for interval in ends} == ends
    assert judge_interval((0.1, 0.3), 0.2) == "undecided"
    assert judge_interval((0.1, 0.3), 0.4) == "falsified"


def test_more_values_on_one_side_decide_where_a_few_did_not() -> None:
    """What every seed agrees about is not decided by three that scatter, and a hundred with one on the other side decide it."""
    assert judge_interval(t_interval([0.1, 1.0, 4.0])) == "undecided"
    assert judge_interval(t_interval([-0.1, *np.linspace(1.0, 2.0, 99)])) == "held"


def test_all_parts_must_hold_and_one_falsifies() -> None:
    assert join_verdicts(["held", "held"]) == "held"
    assert join_verdicts(["held", "undecided", "falsified"]) == "falsified"
    assert join_verdicts(["undecided", "held"]) == join_verdicts([]) == "undecided"
