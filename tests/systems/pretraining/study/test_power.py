"""Power of a study's comparisons: by hand, by scipy's normal distribution, and by drawing studies."""

from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from tapetum.systems.pretraining.study.fronts import RunGroup, Settings, interval
from tapetum.systems.pretraining.study.power import ComparedPair, describe_power, detectable_difference, seeds_needed
from tapetum.systems.pretraining.study.questions import Comparison, above, answer_claim, compare


def test_by_hand() -> None:
    """z(0.975) = 1.960 and z(0.8) = 0.842: 2.802 deviations; 16 seeds shrink 2 points to 0.5."""
    assert detectable_difference(2.0, 0.0, 16) == pytest.approx(2.802 * 0.5, abs=1e-3)
    assert detectable_difference(2.0, 1.2, 16) == pytest.approx(2.802 * 1.3, abs=1e-3)  # 0.5, 1.2, 1.3
    assert seeds_needed(1.4, 2.0, 0.0) == 17  # (2.802 x 2 / 1.4)² = 16.02
    assert seeds_needed(1.41, 2.0, 0.0) == 16
    assert seeds_needed(2.8, 2.0, 1.0) is None
    assert seeds_needed(100.0, 2.0, 0.0) == 1


@pytest.mark.parametrize("questions", [1, 3, 16])
def test_quantiles_are_those_of_scipy(questions: int) -> None:
    factor = norm.ppf(1 - 0.025 / questions) + norm.ppf(0.8)
    assert detectable_difference(0.7, 0.3, 5, questions) == pytest.approx(factor * sqrt(0.09 + 0.49 / 5), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("questions", [1, 4])
def test_four_of_five_studies_decide_the_smallest_difference(questions: int) -> None:
    """Studies are drawn, each with its interval as `fronts` makes it: the mean of 3 seeds, the images apart."""
    rng, difference = np.random.default_rng(0), detectable_difference(0.7, 0.3, 3, questions)
    decided = []
    for _ in range(1000):
        mean = difference + 0.3 * rng.standard_normal() + 0.7 * rng.standard_normal(3).mean()
        samples = mean + sqrt(0.09 + 0.49 / 3) * rng.standard_normal(2000)
        decided.append(interval(samples, questions)[0] > 0)
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
    composite = Comparison("a mean", np.random.default_rng(0).normal(3.0, 0.5, 20_000), above(1.0), (1.0,)).power(1.0)
    assert (composite.seeds, composite.image_deviation) == (1, 0.0)
    assert composite.seed_deviation == pytest.approx(0.5, rel=0.02)
    assert composite.difference == pytest.approx(2.0, abs=0.02)


def test_words_say_what_can_be_decided_and_what_the_others_take() -> None:
    large, small, none = (ComparedPair("x", d, 4, 1.0, i) for d, i in ((2.0, 0.0), (0.7, 0.0), (0.7, 0.5)))
    assert describe_power([large], 1).startswith(
        "These runs can decide it: with 4 seeds a difference of 1.40 points is told apart (power 80 %, 5 % over 1 comparisons"
    )
    said = describe_power([large, small, none], 1)
    assert "2 of 3 differences are smaller; 1 of them would take 17 seeds were they true" in said  # (2.802 / 0.7)² = 16.02
    assert "1 more than 1,000 or no number of seeds: longer transfers or more test images are wanted" in said


def test_claims_carry_their_power() -> None:
    one, other = group("a", [0.5] * 4, 0.0, 0.001), group("other", [0.47] * 4, 0.0, 0.001)
    settings = Settings((one, other), 0.001, own_deviation=0.001)
    comparisons = [compare("a, other", one, other, above())]
    assert answer_claim("F4", "says", settings, comparisons, 1, "lead").power.startswith("These runs can decide it")
    blind = Settings((one, other), None)
    assert "No setting has two seeds" in answer_claim("F4", "says", blind, comparisons, 1, "lead").power
