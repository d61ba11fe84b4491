"""TAPVid-3D's metrics beside their twin: clips of every kind, by every scaling, of clips and of tracks."""

import math
from typing import Any

import numpy as np
import pytest

from tapetum.systems.tapvid3d.metrics import tapvid3d_metrics
from twins.tapvid3d import Clip, scores

SCALINGS = "none", "median", "mean", "median_on_queries", "per_trajectory", "local_neighborhood", "reproduce_2d"


def random_clip(seed: int) -> dict[str, Any]:
    """Make a clip of few points, close together or far apart, some not finite, behind the camera or never visible."""
    rng = np.random.default_rng(seed)
    n, t, size = int(rng.integers(0, 7)), int(rng.integers(1, 6)), float(rng.choice([0.04, 0.3, 2]))
    truth = rng.uniform(-size / 2, size / 2, (n, t, 3)) + np.array([0, 0, 2])
    truth[..., 2] = np.abs(truth[..., 2])
    predicted = truth * rng.uniform(0.5, 2, (n, 1, 1)) + rng.normal(0, 0.02, truth.shape)
    visible, predicted_visible = (rng.random((n, t)) < rng.choice([0.0, 0.5, 0.9, 1.0]) for _ in range(2))
    kind = seed % 6
    if kind == 0 and n:
        predicted[rng.random((n, t)) < 0.2] = rng.choice([np.nan, np.inf, -np.inf])
    if kind == 1:
        predicted[: n // 2] *= -1
    if kind == 2:  # errors of whole pixels at a depth of 2 m, which is exactly at a threshold
        truth = np.tile([0.0, 0.0, 2.0], (n, t, 1))
        predicted = truth + np.array([1 / 64, 0, 0]) * rng.integers(0, 18, (n, t, 1))
    if kind == 3:  # neighbours at exactly the radius
        truth = np.round(truth * 16) / 16
    if kind == 4:  # halves of frames are rounded to even ones
        truth, predicted = np.tile([0, 0, 2.0], (n, t, 1)), np.tile([0, 0, 2.0], (n, t, 1)) / np.arange(1, t + 1)[:, None]
    frames = rng.integers(0, 2 * t - 1, n) / 2 if t > 1 else np.zeros(n)
    return {
        "gt_occluded": ~visible,
        "gt_tracks": truth,
        "pred_occluded": ~predicted_visible,
        "pred_tracks": predicted,
        "intrinsics_params": np.array([64.0, 256, 64, 64]),
        "query_points": np.stack([frames, frames, frames], -1).reshape(n, 3),
    }


def twin_of(q: dict[str, Any]) -> Clip:
    frames = [round(frame) for frame in q["query_points"][:, 0].tolist()]
    parts = (q["gt_tracks"], ~q["gt_occluded"], q["pred_tracks"], ~q["pred_occluded"])
    truth, visible, predicted, predicted_visible = (part.tolist() for part in parts)
    return Clip(truth, visible, predicted, predicted_visible, math.sqrt(64.0 * 256), frames)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_clip_scores_as_its_twin(scaling: Any) -> None:
    compared = set()
    for seed in range(120):
        q, metric, tracks = random_clip(seed), seed % 5 == 0, seed % 2 == 1
        radius = 0.0625 if seed % 6 == 3 else 0.05
        theirs = scores(twin_of(q), scaling, metric=metric, radius=radius, tracks=tracks)
        more: dict[str, Any] = {"use_fixed_metric_threshold": metric, "local_neighborhood_thresh": radius}
        ours = tapvid3d_metrics(**q, **more, scaling=scaling, get_trackwise_metrics=tracks)
        for name, values in ours.items():
            expected = [each[name] for each in theirs]
            np.testing.assert_allclose(np.ravel(values), expected, rtol=0, atol=1e-9, err_msg=f"{seed} {name}")
            compared.update(np.round(expected, 3).tolist())
    assert len(compared) > 50
