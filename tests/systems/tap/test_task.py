"""The loss of the tracker's task: that of both iterates, a share for the matching term, and what is told of it."""

import pytest
import torch
from torch import Tensor, nn

from tapetum.systems.tap.task import TrackingTask, estimate_losses, matching_loss
from tapetum.systems.tap.types import TrackEstimate, Trajectories
from tapetum.tracks.training.data import TapSample
from tapetum.train import StepContext

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
