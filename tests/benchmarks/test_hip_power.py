"""The power of HiP's comparisons, by hand."""

import pytest

from support.scripts import script

hip_power = script("benchmarks/hip_power.py")


def test_a_difference_is_compared_with_what_three_seeds_decide() -> None:
    runs = {f"a-{seed}": {"accuracy": 0.5 + 0.02 * seed} for seed in (1, 2, 3)}
    runs |= {f"b-{seed}": {"accuracy": 0.5} for seed in (1, 2, 3)}
    mean, deviation, images, decided, seeds = hip_power.compare(runs, "a", "b", 0.0, 2500)
    assert (mean, deviation) == (pytest.approx(4), pytest.approx(2))
    assert images == pytest.approx(100 * (0.54 * 0.46 / 2500 + 0.25 / 2500) ** 0.5)
    assert decided == pytest.approx(2.8016 * (images**2 + 4 / 3) ** 0.5, rel=1e-4)  # 1.9600 + 0.8416
    assert seeds == 90  # 4 / ((4 / 2.8016)² - 1.9936), rounded up
    assert hip_power.compare(runs, "a", "b", 0.0, 2400)[4] is None  # the images alone deviate by more than 4 / 2.8016
    assert hip_power.compare(runs, "a", "b", -10.0, 2500)[4] == 1
