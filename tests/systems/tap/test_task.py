"""Distances in videos that are not square; the rest of the losses is in tests/twins/test_tapir.py."""

import pytest
import torch

from tapetum.systems.tap.task import estimate_losses
from tapetum.systems.tap.types import TrackEstimate


@pytest.mark.parametrize(("error", "pixels"), [([8.0, 0.0], 4), ([0.0, 3.0], 6)])
def test_distances_are_those_of_a_256_pixel_image(error: list[float], pixels: float) -> None:
    truth, flat = torch.tensor([[[[100.0, 50.0]]]]), torch.zeros(1, 1, 1)  # of a video half as high and twice as wide
    losses = estimate_losses(TrackEstimate(truth + torch.tensor(error), flat, flat), truth, flat.bool(), (128, 512))
    assert losses["position"].item() == pytest.approx(0.05 * (pixels**2 / 2 if pixels <= 4 else 4 * pixels - 8), rel=1e-5)


POINTS, FRAMES, SIZE = 4, 5, 32
