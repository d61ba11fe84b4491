"""Deviations and intervals in the pages of evidence are those of the runs that lie there, by one definition."""

import numpy as np
import pytest

from support.scripts import ROOT, script

plus_minus = script("benchmarks/plus_minus.py")


def test_a_deviation_is_the_samples_and_an_interval_the_bootstraps() -> None:
    assert plus_minus.with_deviation([1.0, 2.0, 6.0], 3) == "3.000 ± 2.646"  # the root of (4 + 1 + 9) / 2
    assert plus_minus.with_deviation([2.5], 1) == "2.5"
    x = np.random.default_rng(3).normal(0.3, 2.0, 400)
    low, high = plus_minus.interval(x)
    assert (low, high) == pytest.approx(x.mean() + np.array([-1.96, 1.96]) * x.std() / 20, abs=0.02)
    assert plus_minus.with_interval([0.25] * 5, 2) == "+0.25 [+0.25, +0.25]"


def test_a_verdict_is_of_every_seed() -> None:
    cases = {"held": [True] * 3, "falsified": [False] * 3, "undecided": [True, False, True], "not finished": [None] * 3}
    assert all(plus_minus.verdict(true) == said for said, true in cases.items())
    assert plus_minus.verdict([True, None]) == "held, 1 of 2 seeds"


@pytest.mark.parametrize("page", ["hip", "bootstrap"])
def test_pages_say_what_the_runs_gave(page: str) -> None:
    text = (ROOT / "docs" / "evidence" / f"{page}.md").read_text(encoding="utf-8")
    cells = [*getattr(plus_minus, f"{page}_cells")()]
    assert len(cells) > 15
    assert [cell for cell in cells if cell not in text] == []
    found = sum(cell.count("±") for cell in set(cells))
    assert found >= {"hip": 36, "bootstrap": 26}[page]
