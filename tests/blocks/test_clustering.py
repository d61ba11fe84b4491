"""Rounds of k-means: means by hand, and centres that lose all their vectors."""

import math

import torch

from tapetum.blocks.clustering import move_centres, nearest
from tapetum.odin.clustering import _rounds


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


def test_weights_count_and_a_centre_of_weight_zero_stays() -> None:
    x, ids = rows((0, 0), (4, 0), (6, 6)), torch.tensor([[0, 0, 1]])
    moved, counts = move_centres(x, ids, rows((1, 1), (5, 7)), weights=torch.tensor([[1.0, 3.0, 0.0]]))
    assert moved[0].tolist() == [[3, 0], [5, 7]]
    assert counts[0].tolist() == [4, 0]


def test_an_empty_centre_wins_a_vector_back() -> None:
    """The second centre is empty in the first round; the first moves away, and a vector is now nearer to the second."""
    x, start = rows((100,), (105,), (112,)), rows((101,), (98.6,), (110,))
    assert nearest(x, start)[0].tolist() == [0, 0, 2]
    assert _rounds(x, start, 1, "l2")[0].tolist() == [1, 0, 2]  # the first is at 102.5
    x, start = (
        torch.tensor([[[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles]])
        for angles in ((10, 60, 120), (22, -5, 110))
    )
    assert nearest(x, start, "cosine")[0].tolist() == [0, 0, 2]
    assert _rounds(x, start, 1, "cosine")[0].tolist() == [1, 0, 2]  # at 35 degrees


def test_of_equally_near_centres_the_first_is_taken() -> None:
    assert nearest(rows((0, 0), (1, 0)), rows((1, 0), (-1, 0), (1, 0)))[0].tolist() == [0, 0]
