"""Losses beside values worked out by hand; the task's loss: both iterates, a share for the matching term, what is logged."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tapetum.systems.tap.task import TrackingTask, estimate_losses, matching_loss
from tapetum.systems.tap.types import TrackEstimate, Trajectories
from tapetum.tracks.training.data import TapSample
from tapetum.train import StepContext

SQUARE = (256, 256)


def estimate(x_error: list[float], occlusion: float = 0.0, expected_dist: float = 0.0) -> TrackEstimate:
    """One point, a frame for each error along x."""
    tracks = torch.tensor([[[[100 + e, 50.0] for e in x_error]]])
    flat = torch.zeros(1, 1, len(x_error))
    return TrackEstimate(tracks, flat + occlusion, flat + expected_dist)


def truth(frames: int) -> torch.Tensor:
    return torch.tensor([100.0, 50.0]).expand(1, 1, frames, 2)


def visible(*flags: int) -> torch.Tensor:
    """Occluded where a flag is 0."""
    return torch.tensor([[[not flag for flag in flags]]])


def test_occlusion_term():
    losses = estimate_losses(estimate([0, 0], occlusion=1.5), truth(2), visible(1, 0), SQUARE)
    as_visible, as_hidden = math.log1p(math.exp(1.5)), math.log1p(math.exp(-1.5))
    assert losses["occlusion"].item() == pytest.approx((as_visible + as_hidden) / 2, rel=1e-5)
    again = estimate_losses(estimate([0, 0], occlusion=1.5), truth(2), visible(1, 0), SQUARE, rebalance=1.0)
    assert again["occlusion"].item() == pytest.approx((2 * as_visible + as_hidden) / 2, rel=1e-5)


def test_expected_distance_term():
    losses = estimate_losses(estimate([5.9, 6.1, 90.0], expected_dist=2.0), truth(3), visible(1, 1, 0), SQUARE)
    right, wrong = math.log1p(math.exp(2.0)), math.log1p(math.exp(-2.0))
    assert losses["expected_dist"].item() == pytest.approx((right + wrong) / 3, rel=1e-5)


def test_distances_are_those_of_a_256_pixel_image():
    # Half as high and twice as wide: an error of 8 px along x is 4 px of 256.
    losses = estimate_losses(estimate([8.0]), truth(1), visible(1), (128, 512))
    assert losses["position"].item() == pytest.approx(0.05 * 8, rel=1e-5)
    down = TrackEstimate(torch.tensor([[[[100.0, 53.0]]]]), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    losses = estimate_losses(down, truth(1), visible(1), (128, 512))
    assert losses["position"].item() == pytest.approx(0.05 * 16, rel=1e-5)


def test_gradient_stops_at_the_target_of_the_expected_distance():
    tracks = torch.tensor([[[[107.0, 50.0]]]], requires_grad=True)
    logit = torch.zeros(1, 1, 1, requires_grad=True)
    losses = estimate_losses(TrackEstimate(tracks, torch.zeros(1, 1, 1), logit), truth(1), visible(1), SQUARE)
    losses["expected_dist"].backward()
    assert tracks.grad is None
    assert logit.grad.item() == pytest.approx(-0.5)


def test_matching_term_shares_a_place_among_four_cells():
    torch.manual_seed(0)
    heatmap = torch.randn(1, 1, 2, 4, 8)  # 4 rows of 8 cells of 16 x 16 px in an image 64 px high and 128 px wide
    log = heatmap.flatten(-2).log_softmax(-1).view(2, 4, 8)
    # frame 0: a quarter of a cell right of the centre of cell (row 1, column 2), on the line to row 2; frame 1: hidden
    xy = torch.tensor([[[[2.75 * 16, 2.0 * 16], [5.0, 5.0]]]])
    want = -(0.75 * 0.5 * (log[0, 1, 2] + log[0, 2, 2]) + 0.25 * 0.5 * (log[0, 1, 3] + log[0, 2, 3])) / 2
    assert matching_loss(heatmap, xy, visible(1, 0), (64, 128)).item() == pytest.approx(want.item(), rel=1e-5)
    corner = torch.tensor([[[[127.9, 63.9], [0.0, 0.0]]]])  # beyond the last centre: the last cell
    want = -(log[0, 3, 7] + log[1, 0, 0]) / 2
    assert matching_loss(heatmap, corner, visible(1, 1), (64, 128)).item() == pytest.approx(want.item(), rel=1e-5)


@pytest.mark.parametrize("best", [(0, 3), (7, 0), (3, 9), (0, 0), (7, 9)])
def test_a_soft_argmax_at_a_border_takes_the_cells_that_are_there(best: tuple[int, int]) -> None:
    from tapetum.systems.tap.matching import DISC_RADIUS, soft_argmax

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


def drawn() -> tuple[TapSample, list[TrackEstimate], Tensor]:
    """A batch, two estimates of it, and logits of all cells."""
    draw = torch.Generator().manual_seed(0)
    xy = 4 + 24 * torch.rand(1, POINTS, FRAMES, 2, generator=draw)
    occluded = torch.rand(1, POINTS, FRAMES, generator=draw) < 0.4
    queries = torch.cat([torch.zeros(1, POINTS, 1), xy[:, :, 0]], -1)
    made = [
        TrackEstimate(xy + scale * torch.randn(xy.shape, generator=draw), *torch.randn(2, 1, POINTS, FRAMES, generator=draw))
        for scale in (1.5, 3.0)
    ]
    return (
        TapSample(torch.zeros(1, FRAMES, SIZE, SIZE, 3), queries, xy, occluded),
        made,
        torch.randn(1, POINTS, FRAMES, 8, 8, generator=draw),
    )


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_loss_is_that_of_all_iterates(weight: float) -> None:
    batch, (last, first), heatmap = drawn()
    asked = []

    class Says(nn.Module):
        def forward(self, video: Tensor, queries: Tensor, **chunks: object) -> Trajectories:
            asked.append((queries, chunks))
            return Trajectories(last.tracks, last.occlusion, last.expected_dist, (first,), heatmap=heatmap)

    task = TrackingTask(SIZE, POINTS, matching_weight=weight, refine_with_gradient=3)
    total, logs = task.loss(Says(), batch, StepContext(step=0, steps=1))
    parts = [estimate_losses(each, batch.xy, batch.occluded, (SIZE, SIZE)) for each in (last, first)]
    for name in ("position", "occlusion", "expected_dist"):
        assert float(logs[name]) == pytest.approx(sum(float(part[name]) for part in parts), rel=1e-5)
    wanted = sum(float(logs[name]) for name in ("position", "occlusion", "expected_dist"))
    if weight:
        matching = float(matching_loss(heatmap, batch.xy, batch.occluded, (SIZE, SIZE)))
        assert float(logs["matching"]) == pytest.approx(matching)
        wanted += weight * matching
    assert float(total) == pytest.approx(wanted, rel=1e-5)
    seen = [(p, t) for p in range(POINTS) for t in range(FRAMES) if not batch.occluded[0, p, t]]
    near = [float((last.tracks - batch.xy)[0, p, t].norm()) < 2 for p, t in seen]
    assert 0 < sum(near) < len(near)
    assert float(logs["within_2px"]) == pytest.approx(sum(near) / len(near))
    rightly = ((last.occlusion > 0) == batch.occluded).float().mean()
    assert float(logs["occlusion_accuracy"]) == pytest.approx(float(rightly))
    assert torch.equal(asked[0][0], batch.queries)
    assert asked[0][1] == {"query_chunk": 3, "refine_with_gradient": 3}
