"""HOTA beside TrackEval (golden), overlaps at the threshold, bad input."""

import json

import numpy as np
import pytest

from support.scripts import GOLDEN, script
from tapetum.core.errors import BadInput
from tapetum.metrics.hota import box_hota, hota

CASES = json.loads((GOLDEN / "benchmark_metrics.json").read_text())["hota"]


@pytest.mark.parametrize("seed", range(len(CASES)))
def test_numbers_are_those_of_trackeval(seed: int) -> None:
    scores = hota(script("tests/golden/make_benchmark_metrics_golden.py").tracks(seed))
    for name, theirs in CASES[seed].items():
        np.testing.assert_allclose(scores.by_alpha[name], theirs, rtol=0, atol=1e-9, err_msg=name)
    assert scores.hota == pytest.approx(np.mean(CASES[seed]["hota"]), abs=1e-9)


@pytest.mark.parametrize("twentieths", range(1, 20))
def test_an_overlap_that_is_just_alpha_is_a_hit(twentieths: int) -> None:
    scores = box_hota({0: ([0], [[0, 0, 20, 1]])}, {0: ([0], [[0, 0, twentieths, 1]])})
    assert scores.by_alpha["det_a"].tolist() == [1] * twentieths + [0] * (19 - twentieths)


def test_nothing_at_all() -> None:
    for frames in ([], [([], [], np.zeros((0, 0)))], [([], ["a"], np.zeros((0, 1)))], [([], ["a"], [])]):
        scores = hota(frames)
        assert (scores.hota, scores.loc_a) == (0, 1)


def test_bad_input() -> None:
    for frames, words in [
        ([(["a", "a"], [], np.zeros((2, 0)))], "twice"),
        ([(["a"], ["b"], [[np.nan]])], "NaN"),
        ([(["a"], ["b"], [[2.0]])], r"0\.\.1"),
        ([(["a"], ["b"], [[0.1, 0.2]])], r"give \(1, 1\)"),
    ]:
        with pytest.raises(BadInput, match=words):
            hota(frames)
    with pytest.raises(BadInput, match="predicted track 'x' has 1 boxes"):
        box_hota({0: ([2], [[0, 0, 1, 1]])}, {"x": ([1, 2], [[0, 0, 1, 1]])})
