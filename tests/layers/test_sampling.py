"""Reading maps between their cells, beside scipy's interpolation."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from tapetum.layers.sampling import resize_frames, sample_video, scale_xy


def test_places_between_and_beyond_cells_are_those_of_scipy() -> None:
    draw = np.random.default_rng(0)
    maps = draw.normal(size=(2, 4, 5, 6, 3)).astype(np.float32)
    points = draw.uniform((-1, -2, -2), (5, 8, 7), (2, 40, 3)).astype(np.float32)
    points[:, :4] = [[0, 0.5, 0.5], [3, 5.5, 4.5], [2, 0, 0], [1, 6, 5]]  # centres and outer corners
    found = sample_video(torch.from_numpy(maps), torch.from_numpy(points)).numpy()
    for b in range(2):
        t, x, y = points[b].T
        for c in range(3):
            wanted = map_coordinates(maps[b, ..., c], [t, y - 0.5, x - 0.5], order=1, mode="nearest")
            np.testing.assert_allclose(found[b, :, c], wanted, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_samples_of_short_numbers_are_added_up_in_float32(kind: torch.dtype) -> None:
    maps, points = torch.randn(1, 2, 3, 3, 4).to(kind), torch.rand(1, 9, 3) * torch.tensor([1.0, 3.0, 3.0])
    found = sample_video(maps, points)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sample_video(maps.float(), points))


def test_going_to_another_raster_and_back() -> None:
    xy = torch.tensor([[1.0, 2.0], [40.0, 20.0]])
    there = scale_xy(xy, (20, 40), (60, 20))
    assert there.tolist() == [[0.5, 6.0], [20.0, 60.0]]
    torch.testing.assert_close(scale_xy(there, (60, 20), (20, 40)), xy)
    assert scale_xy(xy, (3, 4), (3, 4)) is xy


def test_frames_are_resized_corner_on_corner() -> None:
    ramp = (torch.arange(8.0) + 0.5).expand(1, 1, 4, 8)
    assert resize_frames(ramp, (4, 8)) is ramp
    assert resize_frames(ramp, (2, 4))[0, 0, 0].tolist() == [1.0, 3.0, 5.0, 7.0]
    impulse = torch.zeros(1, 1, 1, 12)
    impulse[..., 4] = 1
    assert float(resize_frames(impulse, (1, 3), antialias=True).sum()) == pytest.approx(3 / 12, abs=0.02)
    assert not resize_frames(impulse, (1, 3)).any()
