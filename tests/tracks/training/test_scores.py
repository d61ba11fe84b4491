"""Scores of a tracker under training: those of TAP-Vid, in pixels of the size that is asked for."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.tracker_task import score_clips

XY = np.array([[[8, 8], [16, 8], [24, 8]], [[40, 40], [40, 40], [40, 40]]], np.float32)
VISIBLE = np.array([[True, True, False], [False, True, True]])
CLIP = TrackedClip(np.zeros((3, 64, 64, 3), np.uint8), XY, VISIBLE)


def off_by(pixels: float, confidence: list[list[float]]):
    """Make a tracker that errs by so many pixels of its video in x, and is as sure as it is told."""

    def track(video: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        assert video.shape == (1, 3, 32, 32, 3)
        assert queries.tolist() == [[[0, 4, 4], [1, 20, 20]]]  # the first frames in which they are visible
        return torch.from_numpy(XY) / 2 + torch.tensor([pixels, 0.0]), torch.tensor(confidence)

    return track


def test_distances_are_pixels_of_the_scored_size() -> None:
    sure = [[0.9, 0.9, 0.2], [0.2, 0.9, 0.9]]
    near = score_clips(off_by(0.75, sure), [CLIP], size=32, points=2)
    assert near["average_pts_within_thresh"] == 1
    assert near["occlusion_accuracy"] == 1
    larger = score_clips(off_by(0.75, sure), [CLIP], size=32, points=2, scored_size=256)  # 6 pixels
    assert larger["average_pts_within_thresh"] == pytest.approx(2 / 5)


def test_the_best_threshold_may_be_another() -> None:
    scores = score_clips(off_by(0.0, [[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]]), [CLIP], size=32, points=2)
    assert scores["average_jaccard"] == 0
    assert scores["best_average_jaccard"] == 1
