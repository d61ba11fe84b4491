"""Masks carried through videos: what DINO's script finds, and what must hold."""

import numpy as np
import pytest
import torch
from tests.golden.make_propagation_golden import CASES, GOLDEN, features, shares
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.transfer.config import PropagationConfig
from tapetum.transfer.propagation import Propagator, carry, decided, shares_of

GOLD = np.load(GOLDEN)


@pytest.mark.parametrize("name", CASES)
def test_shares_are_those_of_dino(name: str) -> None:
    how = CASES[name]
    config = PropagationConfig(radius=how["radius"] or 99, neighbours=how["neighbours"], context=how["context"])
    maps = torch.from_numpy(features())
    propagator = Propagator(maps[0], torch.from_numpy(shares()), config)
    found = torch.stack([propagator.step(each) for each in maps[1:]])
    np.testing.assert_allclose(found.numpy(), GOLD[name], atol=1e-5)
    assert found.shape[0] == 4


def test_decisions_are_those_of_dino() -> None:
    last = torch.from_numpy(GOLD["near"][-1])
    assert np.array_equal(decided(last, last.shape[1:]), GOLD["decided"])


def test_a_thing_that_is_everywhere_alike_is_not_scaled_away() -> None:
    """DINO divides 0 by 0 there, and torch takes NaN for the largest: the same decision."""
    shares = torch.zeros(3, 4, 5)
    shares[1] = 0.6
    assert (decided(shares, (8, 10)) == 1).all()


def test_more_neighbours_than_cells_are_all_cells() -> None:
    maps, known = torch.from_numpy(features())[:2, :, :2, :2], torch.eye(4).view(4, 2, 2)
    found = Propagator(maps[0], known, PropagationConfig(radius=9, neighbours=50, temperature=0.5)).step(maps[1])
    first, second = (each.flatten(1) / each.flatten(1).norm(dim=0) for each in maps)
    torch.testing.assert_close(found.flatten(1), (first.T @ second / 0.5).softmax(0))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64])
def test_a_cell_has_the_number_of_the_pixel_at_its_centre(kind: type) -> None:
    first = np.random.default_rng(0).integers(0, 4, (11, 8)).astype(kind)[::-1]  # rows run backwards in memory
    found = shares_of(first, (0, 2, 3), torch.zeros(5, 4, 3))
    for k, number in enumerate((0, 2, 3)):
        for row in range(4):
            for column in range(3):
                at = first[int((row + 0.5) * 11 / 4), int((column + 0.5) * 8 / 3)]
                assert found[k, row, column] == float(at == number)


def colours(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame[::4, ::4].copy()).movedim(-1, 0).float() - 127


def square(x: int) -> np.ndarray:
    frame = np.full((32, 48, 3), (40, 90, 200), np.uint8)
    frame[8:24, x : x + 12] = 230, 40, 30
    return frame


def test_a_thing_is_followed_by_its_colour() -> None:
    first = np.zeros((32, 48), np.uint8)
    first[8:24, 4:16] = 7
    found = list(carry([square(4 + 4 * k) for k in range(5)], first, colours))
    assert [np.unique(ids).tolist() for ids in found] == [[0, 7]] * 5
    for k, ids in enumerate(found):
        right = square(4 + 4 * k)[..., 0] > 200
        assert ((ids == 7) & right).sum() / ((ids == 7) | right).sum() > 0.7
    assert np.array_equal(found[0], first)
    still = list(carry([square(4)] * 3, first, colours))
    assert ((still[2] == 7) == (first == 7)).mean() > 0.95


def test_bad_input_says_what_is_wrong() -> None:
    first = np.zeros((32, 48), np.uint8)
    with pytest.raises(BadInput, match="no object"):
        list(carry([square(4)], first, colours))
    first[0, 0] = 1
    with pytest.raises(BadInput, match="mask 48x32"):
        list(carry([square(4)[:16]], first, colours))
    with pytest.raises(BadInput, match="not finite"):
        list(carry([square(4)], first, lambda frame: colours(frame) * torch.nan))
    with pytest.raises(BadInput, match="one size"):
        Propagator(torch.zeros(2, 3, 3), torch.zeros(2, 3, 4), PropagationConfig())
    with pytest.raises(BadInput, match="neighbours"):
        PropagationConfig(neighbours=0)
