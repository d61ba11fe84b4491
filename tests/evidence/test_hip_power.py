"""The power of HiP's comparisons, by hand."""

import pytest

from support.scripts import script

hip_power = script("evidence/hip-claims/power.py")


def test_a_difference_is_compared_with_what_the_seeds_of_both_decide() -> None:
    runs = {f"a-{seed}": {"accuracy": 0.5 + 0.02 * seed} for seed in (1, 2, 3, 4)}
    runs |= {f"b-{seed}": {"accuracy": 0.5} for seed in (1, 2, 3)}
    count, mean, deviation, images, decided, seeds = hip_power.compare(runs, "a", "b", 0.0, 2500)
    assert count == 3
    assert (mean, deviation) == (pytest.approx(4), pytest.approx(2))
    assert images == pytest.approx(100 * (0.54 * 0.46 / 2500 + 0.25 / 2500) ** 0.5)
    assert decided == pytest.approx(5.6535 * (images**2 + 4 / 3) ** 0.5, rel=1e-3)  # a t test of three: 3.264 sqrt(3)
    assert seeds == 177  # of the normal distribution 90: near what the images leave, a little is much
    assert hip_power.compare(runs, "a", "b", 0.0, 10_000)[5] == 6  # 3.514 sqrt(0.498 + 4 / 6) = 3.79, of five 4.29
    assert hip_power.compare(runs, "a", "b", 0.0, 2400)[5] is None  # the images alone deviate by more than 4 / 2.8016
    assert hip_power.compare(runs, "a", "b", -10.0, 2500)[5] == 3
