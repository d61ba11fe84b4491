"""Temporal localisation beside the public evaluation (golden), the notes' vector, and hostile input."""

import json

import numpy as np
import pytest

from support.scripts import GOLDEN
from tapetum.core.errors import BadInput
from tapetum.metrics.localisation import all_point_ap, localisation_scores, temporal_iou
from tapetum.types import Segments

CASES = json.loads((GOLDEN / "benchmark_metrics.json").read_text())["localisation"]


def segments(rows: list) -> Segments:
    """Of (start, end, label, score)."""
    return Segments(
        start_s=[r[0] for r in rows], end_s=[r[1] for r in rows], labels=[r[2] for r in rows], scores=[r[3] for r in rows]
    )


@pytest.mark.parametrize("overlaps", [(0.5,), (0.25, 0.5)])
def test_an_overlap_that_is_just_enough_is_a_hit(overlaps: tuple[float, ...]) -> None:
    found = localisation_scores({0: segments([(0, 2, "a", 0.9)])}, {0: segments([(0, 4, "a", 1)])}, overlaps, (1,))
    assert set(found.map_at.values()) == set(found.recall[1].values()) == {1.0}


@pytest.mark.parametrize("number", range(len(CASES)))
def test_numbers_are_those_of_the_public_evaluation(number: int) -> None:
    case = CASES[number]
    truths = {video: segments([(*row, 1.0) for row in rows]) for video, rows in case["truth"].items()}
    scores = localisation_scores({video: segments(rows) for video, rows in case["said"].items()}, truths)
    np.testing.assert_allclose(list(scores.map_at.values()), case["map"], rtol=0, atol=1e-9)
    np.testing.assert_allclose([list(scores.recall[k].values()) for k in (1, 5)], case["recall"], rtol=0, atol=1e-9)


def test_bad_input() -> None:
    truth = {"v": segments([(0, 1, "a", 1)])}
    with pytest.raises(BadInput, match="no segment"):
        localisation_scores({}, {"v": segments([])})
    with pytest.raises(BadInput, match="'w', which is not in the truth"):
        localisation_scores({"w": segments([])}, truth)
    with pytest.raises(BadInput, match="overlaps"):
        localisation_scores({}, truth, overlaps=[0.0])
    with pytest.raises(BadInput, match="NaN"):
        temporal_iou([[0, float("nan")]], [[0, 1]])
    with pytest.raises(BadInput, match="start <= end"):
        temporal_iou([[1, 0]], [[0, 1]])
    with pytest.raises(BadInput, match="2 hits of 1"):
        all_point_ap(np.ones(2, bool), 1)
