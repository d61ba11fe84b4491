"""Boxes and masks beside pycocotools, scikit-learn and the official evaluation of DAVIS (golden)."""

import json

import numpy as np
import pytest

from support.scripts import GOLDEN, script
from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import box_iou, paired_box_iou
from tapetum.metrics.masks import (
    Confusion,
    DavisScores,
    OverFrames,
    boundary_f,
    davis_scores,
    joined,
    mask_iou,
    outline,
    over_frames,
)

RNG = np.random.default_rng(0)


def test_overlaps_of_boxes_and_masks_are_those_of_pycocotools() -> None:
    public = pytest.importorskip("pycocotools.mask")
    corner = RNG.uniform(0, 50, (2, 30, 2))
    a, b = np.concatenate([corner, corner + RNG.uniform(0, 30, (2, 30, 2))], -1)
    sized = [np.concatenate([x[:, :2], x[:, 2:] - x[:, :2]], 1) for x in (a, b)]
    np.testing.assert_allclose(box_iou(a, b), public.iou(*sized, [0] * 30), atol=1e-12)
    np.testing.assert_allclose(paired_box_iou(a, b), np.diag(box_iou(a, b)), atol=1e-12)
    masks = RNG.random((2, 6, 20, 15)) < RNG.random((2, 6, 1, 1))
    encoded = [[public.encode(np.asfortranarray(m.astype(np.uint8))) for m in side] for side in masks]
    np.testing.assert_allclose(mask_iou(*masks), np.diag(public.iou(*encoded, [0] * 6)), atol=1e-12)


def test_boxes_by_hand() -> None:
    assert box_iou([[0, 0, 2, 2], [3, 3, 3, 3]], [[0, 0, 2, 2], [3, 3, 3, 3]]).tolist() == [[1, 0], [0, 0]]
    assert box_iou(np.zeros((0, 4)), [[0, 0, 1, 1]]).shape == (0, 1)


def test_objects_of_all_videos_weigh_the_same() -> None:
    def scores(start: float, names: str) -> DavisScores:
        objects = {
            name: tuple(
                OverFrames(mean=start + k + part, recall=2 * (start + k) + part, decay=start - k - part) for part in (0, 0.5)
            )
            for k, name in enumerate(names)
        }
        return DavisScores(
            j=OverFrames(mean=-1, recall=-1, decay=-1), f=OverFrames(mean=-1, recall=-1, decay=-1), objects=objects
        )

    scores = joined([scores(0, "abc"), scores(8, "d")])  # objects begin at 0, 1, 2 and 8: of mean 11 / 4
    assert scores.j == OverFrames(mean=11 / 4, recall=22 / 4, decay=5 / 4)
    assert scores.f == OverFrames(mean=13 / 4, recall=24 / 4, decay=3 / 4)
    assert [*scores.objects] == ["a", "b", "c", "d"]
    with pytest.raises(BadInput, match="no scores"):
        joined([])


def test_segmentation_is_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth = RNG.integers(0, 5, (3, 20, 30)).astype(np.uint8)
    said = np.where(RNG.random(truth.shape) < 0.6, truth, RNG.integers(0, 5, truth.shape)).astype(np.uint8)
    truth[RNG.random(truth.shape) < 0.1] = 255
    counted = Confusion(5)
    for a, b in zip(said, truth, strict=True):
        counted.add(a, b)
    kept = truth != 255
    np.testing.assert_array_equal(counted.counts, metrics.confusion_matrix(truth[kept], said[kept], labels=range(5)))
    np.testing.assert_allclose(counted.iou, metrics.jaccard_score(truth[kept], said[kept], average=None), atol=1e-12)
    assert counted.mean_iou == pytest.approx(metrics.jaccard_score(truth[kept], said[kept], average="macro"))
    assert counted.accuracy == pytest.approx(metrics.accuracy_score(truth[kept], said[kept]))


def test_a_class_that_is_nowhere_and_a_prediction_that_is_no_class() -> None:
    counted = Confusion(3)
    counted.add(np.array([[0, 9, -1]]), np.array([[0, 0, 1]]))
    assert counted.iou.tolist()[:2] == [0.5, 0]
    assert np.isnan(counted.iou[2])
    assert (counted.mean_iou, counted.accuracy) == (0.25, pytest.approx(1 / 3))
    assert np.isnan(Confusion(2).mean_iou)


@pytest.mark.parametrize("case", json.loads((GOLDEN / "benchmark_metrics.json").read_text())["davis"], ids=lambda c: c["seed"])
def test_davis_is_the_official_evaluation(case: dict) -> None:
    truth, said = script("tests/golden/make_benchmark_metrics_golden.py").blobs(case["seed"], *case["shape"])
    np.testing.assert_allclose(mask_iou(said, truth), case["per_frame"]["j"], rtol=0, atol=1e-9)
    f = [boundary_f(a, b) for a, b in zip(said, truth, strict=True)]
    np.testing.assert_allclose(f, case["per_frame"]["f"], rtol=0, atol=1e-9)
    scores = davis_scores({"v": said}, {"v": truth})
    for mine, theirs in ((scores.j, case["j"]), (scores.f, case["f"])):
        assert [mine.mean, mine.recall, mine.decay] == pytest.approx(theirs, abs=1e-9)
    assert scores.j_and_f == pytest.approx((case["j"][0] + case["f"][0]) / 2)


def test_davis_by_hand() -> None:
    truth = np.zeros((4, 9, 9), bool)
    truth[:, 2:6, 2:6] = True
    perfect, nothing = davis_scores({1: truth}, {1: truth}), davis_scores({}, {1: truth})
    assert (perfect.j_and_f, perfect.j.recall, perfect.j.decay) == (1, 1, 0)
    assert (nothing.j_and_f, nothing.objects[1][1].mean) == (0, 0)
    assert boundary_f(truth[0], np.roll(truth[0], 3, 1), tolerance=1) < boundary_f(
        truth[0], np.roll(truth[0], 1, 1), tolerance=1
    )
    assert not outline(np.ones((3, 3), bool)).any()
    falling = over_frames(np.linspace(1, 0, 300))
    assert falling.decay == pytest.approx(0.75, abs=0.01)  # past 256 frames too
    assert over_frames([0.5, 0.5, 0.5000001, 1]).recall == 0.5  # above a half, as there


def test_bad_input() -> None:
    mask = np.zeros((2, 2), bool)
    for call, words in [
        (lambda: box_iou([[0, 0, 1]], [[0, 0, 1, 1]]), "shape"),
        (lambda: box_iou([[2, 0, 1, 1]], [[0, 0, 1, 1]]), "corner"),
        (lambda: box_iou([[0, 0, 1, np.inf]], [[0, 0, 1, 1]]), "infinity"),
        (lambda: mask_iou(mask, np.zeros((3, 2), bool)), "shapes"),
        (lambda: mask_iou(mask * 2.0, mask), "float64"),
        (lambda: Confusion(0), "0 classes"),
        (lambda: Confusion(2).add(np.zeros((2, 2)), np.zeros((2, 2), int)), "float64"),
        (lambda: Confusion(2).add(np.zeros((2, 2), int), np.full((2, 2), 2)), r"classes 2\.\.2"),
        (lambda: davis_scores({}, {}), "nothing to score against"),
        (lambda: davis_scores({"b": mask[None]}, {"a": mask[None]}), "'b'"),
        (lambda: davis_scores({"a": mask}, {"a": mask[None]}), "shapes"),
        (lambda: over_frames(np.array([np.nan])), "finite"),
    ]:
        with pytest.raises(BadInput, match=words):
            call()
