"""Properties that a TAPIR network must have whatever its weights, and the mistakes of the public code that it must not have."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from support.networks import TAPIR, tapir
from tapetum.core.errors import BadInput
from tapetum.layers.sampling import sample_video
from tapetum.systems.tap import matching
from tapetum.systems.tap.config import NANO, OFFICIAL
from tapetum.systems.tap.matching import local_correlation, soft_argmax
from tapetum.systems.tap.model import Tapir, default_resolutions, places_of
from tapetum.systems.tap.task import tracking_losses
from tapetum.tracks.training.tracker_task import add_terms

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


@pytest.mark.parametrize("size", [(6, 10), (10, 6), (7, 7)])
def test_local_correlation_samples_non_square_maps_rightly(size):
    g = torch.Generator().manual_seed(0)
    height, width = size
    maps = torch.randn(2, 3, height, width, 5, generator=g)
    query = torch.randn(2, 4, 3, 5, generator=g)
    centre = torch.rand(2, 4, 3, 2, generator=g) * torch.tensor([width + 8.0, height + 8.0]) - 4  # some outside
    ours = local_correlation(query, maps, centre)
    y, x = torch.meshgrid(torch.arange(-3, 4), torch.arange(-3, 4), indexing="ij")
    places = centre[..., None, :] + torch.stack([x, y], -1).reshape(49, 2)
    grid = places.permute(0, 2, 1, 3, 4).flatten(0, 1) / torch.tensor([width, height]) * 2 - 1
    samples = F.grid_sample(maps.flatten(0, 1).permute(0, 3, 1, 2), grid, align_corners=False).unflatten(
        0, (2, 3)
    )  # b t c n 49
    torch.testing.assert_close(ours, torch.einsum("bntc,btcns->bnts", query, samples), atol=1e-5, rtol=1e-4)


def test_local_correlation_passes_gradients_to_maps_queries_and_positions():
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 2, 5, 6, 3, generator=g, dtype=torch.float64, requires_grad=True)
    query = torch.randn(1, 2, 1, 3, generator=g, dtype=torch.float64, requires_grad=True)
    centre = torch.tensor([[1.3, 2.2], [5.9, 0.4]]).view(1, 2, 1, 2).repeat(1, 1, 2, 1).requires_grad_()
    local_correlation(query, maps, centre).square().sum().backward()
    for tensor in (maps, query, centre):
        assert tensor.grad.abs().sum() > 0
    # The slope along x, by hand: the same function a little to the side.
    step = 1e-2
    with torch.no_grad():
        up, down = (local_correlation(query, maps, centre + torch.tensor([s, 0])).square().sum() for s in (step, -step))
    assert centre.grad[..., 0].sum().item() == pytest.approx((up - down).item() / (2 * step), rel=2e-2)


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


@pytest.mark.parametrize("size", [(5, 9), (9, 5)])
def test_query_sampling_on_non_square_maps(size):
    g = torch.Generator().manual_seed(0)
    height, width = size
    maps = torch.randn(2, 4, height, width, 3, generator=g)
    points = torch.rand(2, 6, 3, generator=g) * torch.tensor([3.0, width, height])
    grid = (points + torch.tensor([0.5, 0, 0])) / torch.tensor([4, width, height]) * 2 - 1
    grid = torch.stack([grid[..., 1], grid[..., 2], grid[..., 0]], -1)[:, None, None]  # grid_sample wants x, y, t
    wanted = F.grid_sample(maps.permute(0, 4, 1, 2, 3), grid, padding_mode="border", align_corners=False)
    wanted = wanted[:, :, 0, 0].transpose(1, 2)
    before = points.clone()
    torch.testing.assert_close(sample_video(maps, points), wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(points, before), "the caller's coordinates were changed"


def test_refinement_above_the_size_of_the_video_is_not_ignored():
    model, (video, queries) = tiny(), random_case()
    small = model.features(video, [(64, 64)])
    large = model.features(video, [(128, 128)])
    assert large.pyramids[0][0].shape[2:4] == (32, 32)
    assert small.pyramids[0][0].shape[2:4] == (16, 16)
    with torch.no_grad():
        tracks = [model(video, queries, refinement_resolutions=[(side, side)]).tracks for side in (64, 128)]
    assert (tracks[0] - tracks[1]).abs().max() > 1e-2


# --- learning -----------------------------------------------------------------------------------------------------------


def _kinds():
    for name, config in OFFICIAL.items():
        kind = {"causal": config.causal, "pyramid_level": config.pyramid_level, "extra_convs": config.extra_convs}
        yield pytest.param(replace(TINY, **kind), id=name)
    yield pytest.param(replace(NANO, initial_resolution=(64, 64), refine_at_least=None), id="tapir-nano")


@pytest.mark.parametrize("config", list(_kinds()))
def test_every_parameter_gets_a_gradient(config):
    torch.manual_seed(0)
    model = Tapir(config)
    with torch.no_grad():
        for parameter in model.parameters():  # some start at zero, which would hide what comes before them
            parameter.add_(0.02 * torch.randn_like(parameter))
    video, queries = random_case(frames=5)
    out = model(video, queries)
    occluded = torch.rand(out.occlusion.shape, generator=torch.Generator().manual_seed(2)) > 0.7
    add_terms(tracking_losses(out, torch.rand(out.tracks.shape) * 64, occluded, (64, 64)))[0].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_refinement_can_learn_from_some_queries_and_matching_from_all():
    model, (video, queries) = tiny(), random_case(points=6, height=32)
    out = model(video, queries, query_chunk=2, refine_with_gradient=2)
    torch.testing.assert_close(out.tracks, model(video, queries, query_chunk=2).tracks, atol=1e-4, rtol=0)
    sum(it.tracks[:, 2:].sum() + it.occlusion[:, 2:].sum() for it in (out, *out.unrefined)).backward(retain_graph=True)
    assert model.mixer.inward.weight.grad.abs().max() == 0
    assert model.matching.position.weight.grad.abs().sum() > 0
    out.tracks[:, :2].sum().backward()
    assert model.mixer.inward.weight.grad.abs().sum() > 0


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
def test_points_are_tracked_independently_of_each_other():
    model, (video, queries) = tiny(), random_case(points=6)
    together, alone = model(video, queries), model(video, queries[:, 2:3])
    torch.testing.assert_close(together.tracks[:, 2:3], alone.tracks, atol=1e-4, rtol=0)
    torch.testing.assert_close(together.occlusion[:, 2:3], alone.occlusion, atol=1e-4, rtol=0)


@torch.no_grad()
def test_query_between_frames_mixes_their_features():
    model, (video, _) = tiny(), random_case()
    features = model.features(video)
    queries = torch.tensor([[[1.0, 20.0, 30.0], [2.0, 20.0, 30.0], [1.25, 20.0, 30.0]]])
    first, second, between = model.query_features(features, queries).levels[0][1][0]
    torch.testing.assert_close(between, 0.75 * first + 0.25 * second, atol=1e-5, rtol=0)


@torch.no_grad()
def test_query_place_stands_in_for_matching_only_at_its_own_frame():
    model, (video, queries) = tiny(), random_case()
    features = model.features(video)
    points = model.query_features(features, queries)
    free = model.trajectories(features, points).unrefined[0].tracks
    held = model.trajectories(features, points, places_of(queries, 6)).unrefined[0].tracks
    own = queries[..., :1].round() == torch.arange(6)
    torch.testing.assert_close(held[own], queries[0, :, 1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(held[~own], free[~own], atol=1e-4, rtol=0)


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


def test_a_blank_video_gives_finite_numbers_and_gradients():
    model = tiny()
    out = model(torch.zeros(1, 3, 64, 64, 3), torch.tensor([[[0.0, 0.0, 0.0], [2.0, 64.0, 64.0]]]))
    terms = tracking_losses(out, torch.zeros_like(out.tracks), torch.zeros_like(out.occlusion).bool(), (64, 64))
    add_terms(terms)[0].backward()
    assert out.tracks.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


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


@torch.no_grad()
def test_positions_of_the_finest_resolution_where_the_config_says_so():
    model, (video, queries) = tiny(), random_case()
    finest = Tapir(replace(TINY, average_positions=False))
    finest.load_state_dict(model.state_dict())
    sizes = [(64, 64), (128, 128)]
    mean, last = model(video, queries, refinement_resolutions=sizes), finest(video, queries, refinement_resolutions=sizes)
    torch.testing.assert_close((last.tracks + last.unrefined[4].tracks) / 2, mean.tracks, atol=1e-4, rtol=0)
    torch.testing.assert_close(last.occlusion, mean.occlusion)


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
