"""Deviations and intervals in the pages of evidence are those of the runs that lie there, by one definition."""

import numpy as np
import pytest

from support.scripts import script

plus_minus = script("benchmarks/plus_minus.py")


def test_a_deviation_is_the_samples_and_an_interval_the_bootstraps() -> None:
    assert plus_minus.with_deviation([1.0, 2.0, 6.0], 3) == "3.000 ± 2.646"  # the root of (4 + 1 + 9) / 2
    assert plus_minus.with_deviation([2.5], 1) == "2.5"
    x = np.random.default_rng(3).normal(0.3, 2.0, 400)
    low, high = plus_minus.interval(x)
    assert (low, high) == pytest.approx(x.mean() + np.array([-1.96, 1.96]) * x.std() / 20, abs=0.02)
    assert plus_minus.with_interval([0.25] * 5, 2) == "+0.25 [+0.25, +0.25]"


def test_a_part_is_judged_by_the_interval_of_its_mean() -> None:
    """Of 1, 2, 3 the mean is 2 and the interval 2 +- 4.303 / sqrt(3), so from -0.48 to 4.48."""
    part = plus_minus.Part
    seeds = (1.0, 2.0, 3.0)
    cases = {-1.0: "held", 0.0: "undecided", 4.0: "undecided", 5.0: "falsified"}
    assert {bound: part("x", seeds, bound).verdict for bound in cases} == cases
    turned = {"held": "falsified", "falsified": "held", "undecided": "undecided"}
    assert {bound: part("x", seeds, bound, below=True).verdict for bound in cases} == {k: turned[v] for k, v in cases.items()}
    assert str(part("x", seeds, 5, digits=2)) == "x 2.00 (-0.48 to 4.48), wanted above 5.00"
    # two deviations from the line: four seeds decide 2.13 with a power of 80 %, five 1.68 (noncentral t)
    assert str(part("x", seeds, 0.0)) == "x 2.0 (-0.5 to 4.5), wanted above 0.0 (5 would decide)"
    assert str(part("x", seeds, 2.01)).endswith("(over 1,000 would decide)")
    assert part("x", [2.0], 1.0).verdict == "undecided"
    assert part("x", [2.0], 1.0, counted=True).verdict == "held"
    assert plus_minus.verdict([part("x", seeds, -1.0), part("y", seeds, 5.0, below=True)]) == "held"
    assert plus_minus.verdict([part("x", seeds, -1.0), part("y", seeds)]) == "undecided"
    assert plus_minus.verdict([]) == "undecided"


def test_an_interval_of_few_bunches_is_wider() -> None:
    """Of 16, Student's quantile is 2.1314 for 1.9600, and a deviation over 15 is 1.0328 times that over 16."""
    assert plus_minus.widened(0.5, (0.4, 0.7), 16) == pytest.approx((0.5 - 0.11232, 0.5 + 0.22463), abs=1e-4)
    assert plus_minus.widened(0.5, (0.4, 0.7), 10**6) == pytest.approx((0.4, 0.7), abs=1e-5)
