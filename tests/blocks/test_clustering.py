"""Rounds of k-means beside loops: nearest centres, ties, weighted means."""

import pytest
import torch

from tapetum.blocks.clustering import Metric, move_centres, nearest


def drawn(metric: Metric) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (2, 30, 4) and centres (2, 5, 4), of unit length for cosines."""
    draw = torch.Generator().manual_seed(0)
    x, centres = (torch.randn(2, n, 4, dtype=torch.float64, generator=draw) for n in (30, 5))
    return (
        (x / x.norm(dim=-1, keepdim=True), centres / centres.norm(dim=-1, keepdim=True)) if metric == "cosine" else (x, centres)
    )


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_the_nearest_is_that_of_a_loop_and_of_equal_ones_the_first(metric: Metric) -> None:
    x, centres = drawn(metric)
    found = nearest(x, centres, metric)
    for b in range(2):
        for n in range(30):
            assert found[b, n] == min(range(5), key=lambda k: float((x[b, n] - centres[b, k]).norm()))
    assert found.dtype == torch.int64
    axes = torch.eye(4, dtype=torch.float64)  # without rounding, so that what is equally near is so exactly
    assert nearest(axes[None], axes[[3, 1, 1, 0, 2, 0, 3]][None], metric).tolist() == [[3, 1, 4, 0]]


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("weighted", [False, True])
def test_centres_move_to_the_mean_of_theirs(metric: Metric, weighted: bool) -> None:
    x, centres = drawn(metric)
    ids = torch.randint(4, (2, 30), generator=torch.Generator().manual_seed(1))
    weights = torch.rand(2, 30, generator=torch.Generator().manual_seed(2)).double() if weighted else None
    found, counts = move_centres(x, ids, centres, metric, weights)
    for b in range(2):
        for k in range(4):
            own = [n for n in range(30) if ids[b, n] == k]
            each = [1.0 if weights is None else float(weights[b, n]) for n in own]
            total = sum(w * x[b, n] for w, n in zip(each, own, strict=True))
            wanted = total / total.norm() if metric == "cosine" else total / sum(each)
            torch.testing.assert_close(found[b, k], wanted)
            assert float(counts[b, k]) == pytest.approx(sum(each))
