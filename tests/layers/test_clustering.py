"""Rounds of k-means: by hand and beside loops, nearest centres, ties, means, and centres that lose all their vectors."""

import math

import pytest
import torch

from tapetum.layers.clustering import Metric, move_centres, nearest


def rows(*values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[None]


def test_a_centre_that_loses_all_its_vectors_stays_where_it_was() -> None:
    x = rows((0, 0), (2, 0), (9, 9))
    centres = rows((1, 1), (5, 7), (8, 8))
    moved, counts = move_centres(x, torch.tensor([[0, 0, 2]]), centres)
    assert moved[0].tolist() == [[1, 0], [5, 7], [9, 9]]
    assert counts[0].tolist() == [2, 0, 1]
    units = rows((1, 0), (0, 1), (0.6, 0.8))
    centres = rows((1, 0), (0, 1), (-0.6, 0.8))
    moved, _ = move_centres(units, torch.tensor([[0, 0, 1]]), centres, "cosine")
    torch.testing.assert_close(moved, rows((math.sqrt(0.5), math.sqrt(0.5)), (0.6, 0.8), (-0.6, 0.8)))


def second_round(x: torch.Tensor, start: torch.Tensor, metric: Metric) -> list[int]:
    """Ids after the centres moved once."""
    centres, _ = move_centres(x, nearest(x, start, metric), start, metric)
    return nearest(x, centres, metric)[0].tolist()


def test_an_empty_centre_wins_a_vector_back() -> None:
    """The second centre is empty in the first round; the first moves away, and a vector is now nearer to the second."""
    x, start = rows((100,), (105,), (112,)), rows((101,), (98.6,), (110,))
    assert nearest(x, start)[0].tolist() == [0, 0, 2]
    assert second_round(x, start, "l2") == [1, 0, 2]  # the first is at 102.5
    x, start = (
        torch.tensor([[[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles]])
        for angles in ((10, 60, 120), (22, -5, 110))
    )
    assert nearest(x, start, "cosine")[0].tolist() == [0, 0, 2]
    assert second_round(x, start, "cosine") == [1, 0, 2]  # at 35 degrees


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
def test_centres_move_to_the_mean_of_theirs(metric: Metric) -> None:
    x, centres = drawn(metric)
    ids = torch.randint(4, (2, 30), generator=torch.Generator().manual_seed(1))
    found, counts = move_centres(x, ids, centres, metric)
    for b in range(2):
        for k in range(4):
            own = [n for n in range(30) if ids[b, n] == k]
            total = x[b, own].sum(0)
            torch.testing.assert_close(found[b, k], total / total.norm() if metric == "cosine" else total / len(own))
            assert counts[b, k] == len(own)
