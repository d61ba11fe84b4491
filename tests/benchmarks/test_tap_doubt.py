"""Measures of how well a tracker knows its errors, against values made by hand; the page has the table of the results."""

import json

import numpy as np
import pytest

from support.docs_pages import DOCS
from support.scripts import script

tap_doubt = script("benchmarks/tap_doubt.py")


def test_the_wrong_places_among_the_most_doubted_tenth() -> None:
    doubt = np.arange(20.0)
    wrong = np.zeros(20, bool)
    wrong[[0, 18, 19]] = True
    assert tap_doubt.caught(doubt, wrong) == pytest.approx(2 / 3)
    assert tap_doubt.caught(-doubt, wrong) == pytest.approx(1 / 3)


def test_the_area_is_least_where_errors_come_last() -> None:
    wrong = np.array([True, False, False, True])
    assert tap_doubt.risks(np.array([4.0, 1, 2, 3]), wrong).tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert tap_doubt.risks(np.array([1.0, 3, 4, 2]), wrong).tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2])


def test_the_calibration_error_weighs_bins_by_their_places() -> None:
    chance = np.array([0.05, 0.05, 0.05, 0.95])
    assert tap_doubt.calibration_error(chance, np.array([False, False, False, True])) == pytest.approx((0.15 + 0.05) / 4)
    assert tap_doubt.calibration_error(chance, np.array([True, True, True, True])) == pytest.approx((2.85 + 0.05) / 4)


def test_the_page_has_the_table_of_the_results() -> None:
    results = json.loads((tap_doubt.EVIDENCE / "tap-doubt" / "results.json").read_text())
    assert tap_doubt.table(results) in (DOCS / "evidence" / "tap-doubt.md").read_text()
