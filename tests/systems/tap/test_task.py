"""Positions in videos that are not square, and matching at a border; the rest is in tests/twins/test_tapir.py."""

import numpy as np
import pytest
import torch

from tapetum.systems.tap.matching import DISC_RADIUS, soft_argmax
from tapetum.systems.tap.task import estimate_losses
from tapetum.systems.tap.types import TrackEstimate


@pytest.mark.parametrize(("error", "pixels"), [([8.0, 0.0], 4), ([0.0, 3.0], 6)])
def test_distances_are_those_of_a_256_pixel_image(error: list[float], pixels: float) -> None:
    truth, flat = torch.tensor([[[[100.0, 50.0]]]]), torch.zeros(1, 1, 1)  # of a video half as high and twice as wide
    losses = estimate_losses(TrackEstimate(truth + torch.tensor(error), flat, flat), truth, flat.bool(), (128, 512))
    assert losses["position"].item() == pytest.approx(0.05 * (pixels**2 / 2 if pixels <= 4 else 4 * pixels - 8), rel=1e-5)


@pytest.mark.parametrize("best", [(0, 3), (7, 0), (3, 9), (0, 0), (7, 9)])
def test_a_soft_argmax_at_a_border_takes_the_cells_that_are_there(best: tuple[int, int]) -> None:
    heatmap = np.random.default_rng(0).normal(0, 1, (8, 10))
    heatmap[best] = 4
    near = {
        (y, x): np.exp(heatmap[y, x])
        for y in range(8)
        for x in range(10)
        if (y - best[0]) ** 2 + (x - best[1]) ** 2 < DISC_RADIUS**2
    }
    mean = sum(np.array([x + 0.5, y + 0.5]) * value for (y, x), value in near.items()) / sum(near.values())
    np.testing.assert_allclose(soft_argmax(torch.tensor(heatmap[None], dtype=torch.float32))[0].numpy(), mean, rtol=1e-5)


POINTS, FRAMES, SIZE = 4, 5, 32
