"""Power of a study's comparisons: by published tables, by the normal distribution of many seeds, and by drawing studies."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from tapetum.metrics.statistics import t_interval
from tapetum.systems.pretraining.study.fronts import RunGroup, Settings
from tapetum.systems.pretraining.study.questions import (
    ComparedPair,
    Comparison,
    Difference,
    above,
    answer_claim,
    compare,
    describe_power,
    detectable_difference,
    seeds_needed,
)


def test_by_published_tables() -> None:
    """Cohen's d of a t test of one sample with power 0.8 at 0.05: 3.264 of 3, 0.749 of 16, 0.996 of 10."""
    assert detectable_difference(1.0, 0.0, 3) == pytest.approx(3.264, abs=1e-3)
    assert detectable_difference(1.0, 0.0, 16) == pytest.approx(0.749, abs=1e-3)
    assert detectable_difference(2.0, 0.0, 16) == pytest.approx(2 * 0.749, abs=2e-3)
    assert detectable_difference(2.0, 1.2, 16) == pytest.approx(4 * 0.749 * 1.3, abs=4e-3)  # 0.5, 1.2, 1.3
    assert seeds_needed(1.0, 1.0, 0.0) == 10
    assert seeds_needed(0.99, 1.0, 0.0) == 11
    assert seeds_needed(2.8, 2.0, 1.0) is None
    assert seeds_needed(100.0, 2.0, 0.0) == 2
    assert detectable_difference(1.0, 0.0, 1) == float("inf")


@pytest.mark.parametrize("questions", [1, 3, 16])
def test_of_many_seeds_quantiles_are_those_of_the_normal_distribution(questions: int) -> None:
    factor = norm.ppf(1 - 0.025 / questions) + norm.ppf(0.8)
    assert detectable_difference(0.7, 0.3, 5000, questions) == pytest.approx(factor * sqrt(0.09 + 0.49 / 5000), rel=2e-3)


@pytest.mark.parametrize("questions", [1, 4])
@pytest.mark.parametrize("seeds", [2, 3])
def test_four_of_five_studies_decide_the_smallest_difference(seeds: int, questions: int) -> None:
    difference = detectable_difference(0.7, 0.0, seeds, questions)
    drawn = np.random.default_rng(0).normal(difference, 0.7, (1000, seeds))
    decided = [t_interval(values, 1 - 0.05 / questions)[0] > 0 for values in drawn]
    assert np.mean(decided) == pytest.approx(0.8, abs=0.04)


def group(method: str, scores: list[float], images: float, seeds: float) -> RunGroup:
    """A setting of several seeds, whose samples deviate by `images` together and by `seeds` each."""
    rng = np.random.default_rng(len(method))
    samples = (
        np.array(scores)[:, None] + images * rng.standard_normal(20_000) + seeds * rng.standard_normal((len(scores), 20_000))
    )
    row = {"size": "s", "method": method, "budget": 1.0, "variant": "curated"}
    return RunGroup(tuple({**row, "seed": k, "miou": score} for k, score in enumerate(scores)), samples)


def test_the_deviation_of_a_comparison_is_split_into_seeds_and_images() -> None:
    """Four seeds of 0.01 each: a difference deviates by 1.414 points with one; images by 0.02 each, 2.83 points."""
    one, other = group("a", [0.5] * 4, 0.02, 0.01), group("other", [0.47] * 4, 0.02, 0.01)
    pair = compare("a, other", one, other, above()).power(seed_deviation=1.0)
    assert pair.seeds == 4
    assert pair.seed_deviation == pytest.approx(sqrt(2))
    assert pair.image_deviation == pytest.approx(2 * sqrt(2), rel=0.02)
    assert pair.difference == pytest.approx(3.0, abs=0.1)  # of 20,000 draws, the mean deviates by 0.02
    mean = Difference(np.random.default_rng(0).normal(3.0, 0.5, 20_000), dict.fromkeys(range(4), 3.0))
    composite = Comparison("a mean", mean, above(1.0), (1.0,)).power(1.0)
    assert (composite.seeds, composite.image_deviation) == (4, 0.0)
    assert composite.seed_deviation == pytest.approx(1.0, rel=0.02)  # with one seed; of four the mean deviates by half
    assert composite.difference == pytest.approx(2.0, abs=0.02)


def test_words_say_what_can_be_decided_and_what_the_others_take() -> None:
    large, small, none = (ComparedPair("x", d, 4, 1.0, i) for d, i in ((2.2, 0.0), (0.75, 0.0), (0.75, 0.5)))
    assert describe_power([large], 1).startswith(
        "These runs can decide it: with 4 seeds a difference of 2.13 points is told apart (power 80 %, 5 % over 1 comparisons"
    )
    assert "with 1 seed no difference is told apart" in describe_power([replace(large, seeds=1)], 1)
    said = describe_power([large, small, none], 1)
    assert "2 of 3 differences are smaller; 1 of them would take 16 seeds were they true" in said  # 0.749 of 16
    assert "1 more than 1,000 or no number of seeds: longer transfers or more test images are wanted" in said


def test_claims_carry_their_power() -> None:
    one, other = (group(name, [score + k / 1e4 for k in range(4)], 0.0, 0.001) for name, score in (("a", 0.5), ("other", 0.47)))
    settings = Settings((one, other), 0.001, own_deviation=0.001)
    comparisons = [compare("a, other", one, other, above())]
    assert answer_claim("F4", "says", settings, comparisons, 1, "lead").power.startswith("These runs can decide it")
    blind = Settings((one, other), None)
    assert "No setting has two seeds" in answer_claim("F4", "says", blind, comparisons, 1, "lead").power
