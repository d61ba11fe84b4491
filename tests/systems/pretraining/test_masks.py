import numpy as np
import pytest

from tapetum.systems.pretraining.masks import blocks, step_masks


def test_half_of_the_crops_of_a_step_hide_shares_spread_between_the_bounds() -> None:
    masks = step_masks((14, 14), 64, (0.1, 0.5), 0.5, 3, 7)
    shares = np.sort(masks.mean(1))
    assert (shares[:32] == 0).all()
    wanted = np.linspace(0.1, 0.5, 33)
    assert (shares[32:] <= wanted[1:] + 1e-9).all()  # blocks may leave some out
    assert (shares[32:] > wanted[:-1] - 0.08).all()
    assert masks[:, 0].any()
    assert 0 < (masks.any(1)[:32]).sum() < 32  # which crops is drawn


def test_masks_are_of_the_step_and_the_seed_alone() -> None:
    one = step_masks((8, 8), 16, (0.1, 0.5), 0.5, 3, 7)
    step_masks.cache_clear()
    np.testing.assert_array_equal(one, step_masks((8, 8), 16, (0.1, 0.5), 0.5, 3, 7))
    assert (one != step_masks((8, 8), 16, (0.1, 0.5), 0.5, 3, 8)).any()
    assert (one != step_masks((8, 8), 16, (0.1, 0.5), 0.5, 4, 7)).any()


@pytest.mark.parametrize("grid", [(4, 4), (14, 14), (3, 9)])
def test_blocks_never_hide_more_than_asked(grid: tuple[int, int]) -> None:
    for seed in range(50):
        for count in (0, 1, 5, grid[0] * grid[1] // 2):
            mask = blocks(grid, count, np.random.default_rng(seed))
            assert mask.shape == grid
            assert mask.sum() <= count
    large = blocks((14, 14), 98, np.random.default_rng(0))
    neighbours = (large[1:] & large[:-1]).sum() + (large[:, 1:] & large[:, :-1]).sum()
    assert neighbours > 1.2 * large.sum()  # blocks, not single patches
