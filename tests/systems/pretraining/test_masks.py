import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.masks import blocks, jepa_blocks, step_masks


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


AREAS = ((0.85, 1.0), (0.15, 0.2), 4)


@pytest.mark.parametrize("grid", [(4, 4), (14, 14), (6, 9)])
def test_targets_are_rectangles_and_contexts_leave_them_out(grid: tuple[int, int]) -> None:
    lengths = set()
    for step in range(20):
        [visible], targets = jepa_blocks(grid, 16, *AREAS, 3, step)
        assert targets.shape[:2] == (16, 4)
        assert visible.shape[0] == 16
        assert 1 <= visible.shape[1] < grid[0] * grid[1]
        lengths.add((visible.shape[1], targets.shape[2]))
        for context, blocks_ in zip(visible, targets, strict=True):
            assert len(set(context.tolist())) == len(context)
            assert not set(context.tolist()) & set(blocks_.ravel().tolist())
            assert (np.diff(context) > 0).all()
            for block in blocks_:
                rows, columns = np.divmod(block, grid[1])
                assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == len(set(block.tolist())) == len(block)
    assert len(lengths) > 1  # sizes are of the step
    if grid == (14, 14):
        assert all(0.12 * 196 < length[1] < 0.23 * 196 for length in lengths)


def test_contexts_are_cut_to_the_least_of_their_group_at_random() -> None:
    parts, targets = jepa_blocks((14, 14), 300, *AREAS, 3, 0)
    assert [len(part) for part in parts] == [128, 128, 44]
    assert len({part.shape[1] for part in parts}) > 1
    for part, first in zip(parts, (0, 128, 256), strict=True):
        assert (part[:, -1] > 150).mean() > 0.8  # the lower rows are not what is left out
        hidden = [{*each.ravel().tolist()} for each in targets[first : first + len(part)]]
        assert not any({*row} & own for row, own in zip(part.tolist(), hidden, strict=True))
        assert len({tuple(row) for row in part.tolist()}) > 0.9 * len(part)  # images differ
    jepa_blocks.cache_clear()
    again = jepa_blocks((14, 14), 300, *AREAS, 3, 0)
    assert all(map(np.array_equal, [*parts, targets], [*again[0], again[1]]))
    assert not np.array_equal(targets[0], jepa_blocks((14, 14), 300, *AREAS, 4, 0)[1][0])


def test_targets_that_leave_no_context_are_refused() -> None:
    with pytest.raises(BadInput, match="4 target blocks of 4x4 patches leave no context in a grid of 4x4"):
        jepa_blocks((4, 4), 2, (0.85, 1.0), (1.0, 1.0), 4, 0, 0)
