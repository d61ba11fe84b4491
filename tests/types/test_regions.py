"""Boxes, masks, segments and answers: what they accept, what they refuse, what they derive."""

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.types import Boxes, Masks, Segments


def test_boxes_convert_and_fill_in() -> None:
    boxes = Boxes(xyxy=[[0, 0, 4, 2], [1, 1, 1, 5]])  # pyright: ignore[reportArgumentType]
    assert len(boxes) == 2
    assert boxes.xyxy.dtype == np.float32
    assert boxes.labels == ("", "")
    np.testing.assert_array_equal(boxes.scores, [1, 1])
    np.testing.assert_array_equal(boxes.area, [8, 0])
    np.testing.assert_array_equal(boxes.centres, [[2, 1], [1, 3]])
    nothing = Boxes(xyxy=[])  # pyright: ignore[reportArgumentType]
    assert nothing.xyxy.shape == (0, 4)
    assert nothing.labels == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"xyxy": [[4, 0, 0, 2]]}, "left of or above"),
        ({"xyxy": [[0, 0, 4]]}, r"shape \(1, 3\)"),
        ({"xyxy": [[0, 0, 4, float("nan")]]}, "NaN"),
        ({"xyxy": [[0, 0, 4, 2]], "labels": ["a", "b"]}, "2 labels for 1"),
        ({"xyxy": [[0, 0, 4, 2]], "labels": "cat"}, "one text"),
        ({"xyxy": [[0, 0, 4, 2]], "scores": [0.5, 0.5]}, r"scores of Boxes has shape \(2,\)"),
    ],
)
def test_boxes_refuse(fields: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Boxes(**fields)


def test_masks_have_tight_boxes() -> None:
    masks = np.zeros((2, 6, 8), int)
    masks[0, 2:4, 3:7] = 1
    found = Masks(masks=masks, labels=["cup", "none"]).boxes
    np.testing.assert_array_equal(found.xyxy, [[3, 2, 7, 4], [0, 0, 0, 0]])
    assert found.labels == ("cup", "none")
    for wrong in (np.zeros((6, 8), bool), np.full((1, 2, 2), 2), np.zeros((1, 2, 2), np.float32)):
        with pytest.raises(BadInput, match="masks of Masks"):
            Masks(masks=wrong)


def test_segments_run_forwards() -> None:
    segments = Segments(start_s=[0, 1.5], end_s=[0.5, 1.5], labels=["push", "fall"], scores=[0.2, 0.9])  # pyright: ignore[reportArgumentType]
    assert segments.start_s.dtype == np.float64
    assert len(segments) == 2
    with pytest.raises(BadInput, match="ends before it starts"):
        Segments(start_s=[1], end_s=[0])  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match="end_s of Segments"):
        Segments(start_s=[1], end_s=[1, 2])  # pyright: ignore[reportArgumentType]
