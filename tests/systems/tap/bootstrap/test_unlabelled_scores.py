"""Scores without labels, by hand."""

import numpy as np
import pytest

from tapetum.systems.tap.bootstrap.samples import CycleErrors, cycle_errors, grid


def test_cycle_errors_by_hand() -> None:
    def track(video: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Everything moves right by a pixel a frame; going back it arrives a pixel too far down."""
        n, t = len(queries), len(video)
        xy = queries[:, None, 1:] + np.stack([np.arange(t) - queries[:, :1], np.zeros((n, t))], -1)
        xy[queries[:, 0] > 0, :, 1] += 1
        return xy, np.ones((n, t), bool)

    video = np.zeros((5, 128, 64, 3), np.uint8)
    queries = grid(video.shape[1:], 4)
    assert queries[0].tolist() == [0, 8, 16]
    errors = cycle_errors(track, video, queries)
    assert errors.judged.all()
    np.testing.assert_allclose(errors.error, 2.0)  # a pixel of 128 is two of 256
    edge = np.array([[0, 62.0, 5.0]], np.float32)  # leaves the image
    assert np.isnan(cycle_errors(track, video, edge).error).all()
    assert CycleErrors(np.array([np.nan, 1, 9])).summary()["back_within_4px"] == pytest.approx(1 / 3)
