"""numpy's masked arrays: what is masked is never read as if it were there."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tapetum
from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.metrics.boxes import TrueBoxes
from tapetum.metrics.masks import mask_iou
from tapetum.tracks.metrics import tapvid_metrics
from tapetum.tracks.tracker import check_frame, check_queries
from tapetum.types import Boxes, Masks, Tracks
from tapetum.video import open_video

FRAMES = np.ma.masked_greater(np.arange(3 * 40 * 48 * 3).reshape(3, 40, 48, 3).astype(np.uint8), 250)
POINTS = np.ma.MaskedArray([[0.0, 1.0, 2.0], [0.0, 3.0, 4.0]], mask=[[False] * 3, [True] * 3])
TRUTH = np.ma.MaskedArray(np.zeros((1, 3, 2)), mask=[[[False] * 2, [True] * 2, [False] * 2]])
HIDDEN = np.zeros((1, 3), bool)


@pytest.mark.parametrize(
    "call",
    [
        lambda: open_video(FRAMES),
        lambda: tapetum.track(FRAMES, model="static", grid=1),
        pytest.param(lambda: tapetum.ask(FRAMES[0], "what?"), marks=pytest.mark.slow),
        lambda: check_frame(FRAMES[0]),
        lambda: build("vit-nano").prepare(FRAMES),
        lambda: check_queries(POINTS, 3, (40, 48)),
        lambda: tapetum.track(np.zeros((3, 40, 48, 3), np.uint8), model="static", query=POINTS),
        lambda: Tracks(xy=TRUTH, visible=~HIDDEN, confidence=np.ones((1, 3)), queries=np.zeros((1, 3))),
        lambda: Boxes(xyxy=np.ma.MaskedArray([[0.0, 0, 1, 1]], mask=True)),
        lambda: Masks(masks=np.ma.MaskedArray(np.zeros((1, 4, 4), bool), mask=True)),
        lambda: tapvid_metrics(np.zeros((1, 3)), HIDDEN, TRUTH, HIDDEN, np.zeros((1, 3, 2)), "first"),
        lambda: mask_iou(np.ma.MaskedArray(np.zeros((4, 4), bool), mask=True), np.zeros((4, 4), bool)),
        lambda: TrueBoxes(xyxy=np.ma.MaskedArray([[0.0, 0, 1, 1]], mask=True), labels=["a"]),
    ],
)
def test_masked_values_are_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(BadInput, match=r"masked array with .* masked; fill .* leave"):
        call()


def test_masked_arrays_without_a_masked_value_are_arrays() -> None:
    video = open_video(np.ma.MaskedArray(np.full((2, 8, 8, 3), 7, np.uint8), mask=False))
    assert video[[0]].max() == 7
    assert type(video[[0]]) is np.ndarray
    assert check_queries(np.ma.MaskedArray([[0.0, 1, 2]]), 2, (8, 8)).tolist() == [[0, 1, 2]]
