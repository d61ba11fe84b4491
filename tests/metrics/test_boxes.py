"""COCO's average precision beside pycocotools, on random images with crowds, ties and sizes."""

import contextlib
import io

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import TrueBoxes, detection_scores
from tapetum.types import Boxes


def images(seed: int) -> tuple[dict[int, Boxes], dict[int, TrueBoxes]]:
    """Boxes of quarter pixels about true ones: some right, some shifted, some twice, some anywhere, equal scores."""
    rng = np.random.default_rng(seed)
    predictions, truths = {}, {}
    for key in range(1, int(rng.integers(2, 9))):
        n = int(rng.integers(0, 7))
        corner, side = rng.integers(0, 800, (n, 2)) / 4, rng.choice([8, 40, 120, 200], (n, 2)) + rng.integers(0, 20, (n, 2)) / 4
        true = np.concatenate([corner, corner + side], 1)
        names = rng.choice(["cat", "dog", "cup"], n).tolist()
        truths[key] = TrueBoxes(
            xyxy=true, labels=names, crowd=rng.random(n) < 0.15, area=np.prod(side, 1) * rng.choice([0.5, 0.9], n)
        )
        found, labels = [], []
        for box, name in zip(true, names, strict=True):
            for _ in range(rng.integers(0, 4)):
                shift = rng.integers(-20, 20, 2) / 4
                found.append(box + np.concatenate([shift, shift + rng.integers(-3, 3, 2) / 4]))
                labels.append(name if rng.random() < 0.8 else "mug")
        for _ in range(rng.integers(0, 5)):
            at = rng.integers(0, 800, 2) / 4
            found.append(np.concatenate([at, at + rng.integers(1, 400, 2) / 4]))
            labels.append(str(rng.choice(["cat", "dog"])))
        if found and rng.random() < 0.9:
            boxes = np.array(found)
            boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
            predictions[key] = Boxes(xyxy=boxes, labels=labels, scores=rng.integers(0, 12, len(boxes)) / 16)
    return predictions, truths


def public(predictions: dict[int, Boxes], truths: dict[int, TrueBoxes]) -> np.ndarray:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    number = {"cat": 1, "cup": 2, "dog": 3, "mug": 4}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": key} for key in truths],
            "categories": [{"id": k, "name": name} for name, k in number.items()],
            "annotations": [
                {
                    "image_id": key, "category_id": number[t.labels[k]], "iscrowd": int(t.crowd[k]), "area": float(t.area[k]),
                    "bbox": [*t.xyxy[k, :2], *(t.xyxy[k, 2:] - t.xyxy[k, :2])],
                }
                for key, t in truths.items() for k in range(len(t.labels))
            ],
        }  # fmt: skip
        for k, entry in enumerate(truth.dataset["annotations"], 1):
            entry["id"] = k
        truth.createIndex()
        found = [
            {
                "image_id": key, "category_id": number[b.labels[k]], "score": float(b.scores[k]),
                "bbox": [*b.xyxy[k, :2].tolist(), *(b.xyxy[k, 2:] - b.xyxy[k, :2]).tolist()],
            }
            for key, b in predictions.items() for k in range(len(b))
        ]  # fmt: skip
        run = evaluation.COCOeval(truth, truth.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


@pytest.mark.parametrize("seed", range(25))
def test_numbers_are_those_of_pycocotools(seed: int) -> None:
    predictions, truths = images(seed)
    if not predictions:
        pytest.skip("pycocotools takes no empty list")
    theirs = public(predictions, truths)
    own = detection_scores(predictions, truths)
    mine = [own.ap, own.ap50, own.ap75, own.ap_small, own.ap_medium, own.ap_large, *own.recall.values()]
    mine += own.recall_by_size.values()
    np.testing.assert_allclose(mine, np.where(theirs < 0, np.nan, theirs), rtol=0, atol=1e-9)


@pytest.mark.parametrize("second", [[0, 0, 20, 40], [20, 0, 40, 40]])
def test_of_true_boxes_of_equal_overlap_pycocotools_takes_the_last(second: list[int]) -> None:
    """The first box covers both true ones by a half; the second is one of them, and finds it free or not."""
    truths = {1: TrueBoxes(xyxy=[[0, 0, 20, 40], [20, 0, 40, 40]], labels=["cat"] * 2)}
    predictions = {1: Boxes(xyxy=[[0, 0, 40, 40], second], labels=["cat"] * 2, scores=[0.9, 0.8])}
    ap50 = detection_scores(predictions, truths).ap50
    assert ap50 == pytest.approx(public(predictions, truths)[1], abs=1e-9)
    assert ap50 == pytest.approx(1 if second[0] == 0 else 51 / 101)


@pytest.mark.parametrize("side", [32, 96])
def test_boxes_at_the_bound_of_two_sizes_are_of_both_as_in_pycocotools(side: int) -> None:
    rows = [[0, 0, side, side], [200, 0, 200 + side, side], [0, 200, side, 200 + side + 1], [400, 0, 400 + side, side - 1]]
    truths = {1: TrueBoxes(xyxy=rows, labels=["cat"] * 4)}
    found = [[0, 0, side, side - 2], rows[1], [300, 300, 300 + side, 300 + side], rows[2]]
    predictions = {1: Boxes(xyxy=found, labels=["cat"] * 4, scores=[0.9, 0.8, 0.85, 0.7])}
    own, theirs = detection_scores(predictions, truths), public(predictions, truths)
    mine = [own.ap_small, own.ap_medium, own.ap_large, *own.recall_by_size.values()]
    np.testing.assert_allclose(mine, np.where(theirs < 0, np.nan, theirs)[[3, 4, 5, 9, 10, 11]], rtol=0, atol=1e-9)


def test_hand_made_and_empty() -> None:
    truth = {"a": TrueBoxes(xyxy=[[0, 0, 10, 10]], labels=["cat"]), "b": TrueBoxes(xyxy=np.zeros((0, 4)), labels=[])}
    found = {"b": Boxes(xyxy=[[0, 0, 10, 10]], labels=["cat"], scores=[0.9])}
    assert detection_scores({}, truth).ap == 0
    assert detection_scores(found, truth).ap == 0
    found["a"] = Boxes(xyxy=[[0, 0, 10, 8]], labels=["cat"], scores=[0.5])  # overlap 0.8; second of two: precision a half
    scores = detection_scores(found, truth)
    assert (scores.ap50, scores.ap75, scores.ap) == pytest.approx((0.5, 0.5, 0.35))
    assert scores.ap_by_label == {"cat": pytest.approx(0.35)}
    assert np.isnan(scores.ap_large)


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="nothing to score against"):
        detection_scores({}, {})
    with pytest.raises(BadInput, match="1 ids of the predictions are not in the truth, such as 'b'"):
        detection_scores({"b": Boxes(xyxy=[])}, {"a": TrueBoxes(xyxy=[], labels=[])})
    with pytest.raises(BadInput, match="NaN"):
        TrueBoxes(xyxy=[[0, 0, 1, float("nan")]], labels=["cat"])
    with pytest.raises(BadInput, match="2 labels"):
        TrueBoxes(xyxy=[[0, 0, 1, 1]], labels=["cat", "dog"])
