"""Positions in queries and in logits, against tables and sums that are written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tapetum.systems.tapnext.layers import compute_certainty, decode_positions, embed_positions


def _table(height: int, width: int, channels: int) -> np.ndarray:
    """(h, w, c), written out."""
    table = np.zeros((height, width, channels))
    quarter = channels // 4
    for y in range(height):
        for x in range(width):
            for k in range(quarter):
                w = 10_000 ** (-k / (quarter - 1))
                table[y, x, [k, k + quarter, k + 2 * quarter, k + 3 * quarter]] = (
                    np.sin(x * w),
                    np.cos(x * w),
                    np.sin(y * w),
                    np.cos(y * w),
                )
    return table


@pytest.mark.parametrize("edge", [False, True])
def test_embedding_samples_the_table_of_pixels(edge: bool) -> None:
    height, width = 6, 9
    xy = torch.tensor([[0.5, 0.5], [3.0, 2.0], [8.73, 5.9], [0.1, 3.3], [9.0, 0.0], [4.5, -3.0], [100.0, 3.0]])
    table = torch.from_numpy(_table(height, width, 16)).float().permute(2, 0, 1)[None]
    grid = (xy / torch.tensor([width, height]) * 2 - 1)[None, None]
    expected = F.grid_sample(table, grid, align_corners=False, padding_mode="border" if edge else "zeros")[0, :, 0].T
    assert (embed_positions(xy, (height, width), 16, edge=edge) - expected).abs().max() < 1e-5


def test_position_is_the_mean_around_the_likeliest_bin() -> None:
    logits = torch.full((2, 64), -30.0)
    logits[0, [10, 12]], logits[0, 40] = 4.0, 4.0 - 1e-3  # 40 is too far to count
    logits[1, [3, 4]] = torch.tensor([2.0, 2.0 + 2 * np.log(3)]).float()  # 1 to 3 at half the logits
    assert decode_positions(logits, 5, 0.5).tolist() == pytest.approx([11.5, 4.25], abs=1e-4)
    assert decode_positions(logits, 1, 0.5)[0] == pytest.approx(10.5, abs=1e-4)


def test_certainty_sums_a_disc() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 32)
    xy = torch.tensor([[12.3, 20.0], [1.0, 30.9], [31.5, 0.5]])
    p = logits.softmax(-1)
    for k in range(3):
        x, y = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
        near = (x - xy[k, 0]) ** 2 + (y - xy[k, 1]) ** 2 <= 25
        expected = (p[k, 0][:, None] * p[k, 1] * near).sum()
        assert compute_certainty(logits, xy, 5)[k] == pytest.approx(float(expected), abs=1e-6)
