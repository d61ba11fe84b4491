"""The trackers that come with the package do track: scenes that they were not trained on, and frame by frame."""

from dataclasses import replace

import numpy as np
import pytest

import tapetum
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.tracks.metrics import tapvid_metrics

SEEDS = (900_001, 900_002)


def clip_of(seed: int):
    return make_clip(seed, SceneConfig(size=(256, 256), frames=10), points=32)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("tapir-nano", 0.75), ("causal-tapir-nano", 0.75)])
def test_bundled_trackers_follow_points_through_new_scenes(name, least):
    tracker, scores, still = tapetum.load(name), [], []
    for seed in SEEDS:
        clip = clip_of(seed)
        tracks = tracker.track(clip.video, clip.queries)
        truth = clip.queries, ~clip.truth.visible, clip.truth.xy
        static = np.repeat(clip.queries[:, None, 1:], len(clip.video), 1)
        scores.append(tapvid_metrics(*truth, ~tracks.visible, tracks.xy, "first")["average_jaccard"])
        still.append(tapvid_metrics(*truth, np.zeros_like(tracks.visible), static, "first")["average_jaccard"])
    assert np.mean(scores) > least
    assert np.mean(scores) > np.mean(still) + 0.2


@pytest.mark.slow
def test_a_second_pass_knows_better_what_is_visible():
    tracker, right, scores = tapetum.load("tapir-nano"), [], []
    for seed in (900_003, 900_004):
        clip = clip_of(seed)
        for look in (False, True):
            tracks = tracker.track(clip.video, clip.queries, second_pass=look)
            truth = clip.queries, ~clip.truth.visible, clip.truth.xy
            found = tapvid_metrics(*truth, ~tracks.visible, tracks.xy, "first")
            right.append(found["occlusion_accuracy"])
            scores.append(found["average_jaccard"])
    assert np.mean(right[1::2]) > np.mean(right[::2]) + 0.01
    assert np.mean(scores[1::2]) > np.mean(scores[::2])


@pytest.mark.slow
def test_the_causal_one_gives_frame_by_frame_what_it_gives_for_the_clip():
    clip, tracker = clip_of(SEEDS[0]), tapetum.load("causal-tapir-nano")
    first = clip.queries[clip.queries[:, 0] == 0][:8]
    stream = tracker.start(clip.video[0], first[:, 1:], refinement_resolutions=tracker.model.refinements(clip.video.shape[1:3]))
    places = []
    for frame in clip.video:
        stream, seen = tracker.step(replace(stream, recent=None), frame)
        places.append(seen.xy)
    whole = tracker.track(clip.video, first).xy
    np.testing.assert_allclose(
        np.stack(places, 1), whole, atol=5e-3
    )  # float32 through a trained network: see its jitter in docs
