"""A second pass: the mean of what was seen, by hand; where it is off; that chunks and windows change nothing."""

from dataclasses import replace

import numpy as np
import torch

from support.networks import TAPIR, tapir
from tapetum.systems.tap import weights
from tapetum.systems.tap.model import places_of
from tapetum.systems.tap.second_pass import _weights, average_visible_features, average_with_fixed_shapes
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.systems.tap.types import Trajectories

TINY = replace(TAPIR, pyramid_level=0, iterations=1, stem_channels=4, channels=(6, 8, 10, 12))


def network(**changes) -> TapirTracker:
    """With random weights, but for sure that points are visible."""
    model = tapir(TINY, **changes)
    torch.nn.init.constant_(model.matching.occlusion_out.bias, -5.0)
    return TapirTracker(model)


def noise(frames: int = 6, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


@torch.no_grad()
def test_a_tracker_looks_twice_with_it_where_asked_for():
    tracker, video = network(), noise()
    queries = torch.tensor([[0, 10.5, 20.25], [3, 60, 5], [5, 0, 48], [1.5, 30, 30]])
    model = tracker.model
    features = model.features(torch.from_numpy(video).float()[None] / 127.5 - 1)
    points, known = model.query_features(features, queries[None]), places_of(queries[None], len(video))
    once = model.trajectories(features, points, known)
    twice = model.trajectories(
        features, average_visible_features(model, features, points, once, queries[None, :, 0].round()), known
    )
    plain, again = (tracker.track(video, queries.numpy(), second_pass=asked) for asked in (None, True))
    np.testing.assert_allclose(plain.xy, once.tracks[0], atol=1e-4)
    np.testing.assert_allclose(again.xy, twice.tracks[0], atol=1e-4)
    np.testing.assert_allclose(again.confidence, twice.confidence[0], atol=1e-5)
    assert np.abs(again.xy - plain.xy).max() > 0.01


def test_features_read_at_all_positions_are_those_read_where_points_are_visible():
    """As accelerators do it, whose host would have to wait for the number of visible positions."""
    model = network(second_pass=True).model
    video = torch.stack([torch.from_numpy(noise()), torch.from_numpy(noise()).flip(0)]).float() / 127.5 - 1
    queries = torch.tensor([[[0, 10.5, 20.25], [3, 60, 5]], [[5, 0, 48], [1.0, 30, 30]]])
    tracks, logits = torch.rand(2, 2, 6, 2) * 80 - 10, torch.randn(2, 2, 6) * 2 - 2
    tracks[0, 0, 2], logits[0, 0, 2] = torch.nan, -9.0  # nowhere
    results = []
    for fixed in (False, True):
        features = model.features(video)
        points, first = model.query_features(features, queries), Trajectories(tracks, logits, logits)
        if fixed:
            weight = _weights(features, tracks, first.confidence, queries[..., 0])
            found = average_with_fixed_shapes(model, features, points, tracks, weight)
        else:
            found = average_visible_features(model, features, points, first, queries[..., 0])
        total = sum(part.pow(2).sum() for part in (found.initial, *found.levels[0]))
        results.append([found.initial, *found.levels[0], *torch.autograd.grad(total, [*features.pyramids[0][:2]])])
    for visible, everywhere in zip(*results, strict=True):
        torch.testing.assert_close(everywhere, visible, rtol=1e-5, atol=1e-6)
    assert (weight > 0).any()
    assert (weight == 0).any()


@torch.no_grad()
def test_chunks_of_points_on_an_accelerator_have_features_of_their_own():
    """Shapes alone, on a device that computes nothing."""
    model = network(second_pass=True).model.to("meta")
    queries, logits = torch.zeros(1, 5, 3, device="meta"), torch.zeros(1, 5, 6, device="meta")
    features = model.features(torch.zeros(1, 6, 48, 64, 3, device="meta"))
    points, first = (
        model.query_features(features, queries),
        Trajectories(torch.zeros(1, 5, 6, 2, device="meta"), logits, logits),
    )
    found = average_visible_features(model, features, points, first, queries[..., 0], chunk=2)
    assert found.initial.shape == points.initial.shape


def test_windows_look_on_their_own():
    tracker, video = network(second_pass=True), noise(12)
    queries = np.array([[0, 10, 20], [11, 30, 30]], np.float32)
    tracks = tracker.track(video, queries, window=8, overlap=4, half_features=False)
    model = tracker.model
    with torch.no_grad():
        images = torch.from_numpy(video).float()[None] / 127.5 - 1
        points = model.query_features(model.features(images), torch.from_numpy(queries)[None])
        late = model.features(images[:, 4:])
        known = places_of(torch.from_numpy(queries)[None], 8, 4)
        once = model.trajectories(late, points, known)
        seen = average_visible_features(model, late, points, once, torch.tensor([[-4.0, 7.0]]))
        twice = model.trajectories(late, seen, known)
    np.testing.assert_allclose(tracks.xy[:, 6:], twice.tracks[0, :, 2:], atol=1e-4)


def test_loaded_as_causal_a_file_loses_it(tmp_path):
    weights.save(network(second_pass=True).model, tmp_path / "twice.safetensors")
    assert weights.load(tmp_path / "twice.safetensors").config.second_pass
    config = weights.load(tmp_path / "twice.safetensors", causal=True).config
    assert config.causal
    assert not config.second_pass
