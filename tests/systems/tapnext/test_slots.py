"""Points that join or leave a stream."""

import pytest
import torch

from support.tapnext import TINY, clip
from tapetum.core.errors import BadInput
from tapetum.systems.tapnext import TapNext
from tapetum.systems.tapnext.model import add_points, keep_points


@torch.no_grad()
def test_spare_changes_nothing_and_its_state_is_that_of_an_unknown_point(network: TapNext) -> None:
    video, queries = clip()
    plain, spare = network.start(queries, TINY.image_size), network.start(queries, TINY.image_size, spare=True)
    for now in range(4):
        plain, without = network.step(plain, video[:, now : now + 1])
        spare, with_one = network.step(spare, video[:, now : now + 1])
        assert (with_one.logits - without.logits).abs().max() < 1e-5
    # Without other points it has what a single point that waits for its query has: both see only patches and themselves.
    assert spare.blocks[0].hidden.shape[1] == plain.blocks[0].hidden.shape[1] + 1
    assert (spare.blocks[0].hidden[:, -1] - plain.blocks[0].hidden[:, 24 + 3]).abs().max() < 1e-5  # query 3 never comes


@torch.no_grad()
def test_a_point_that_joins_is_nearly_as_one_that_was_planned(network: TapNext) -> None:
    video, queries = clip()
    queries = queries[:, :1]
    late = torch.cat([queries, torch.tensor([[[3.0, 20.5, 12.5]]]).expand(2, 1, 3)], 1)
    planned = network(video, late)
    state = network.start(queries, TINY.image_size, spare=True)
    state, _ = network.step(state, video[:, :3])
    joined = add_points(network, state, late[:, 1:, 1:])
    _, after = network.step(joined, video[:, 3:])
    assert after.logits.shape[1] == 2
    error = (after.logits - planned.logits[:, :, 3:]).abs().max()
    zeroed = [torch.cat([b.hidden[:, :-2], 0 * b.hidden[:, :1], b.hidden[:, -1:]], 1) for b in joined.blocks]
    blank = type(joined)(
        **{**vars(joined), "blocks": tuple(type(b)(z, b.conv) for b, z in zip(joined.blocks, zeroed, strict=True))}
    )
    assert error < (network.step(blank, video[:, 3:])[1].logits - planned.logits[:, :, 3:]).abs().max() / 2


@torch.no_grad()
def test_points_that_stay_keep_their_state(network: TapNext) -> None:
    video, queries = clip()
    for spare in (False, True):
        state, _ = network.step(network.start(queries, TINY.image_size, spare=spare), video[:, :3])
        order = torch.tensor([4, 0, 3, 1, 2])
        _, whole = network.step(state, video[:, 3:])
        _, kept = network.step(keep_points(state, order), video[:, 3:])
        assert (kept.logits - whole.logits[:, order]).abs().max() < 1e-5
        assert network.step(keep_points(state, order[:2]), video[:, 3:])[1].xy.shape == (2, 2, 4, 2)


def test_a_state_without_a_spare_point_takes_none(network: TapNext) -> None:
    state = network.start(clip()[1], TINY.image_size)
    with pytest.raises(BadInput, match="spare=True"):
        add_points(network, state, torch.zeros(2, 1, 2))
