"""TAPNext's network: what the public PyTorch class says on the same weights, and what must hold for any weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import EncoderBlock

from support.tapnext import TINY, clip, public_state
from tapetum.core.errors import BadInput
from tapetum.systems.tapnext import TapNext, from_official
from tapetum.systems.tapnext.layers import decode_positions
from tapetum.systems.tapnext.model import add_points, keep_points

PUBLIC_XY = {
    (0, 0): [[92.6934, 91.7245], [34.4439, 90.9695], [93.2074, 90.9632]],
    (0, 1): [[93.1235, 91.0551], [93.2197, 91.0183], [93.2653, 91.1054]],
    (0, 4): [[93.1235, 91.0551], [93.2578, 91.0372], [93.2543, 91.0337]],
    (1, 2): [[93.1242, 91.0777], [93.0963, 91.1671], [93.0203, 90.9608]],
}
"""By video and point: x, y on frames 0, 3, 6, by the public class (google-deepmind/tapnet, c2cbab8) on these weights."""
PUBLIC_LOGITS = {
    (0, 0, 0, 0): [1.996295, 0.469567, 3.088431, 4.109004],
    (0, 1, 6, 1): [1.662119, 0.295231, 1.065411, 0.719871],
    (1, 3, 2, 0): [2.022577, 0.419493, 3.762649, 3.140859],
    (1, 4, 5, 1): [1.620615, 0.332633, 1.169094, 0.8789],
}
"""By video, point, frame and axis: bins 20 to 23."""
PUBLIC_VISIBLE = {
    (0, 1): [-0.776204, -0.766464, -0.822858, -0.906916, -0.916602, -0.939407, -0.93844],
    (1, 4): [-0.765248, -0.925096, -0.987687, -0.93672, -0.957751, -0.975147, -0.985207],
}
"""By video and point: logits on all frames."""


@torch.no_grad()
def test_predictions_are_those_of_the_public_class(network: TapNext) -> None:
    predictions = network(*clip())
    assert predictions.logits.shape == (2, 5, 7, 2, 256)
    for (b, k), xy in PUBLIC_XY.items():
        assert (predictions.xy[b, k, [0, 3, 6]] - torch.tensor(xy)).abs().max() < 2e-4
    for (b, k, t, axis), logits in PUBLIC_LOGITS.items():
        assert (predictions.logits[b, k, t, axis, 20:24] - torch.tensor(logits)).abs().max() < 1e-5
    for (b, k), logits in PUBLIC_VISIBLE.items():
        assert (predictions.visible_logits[b, k] - torch.tensor(logits)).abs().max() < 1e-5
    assert torch.equal(predictions.visible, predictions.visible_logits > 0)


@torch.no_grad()
def test_spatial_block_is_that_of_torchvision(network: TapNext) -> None:
    state = {k.removeprefix("blocks.0.vit_block."): v for k, v in public_state().items() if k.startswith("blocks.0.vit_block.")}
    theirs = EncoderBlock(2, 32, 128, 0.0, 0.0).eval()
    theirs.load_state_dict(state)
    x = torch.randn(3, 7, 32)
    assert (network.blocks[0].spatial(x) - theirs(x)).abs().max() < 1e-5


@torch.no_grad()
def test_frames_in_any_portions_give_the_same(network: TapNext) -> None:
    video, queries = clip()
    whole = network(video, queries)
    for cuts in ((1, 2, 3, 4, 5, 6), (1,), (4,), (2, 5)):
        state, parts = network.start(queries, TINY.image_size), []
        sizes = set()
        for begin, end in zip((0, *cuts), (*cuts, 7), strict=True):
            state, part = network.step(state, video[:, begin:end])
            parts.append(part)
            sizes.add(sum(block.hidden.numel() + block.conv.numel() for block in state.blocks))
        assert len(sizes) == 1
        assert (torch.cat([part.logits for part in parts], 2) - whole.logits).abs().max() < 1e-5
        assert (torch.cat([part.visible_logits for part in parts], 2) - whole.visible_logits).abs().max() < 1e-5
        assert (torch.cat([part.xy for part in parts], 2) - whole.xy).abs().max() < 1e-4


@torch.no_grad()
def test_the_past_does_not_depend_on_the_future(network: TapNext) -> None:
    video, queries = clip()
    other = torch.cat([video[:, :4], -video[:, 4:]], 1)
    before, after = network(video, queries), network(other, queries)
    assert torch.equal(before.logits[:, :, :4], after.logits[:, :, :4])
    assert not torch.equal(before.logits[:, :, 4:], after.logits[:, :, 4:])


@torch.no_grad()
def test_a_row_of_a_batch_is_as_by_itself_and_points_have_no_order(network: TapNext) -> None:
    video, queries = clip()
    both = network(video, queries)
    assert (network(video[1:], queries[1:]).logits - both.logits[1:]).abs().max() < 1e-5
    order = torch.tensor([3, 0, 4, 1, 2])
    assert (network(video, queries[:, order]).logits - both.logits[:, order]).abs().max() < 1e-5
    assert network(video, queries[:, :0]).xy.shape == (2, 0, 7, 2)


@torch.no_grad()
def test_a_query_counts_from_its_frame_on_and_its_time_is_rounded(network: TapNext) -> None:
    video, queries = clip()
    moved = queries.clone()
    moved[:, 1, 1:] += 5  # asked for on frame 2
    before, after = network(video, queries).logits, network(video, moved).logits
    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert not torch.equal(before[:, :, 2:], after[:, :, 2:])
    moved = queries.clone()
    moved[:, 1, 0] = 2.4
    assert torch.equal(network(video, moved).logits, before)


@torch.no_grad()
def test_a_video_of_another_size_has_its_own_pixels(network: TapNext) -> None:
    video, queries = clip()
    large, twice = video.repeat_interleave(2, 2).repeat_interleave(2, 3), queries * torch.tensor([1.0, 2.0, 2.0])
    state = network.start(twice, (64, 96))
    assert (state.embeddings - network.start(queries, (32, 48)).embeddings).abs().max() < 1e-5
    predictions = network(large, twice)
    assert predictions.logits.shape == (2, 5, 7, 2, 256)
    assert (predictions.xy - 2 * decode_positions(predictions.logits)).abs().max() < 1e-4


def test_position_embedding_is_resized_by_shape_not_by_number(network: TapNext) -> None:
    own = network.position_embedding.detach()
    assert torch.equal(network._position_embedding((4, 6)), own.flatten(0, 1))
    assert not torch.allclose(network._position_embedding((6, 4)), own.flatten(0, 1))  # 24 too
    flat = torch.ones_like(own)
    network.position_embedding.data.copy_(flat)
    assert torch.allclose(network._position_embedding((8, 12)), torch.ones(96, 32), atol=1e-5)


@torch.no_grad()
def test_variants_differ_in_gelu_eps_and_edge() -> None:
    video, queries = clip()
    state = public_state()
    torch_like, jax_like = from_official(state), from_official(state, variant="jax")
    norms = [module.eps for module in jax_like.modules() if isinstance(module, nn.LayerNorm)]
    assert set(norms) == {1e-6}
    assert {module.approximate for module in jax_like.modules() if isinstance(module, nn.GELU)} == {"tanh"}
    before, after = torch_like(video, queries).logits, jax_like(video, queries).logits
    assert 1e-6 < (before[:, :4, 0] - after[:, :4, 0]).abs().max() < 0.1  # on their first frame the corner is not yet known
    corner = torch.tensor([[0.2, 31.9]])
    assert (torch_like.embed_points(corner, (32, 48)) - jax_like.embed_points(corner, (32, 48))).abs().max() > 0.1


def test_learns_through_every_parameter() -> None:
    torch.manual_seed(0)
    network = TapNext(TINY).train()
    video, queries = clip()
    predictions = network(video, queries)
    (predictions.logits.square().mean() + predictions.xy.mean() + predictions.visible_logits.square().mean()).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in without if not name.endswith("attention.key.bias")] == []  # softmax does not see that one
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_bad_inputs_are_refused(network: TapNext) -> None:
    video, queries = clip()
    for frames, points in ((video[0], queries), (video, queries[0]), (video, queries[..., :2]), (video[:, :0], queries)):
        with pytest.raises(BadInput, match="shape"):
            network(frames, points)
    with pytest.raises(BadInput, match="do not divide"):
        network(video[:, :, :30], queries)
    with pytest.raises(BadInput, match="this state takes"):
        network.step(network.start(queries, (32, 40)), video)


@pytest.mark.parametrize(
    "change",
    [{"width": 30}, {"heads": 3}, {"gate_blocks": 5}, {"image_size": (30, 48)}, {"video_size": (32, 47)}, {"depth": 0}],
)
def test_configs_that_fit_no_network_are_refused(change: dict) -> None:
    with pytest.raises(BadInput, match=next(iter(change))):
        replace(TINY, **change)


@torch.no_grad()
def test_rows_of_the_last_block_are_those_of_the_whole(network: TapNext) -> None:
    block, draw = network.blocks[1], torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 9, TINY.width, generator=draw)
    state = block.temporal.start(2, 9)
    for mask in (None, (torch.arange(9) < 8)[None, None, None]):
        whole, after = block(x, state, True, mask)
        part, same = block(x, state, True, mask, slice(5, -1))
        assert (part - whole[:, :, 5:-1]).abs().max() < 1e-6
        assert torch.equal(after.hidden, same.hidden)


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
