"""Best overlaps, recovery and CorLoc against loops and values by hand."""

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.odin.metrics import best_overlaps, corloc, discovery_scores


def test_best_overlaps_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    objects = rng.random((4, 12, 9)) < 0.3
    objects[3] = False
    maps = [rng.integers(-1, k, (12, 9)) for k in range(1, 7)]
    wanted = [
        max(
            ((ids == region) & mask).sum() / max(((ids == region) | mask).sum(), 1)
            for ids in maps
            for region in range(ids.max() + 1)
        )
        for mask in objects
    ]
    assert best_overlaps(objects, maps) == pytest.approx(wanted, abs=1e-15)
    assert best_overlaps(objects, maps)[3] == 0


def test_one_cluster_is_the_whole_image() -> None:
    objects = np.zeros((2, 10, 10), bool)
    objects[0, :5], objects[1, :2, :3] = True, True
    assert best_overlaps(objects, [np.zeros((10, 10), int)]).tolist() == [0.5, 0.06]
    assert discovery_scores([np.array([0.5, 0.06])]) == {"abo": pytest.approx(0.28), "object_recovery": 0}


def test_boxes_are_right_from_half_an_overlap() -> None:
    truth = [np.array([[0, 0, 10, 10], [50, 50, 60, 60]]), np.array([[0, 0, 10, 10]])]
    assert corloc([np.array([50, 50, 60, 55]), np.array([0, 0, 10, 4])], truth) == 0.5
    with pytest.raises(BadInput, match="1 boxes for 2"):
        corloc([np.array([0, 0, 1, 1])], truth)


def test_what_cannot_be_scored_is_said() -> None:
    with pytest.raises(BadInput, match="bring it to their size"):
        best_overlaps(np.zeros((1, 4, 4), bool), [np.zeros((2, 2), int)])
    with pytest.raises(BadInput, match="no image has an object"):
        discovery_scores([np.array([])])
