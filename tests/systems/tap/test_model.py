"""Properties that a TAPIR network must have whatever its weights, and the mistakes of the public code that it must not have."""

from dataclasses import replace

import pytest
import torch

from support.networks import TAPIR, tapir
from tapetum.core.errors import BadInput
from tapetum.systems.tap import matching
from tapetum.systems.tap.matching import local_correlation, soft_argmax
from tapetum.systems.tap.model import Tapir, default_resolutions, places_of

TINY = replace(TAPIR, channels=(16, 24, 32, 32), blocks_per_group=(1, 2, 1, 1))


def tiny(seed: int = 0, **changes) -> Tapir:
    return tapir(TINY, seed, **changes)


def random_case(batch: int = 1, points: int = 5, frames: int = 6, height: int = 64, width: int = 64, seed: int = 1):
    g = torch.Generator().manual_seed(seed)
    video = torch.rand(batch, frames, height, width, 3, generator=g) * 2 - 1
    queries = torch.rand(batch, points, 3, generator=g) * torch.tensor([frames - 1, width, height])
    queries[..., 0] = queries[..., 0].round()
    return video, queries


def same(a, b, atol=1e-4):
    for name in ("tracks", "occlusion", "expected_dist"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=atol, rtol=0)


# --- where the public PyTorch code is wrong -----------------------------------------------------------------------------


def test_picked_cells_and_whole_maps_agree_in_value_and_gradient(monkeypatch):
    g = torch.Generator().manual_seed(0)
    start = torch.randn(2, 5, 40, 50, 3, generator=g), torch.randn(2, 4, 5, 3, generator=g)
    centre = torch.rand(2, 4, 5, 2, generator=g) * 60 - 5
    results = []
    for few, at_a_time in ((0, 1), (0, 700), (10**6, 1)):
        monkeypatch.setattr(matching, "FEW_CELLS_TO_LEARN", few)
        monkeypatch.setattr(matching, "PICKED_AT_A_TIME", at_a_time)
        maps, query = (tensor.clone().requires_grad_() for tensor in start)
        out = local_correlation(query, maps, centre)
        out.square().sum().backward()
        results.append((out, maps.grad, query.grad))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-4, rtol=1e-4)


# --- learning -----------------------------------------------------------------------------------------------------------


def test_bfloat16_autocast_stays_near_float32():
    model, (video, queries) = tiny(), random_case()
    full = model(video, queries)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(video, queries)
    assert half.tracks.dtype == torch.float32
    assert (half.occlusion - full.occlusion).abs().max() < 0.2


# --- properties ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_chunks_change_nothing(causal):
    model, (video, queries) = tiny(causal=causal), random_case(batch=2, points=7)
    whole = model(video, queries, query_chunk=None)
    same(whole, model(video, queries, query_chunk=3, frame_chunk=4))
    assert len(whole.unrefined) == 4


@torch.no_grad()
def test_a_causal_network_does_not_see_the_future():
    model, (video, queries) = tiny(causal=True), random_case(frames=8)
    queries[..., 0] = 0
    changed = video.clone()
    changed[:, 5:] = -changed[:, 5:]
    a, b = model(video, queries), model(changed, queries)
    torch.testing.assert_close(a.tracks[:, :, :5], b.tracks[:, :, :5], atol=1e-4, rtol=0)
    assert (a.tracks[:, :, 5:] - b.tracks[:, :, 5:]).abs().max() > 1e-3


@torch.no_grad()
def test_a_causal_clip_in_two_parts_with_state_is_the_whole_clip():
    model, (video, queries) = tiny(causal=True), random_case(batch=2, frames=7)
    features = model.features(video)
    points = model.query_features(features, queries)
    whole = model.trajectories(features, points)
    first = model.trajectories(features.frames(0, 3), points, keep_state=True, query_chunk=2)
    second = model.trajectories(features.frames(3, 7), points, state=first.state, query_chunk=3)
    torch.testing.assert_close(torch.cat([first.tracks, second.tracks], 2), whole.tracks, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cat([first.occlusion, second.occlusion], 2), whole.occlusion, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (30, 90), (64, 200), (130, 64)])
@torch.no_grad()
def test_videos_of_any_size_give_tracks_in_their_own_pixels(size):
    model, (video, queries) = tiny(), random_case(frames=2, height=size[0], width=size[1])
    out = model(video, queries)
    assert out.tracks.isfinite().all()
    own = queries[..., :1] == torch.arange(2)
    torch.testing.assert_close(out.unrefined[0].tracks[own], queries[0, :, 1:], atol=1e-3, rtol=0)


def test_small_videos_are_refined_above_their_size_where_the_config_says_so():
    assert tiny().refinements((64, 64)) == [(64, 64)]
    model, (video, queries) = tiny(refine_at_least=(128, 96)), random_case(frames=2)
    assert model.refinements((64, 64)) == [(64, 64), (128, 96)]
    assert model.refinements((256, 64)) == default_resolutions((256, 96), (64, 64))
    with torch.no_grad():
        default, asked = model(video, queries), model(video, queries, refinement_resolutions=[(64, 64), (128, 96)])
    assert torch.equal(default.tracks, asked.tracks)


def test_refinement_ends_at_a_size_where_the_config_says_so():
    model = tiny(refine_at_least=(96, 96), refine_at_most=(96, 96))
    assert model.refinements((64, 64)) == model.refinements((1080, 1920)) == [(64, 64), (96, 96)]
    assert tiny(refine_at_most=(64, 64)).refinements((720, 1280)) == [(64, 64)]


@pytest.mark.parametrize("resolution", [(60, 64), (0, 64), (8, 64)])
def test_impossible_resolutions_are_refused(resolution):
    with pytest.raises(BadInput, match="multiples of 8"):
        tiny().features(torch.zeros(1, 1, 64, 64, 3), [resolution])


def test_the_logits_of_all_cells_come_with_training_only():
    video, queries = random_case()
    model = tiny()
    out = model(video, queries, query_chunk=2)
    assert out.heatmap.shape == (1, 5, 6, 8, 8)
    where = soft_argmax(out.heatmap.flatten(0, 2)).view(1, 5, 6, 2) * 8
    elsewhere = places_of(queries, 6)[..., :1].isnan().expand_as(where)  # at its own frame a query stands in for matching
    torch.testing.assert_close(where[elsewhere], out.unrefined[0].tracks[elsewhere])
    assert model.eval()(video, queries).heatmap is None
