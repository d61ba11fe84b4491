"""Tracker: queries, windows over long videos, and frames one by one."""

import itertools
import shutil

import numpy as np
import pytest
import torch

from support.networks import tracker as network
from tapetum.systems.tap.tracking import windows
from tapetum.systems.tap.tracking.feature_file import FeatureFile
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.systems.tap.tracking.windows import plan


def matcher(**changes) -> TapirTracker:
    """A tracker that works without training: the most similar cell wins, all is visible, refinement stays put."""
    tracker = network(**changes)
    model = tracker.model
    with torch.no_grad():
        for head, gain in ((model.matching.trunk, 1.0), (model.matching.position, 5.0)):
            head.weight.zero_()
            head.weight[..., 1, 1] = gain
            head.bias.zero_()
        model.matching.occlusion_out.weight.zero_()
        model.matching.occlusion_out.bias.fill_(-5.0)
        model.mixer.outward.weight.zero_()
        model.mixer.outward.bias.zero_()
    return tracker


def noise(frames: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def sliding(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of noise that slides to and fro in steps of 8 pixels (cells of the map), and its shift (t, 2) as x, y."""
    coarse = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    image = torch.nn.functional.interpolate(coarse, size=(160, 160), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
    image = (image * 255).byte().numpy()
    t = np.arange(frames)
    shift = 8 * np.round(np.stack([2 * np.sin(t / 9), np.cos(t / 7)], 1)).astype(int)
    return np.stack([image[32 - y : 128 - y, 32 - x : 128 - x] for x, y in shift]), shift


def test_one_window_is_the_plain_network():
    tracker, video = network(), noise()
    queries = np.array([[0, 10.5, 20.25], [3, 60, 5], [5, 0, 48], [1.5, 30, 30]], np.float32)
    tracks = tracker.track(video, queries)
    with torch.no_grad():
        images = torch.from_numpy(video).float()[None] / 127.5 - 1
        plain = tracker.model(images, torch.from_numpy(queries)[None])
    np.testing.assert_allclose(tracks.xy, plain.tracks[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(tracks.confidence, plain.confidence[0].numpy(), atol=1e-5)
    np.testing.assert_array_equal(tracks.visible, plain.confidence[0].numpy() > 0.5)
    np.testing.assert_array_equal(tracks.queries, queries)


@pytest.mark.parametrize(("window", "overlap"), [(16, 6), (13, 1), (30, 20)])
def test_a_long_video_in_windows_is_tracked_both_ways(window, overlap):
    video, shift = sliding(60)
    queries = np.array([[0, 44, 52], [31, 52, 44], [59, 36, 52], [7.0, 60, 60]], np.float32)
    wanted = queries[:, None, 1:] + shift[None] - shift[queries[:, 0].astype(int)][:, None]
    seen = []
    tracker = matcher(initial_resolution=(96, 96))
    tracks = tracker.track(
        video,
        queries,
        window=window,
        overlap=overlap,
        half_features=False,
        progress=lambda done, total: seen.append((done, total)),
    )
    error = np.linalg.norm(tracks.xy - wanted, axis=-1)
    assert np.median(error) < 1
    assert (error < 4).mean() > 0.9
    assert tracks.visible.all()
    # Refinement stays put in this network, so that windows must agree with the whole everywhere.
    np.testing.assert_allclose(tracks.xy, tracker.track(video, queries).xy, atol=1e-3)
    assert seen[-1] == (60, 60)
    assert seen == sorted(seen)


@pytest.mark.parametrize("window", [24, 60])
def test_features_too_large_for_single_precision_move_points_by_thousandths(window, monkeypatch):
    video, _ = sliding(60)
    queries = [[0, 44, 52], [31, 52, 44], [59, 36, 52], [7.0, 60, 60]]
    tracker = network()
    small = tracker.track(video, queries, window=window, overlap=8)
    monkeypatch.setattr(windows, "FEATURE_BYTES", 1 << 10)
    exact, half = (tracker.track(video, queries, window=window, overlap=8, half_features=half) for half in (False, True))
    assert (small.xy == exact.xy).all()
    apart = np.linalg.norm(half.xy - exact.xy, axis=-1)
    assert 0 < np.median(apart) < 2e-3
    assert np.percentile(apart, 99) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("causal", "window"), [(False, 24), (True, 16)])
def test_chunks_of_frames_and_queries_change_nothing_in_windows(causal, window):
    video, _ = sliding(40)
    queries = np.random.default_rng(0).uniform(0, (39, 96, 96), (9, 3)).astype(np.float32)
    tracker = network(causal=causal)
    whole = tracker.track(video, queries, window=window, overlap=8, query_chunk=None, frame_chunk=40)
    for query_chunk, frame_chunk in ((1, 3), (4, 1), (7, 16)):
        parts = tracker.track(video, queries, window=window, overlap=8, query_chunk=query_chunk, frame_chunk=frame_chunk)
        np.testing.assert_allclose(parts.xy, whole.xy, atol=1e-3)
        np.testing.assert_allclose(parts.confidence, whole.confidence, atol=1e-5)


@pytest.mark.parametrize("window", [1, 4, 7])
def test_causal_windows_give_exactly_the_whole(window):
    tracker, video = network(causal=True), noise(11)
    queries = [[0, 10, 20], [4, 30, 30], [10, 50, 12], [6.5, 20, 20]]
    whole, parts = tracker.track(video, queries), tracker.track(video, queries, window=window)
    np.testing.assert_allclose(parts.xy, whole.xy, atol=1e-3)
    np.testing.assert_allclose(parts.confidence, whole.confidence, atol=1e-5)


def test_features_are_computed_once_a_frame():
    tracker, video = network(), noise(40)
    count = 0

    def counting(module, inputs):
        nonlocal count
        count += len(inputs[0])

    tracker.model.backbone.register_forward_pre_hook(counting)
    tracker.track(video, [[0, 10, 20], [0, 30, 30]], window=12, overlap=4)
    assert count == 40 + 1, "all frames, and the query's own"
    count = 0
    tracker.track(video, [[0, 10, 20]])
    assert count == 40


def test_a_feature_file_goes_on_behind_what_a_killed_command_wrote(tmp_path):
    tracker, video, path, computed = network(), noise(6), tmp_path / "features.bin", []
    for part in (video[:3], video[:5], video):
        features = FeatureFile(path, path, 1 << 30)
        tracker.track(part, [[0, 10, 20]], features=features)
        features.close()
        computed.append(features.computed)
        with path.open("ab") as file:
            file.write(b"part of a frame")
    assert computed == [3, 2, 1]
    features = FeatureFile(path, None, 0)
    tracker.track(video, [[0, 10, 20]], features=features)
    assert (features.read, features.computed) == (6, 0)


def test_plan_covers_every_frame_with_enough_overlap():
    for frames in range(1, 60):
        for window, overlap in ((12, 4), (7, 6), (5, 1), (9, 0)):
            windows = plan(frames, window, overlap)
            assert windows[0].begin == windows[0].cut == 0
            assert windows[-1].end == frames
            for a, b in itertools.pairwise(windows):
                assert a.end - b.begin >= overlap
                assert a.cut < b.cut <= a.end
                assert b.end - b.begin <= window


# --- frames one by one --------------------------------------------------------------------------------------------------


def test_frame_by_frame_is_the_causal_pass_over_the_clip():
    tracker, video = network(causal=True), noise(8)
    points = np.array([[10.0, 20.0], [33.5, 40.25], [63, 1]], np.float32)
    stream = tracker.start(video[0], points)
    steps = []
    for frame in video:
        stream, seen = tracker.step(stream, frame)
        steps.append(seen)
    queries = np.concatenate([np.zeros((3, 1), np.float32), points], 1)
    with torch.no_grad():
        whole = tracker.model(torch.from_numpy(video).float()[None] / 127.5 - 1, torch.from_numpy(queries)[None])
    np.testing.assert_allclose(np.stack([s.xy for s in steps], 1), whole.tracks[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(np.stack([s.confidence for s in steps], 1), whole.confidence[0].numpy(), atol=1e-5)
    assert steps[0].visible.dtype == bool


def test_points_come_and_go():
    tracker, video = network(causal=True), noise(6)
    stream, _ = tracker.step(tracker.start(video[0], [[10, 20], [30, 30]]), video[0])
    stream, _ = tracker.step(stream, video[1])
    late = tracker.start(video[2], [[50, 12]])
    stream = tracker.keep(tracker.add(stream, video[2], [[20, 20], [50, 12]]), [0, 1, 3])
    assert len(stream) == 3
    stream, both = tracker.step(stream, video[2])
    late, alone = tracker.step(late, video[2])
    np.testing.assert_allclose(both.xy[2:], alone.xy, atol=1e-4)
    stream = tracker.keep(stream, [2, 0])
    assert len(stream) == 2
    stream, both = tracker.step(stream, video[3])
    late, alone = tracker.step(late, video[3])
    np.testing.assert_allclose(both.xy[:1], alone.xy, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("causal", [False, True])
def test_a_compiled_tracker_gives_the_same_tracks(causal):
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    video, queries = noise(7), [[0, 10, 20], [3, 30, 30], [5, 50, 12]]
    plain = network(causal=causal).track(video, queries)
    torch.compiler.reset()
    compiled = network(causal=causal).compile()
    calls = torch._dynamo.utils.counters["stats"]["calls_captured"]
    tracks = compiled.track(video, queries)
    assert torch._dynamo.utils.counters["stats"]["calls_captured"] > calls, "something was compiled"
    np.testing.assert_allclose(tracks.xy, plain.xy, atol=1e-3)
    np.testing.assert_allclose(tracks.confidence, plain.confidence, atol=1e-4)
    again = compiled.track(noise(5, seed=1), queries[:2], frame_chunk=2)
    np.testing.assert_allclose(again.xy, network(causal=causal).track(noise(5, seed=1), queries[:2]).xy, atol=1e-3)


@pytest.mark.parametrize("window", [None, 10])
@pytest.mark.parametrize("ids", [None, [0, 1, 0]])
def test_parts_come_from_the_beginning_on_and_change_nothing(window: int | None, ids, monkeypatch) -> None:
    monkeypatch.setattr("tapetum.systems.tap.tracking.windows._STEP", 4)
    monkeypatch.setattr("tapetum.systems.tap.tracking.windows._SHARE", 1e9)
    tracker, video, parts = network(), noise(24), []
    options = {"window": window, "ids": ids, "frame_chunk": 2}
    queries = [[0, 10, 10], [20, 30, 30], [7, 12, 11]]
    plain = tracker.track(video, queries, **options)
    heard = tracker.track(video, queries, partial=lambda xy, confidence: parts.append((xy, confidence)), **options)
    np.testing.assert_array_equal(heard.xy, plain.xy)
    np.testing.assert_array_equal(heard.confidence, plain.confidence)
    counts = [int(np.isfinite(xy).all(axis=(0, 2)).sum()) for xy, _ in parts]
    assert counts == sorted(counts)
    assert counts[0] == 4
    assert counts[-1] == (20 if window is None else 24)
    assert all(
        xy.shape == plain.xy.shape and np.isfinite(xy[:, :count]).all() for (xy, _), count in zip(parts, counts, strict=True)
    )
