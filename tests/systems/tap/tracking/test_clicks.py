"""Several clicks of one point, corrections of saved tracks, and points shown by another image."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tapetum
from support.networks import TAPIR_NANO, tapir
from support.networks import tracker as network
from tapetum.core.errors import BadInput
from tapetum.systems.tap.tracking.clicks import blend, number_points, share_features
from tapetum.types import Tracks


def noise(frames: int = 8, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


CLICKS = np.array([[0, 10.5, 20.25], [1, 40, 30], [6, 33, 7], [3, 12.25, 24], [7, 60, 5]], np.float32)
IDS = ["a", "b", "b", "a", "a"]


def places(xy: list[float], sure: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([xy, np.zeros(len(xy))], 1).astype(np.float32), np.array(sure, np.float32)


def test_ways_that_agree_are_blended_by_nearness_and_confidence():
    on, sure = places([0, 1, 2, 3, 4], [1, 0.8, 0.8, 0.8, 0.8])
    back, its = places([1, 2, 3, 4, 5], [0.4, 0.4, 0.8, 0.8, 1])
    clicks, numbers = np.array([[0, 0, 0], [4, 5, 0]], np.float32), np.array([0, 0])
    xy, confidence, clicked = blend(clicks, numbers, np.stack([on, back]), np.stack([sure, its]), 256)
    # Weights by hand: 1/4 x 0.4^3 against 3/4 x 0.8^3, the same on both sides, 3/4 against 1/4.
    share = 1 / 4 * 0.4**3 / (1 / 4 * 0.4**3 + 3 / 4 * 0.8**3)
    np.testing.assert_allclose(xy[0, :, 0], [0, 1 + share, 2.5, 3.75, 5], rtol=1e-5)
    np.testing.assert_allclose(confidence[0], [1, 0.8, 0.8, 0.8, 1])
    assert clicked.tolist() == [[True, False, False, False, True]]


def test_ways_that_differ_are_not_mixed():
    on, sure = places([0, 1, 2, 90, 90], [1, 0.9, 0.9, 0.2, 0.2])  # lost its way in frame 3
    back, its = places([50, 1, 2, 3, 4], [0.9, 0.9, 0.9, 0.9, 1])
    clicks, numbers = np.array([[0, 0, 0], [4, 4, 0]], np.float32), np.array([0, 0])
    xy, confidence, _ = blend(clicks, numbers, np.stack([on, back]), np.stack([sure, its]), 256)
    np.testing.assert_allclose(xy[0, :, 0], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(confidence[0], [1, 0.9, 0.9, 0.9, 1])


def test_before_the_first_click_and_after_the_last_there_is_one_way_only():
    ways = np.arange(3)[:, None, None] * 100 + np.zeros((3, 9, 2), np.float32)
    clicks = np.array([[5, 1, 1], [2, 2, 2], [7, 3, 3]], np.float32)  # in no order
    xy, *_ = blend(clicks, np.zeros(3, int), ways, np.ones((3, 9), np.float32), 256)
    assert xy[0, :, 0].tolist() == [100, 100, 2, 100, 0, 1, 0, 3, 200]  # frame 6 is as near to one as to the other


def test_clicks_of_a_point_share_their_coarse_features_and_keep_their_fine_ones():
    model = tapir()
    points = model.query_features(
        model.features(torch.rand(1, 3, 64, 64, 3)), torch.tensor([[[0, 9, 9], [1, 30, 20], [2, 50, 50.0]]])
    )
    shared = share_features(points, torch.tensor([0, 1, 0]))
    for own, mixed in ((points.initial, shared.initial), (points.levels[0][1], shared.levels[0][1])):
        mean = (own[:, 0] + own[:, 2]) / 2
        torch.testing.assert_close(mixed, torch.stack([mean, own[:, 1], mean], 1))
    torch.testing.assert_close(shared.levels[0][0], points.levels[0][0])


@pytest.mark.parametrize(
    ("config", "options"),
    [({}, {}), ({}, {"window": 5, "overlap": 2}), ({"causal": True}, {}), (TAPIR_NANO, {}), (TAPIR_NANO, {"query_chunk": 2})],
)
def test_a_track_goes_exactly_through_all_clicks_of_its_point(config, options):
    tracker = network(**config) if isinstance(config, dict) else network(config)
    tracks = tracker.track(noise(), CLICKS, ids=IDS, **options)
    assert (tracks.points, tracks.frames) == (2, 8)
    np.testing.assert_array_equal(tracks.queries, CLICKS[:2])
    for (t, x, y), name in zip(CLICKS, IDS, strict=True):
        row = "ab".index(name)
        assert tracks.xy[row, int(t)].tolist() == [x, y]
        assert tracks.visible[row, int(t)]
    wanted = np.zeros((2, 8), bool)
    wanted[0, [0, 3, 7]] = wanted[1, [1, 6]] = True
    np.testing.assert_array_equal(tracks.clicked, wanted)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([1, 2], "2 ids for 5 queries"), (["a", "a", "a", "a", "a"], None), (7, "int"), ([0, 1, 0, 0, 0], None)],
)
def test_ids_that_do_not_fit(ids, message):
    if message is None:
        assert number_points(ids, torch.from_numpy(CLICKS)).tolist() == [0 if each == ids[0] else 1 for each in ids]
        return
    with pytest.raises(BadInput, match=message):
        network().track(noise(), CLICKS, ids=ids)


def test_a_correction_leaves_all_other_points_as_they_are():
    tracker, video = network(), noise()
    old = replace(tracker.track(video, CLICKS), names=tuple("vwxyz"), times=np.arange(8) / 7)
    new = tracker.correct(video, old, [(3, 6, 20.5, 11)])
    kept = [0, 1, 2, 4]
    for name in ("xy", "visible", "confidence", "queries"):
        assert getattr(new, name)[kept].tobytes() == getattr(old, name)[kept].tobytes()
    assert new.names == old.names
    np.testing.assert_array_equal(new.times, old.times)
    assert new.xy[3, 6].tolist() == [20.5, 11]
    assert new.xy[3, 3].tolist() == CLICKS[3, 1:].tolist(), "the query is a click as well"
    assert (new.xy[3] != old.xy[3]).any(1).sum() > 2
    both = tracker.track(video, [CLICKS[3], [6, 20.5, 11]], ids=[0, 0])
    np.testing.assert_array_equal(new.xy[3], both.xy[0])


def test_corrections_add_up_and_the_last_word_holds(tmp_path):
    tracker, video = network(), noise()
    old = tracker.track(video, CLICKS)
    first = tracker.correct(video, old, [(3, 6, 20.5, 11), (0, 2, 1, 1)])
    saved = Tracks.load(first.save(tmp_path / "first.csv"))
    second = tracker.correct(video, saved, [(3, 0, 44, 40), (3, 6, 21, 12)])
    assert [second.xy[3, t].tolist() for t in (0, 3, 6)] == [[44, 40], CLICKS[3, 1:].tolist(), [21, 12]]
    np.testing.assert_array_equal(second.xy[0], first.xy[0])
    third = tracker.correct(video, second, [(3, 3, 30, 30)])  # where the query was
    assert third.queries[3].tolist() == [3, 30, 30]
    assert third.xy[3, 3].tolist() == [30, 30]
    assert third.clicked is not None
    assert np.flatnonzero(third.clicked[3]).tolist() == [0, 3, 6]


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        ((5, 0, 1, 1), "no point 5"),
        ((-1, 0, 1, 1), "no point -1"),
        ((0.5, 0, 1, 1), "no point 0.5"),
        ((0, 8, 1, 1), "frame 8"),
        ((0, 1.5, 1, 1), "frame 1.5"),
        ((0, float("nan"), 1, 1), "frame nan"),
        ((0, 1, float("inf"), 1), "finite"),
        ((0, 1, 65, 1), "x in 0..64"),
        ((0, 1, 2), "not four numbers"),
    ],
)
def test_corrections_that_cannot_be(correction, message):
    tracker, video = network(), noise()
    old = tracker.track(video, CLICKS)
    with pytest.raises(BadInput, match=message):
        tracker.correct(video, old, [correction])
    with pytest.raises(BadInput, match="corrected twice"):
        tracker.correct(video, old, [(0, 1, 1, 1), (0, 1, 2, 2)])
    with pytest.raises(BadInput, match="nothing to correct"):
        tracker.correct(video, old, [])


def two_sided() -> tuple[np.ndarray, np.ndarray]:
    """A card that goes right over a wall, turns its other side to the viewer from frame 8 on; the places of its middle."""
    rng = np.random.default_rng(3)

    def paint(size: int, cells: int) -> np.ndarray:
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, cells, cells))).float()
        image = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")[0].permute(1, 2, 0)
        return image.clamp(0, 255).byte().numpy()

    wall, sides = paint(128, 20), [paint(36, 5), paint(36, 5)]
    video, middle = np.repeat(wall[None], 16, 0), []
    for t, frame in enumerate(video):
        left, top = 8 + 5 * t, 40 + t
        frame[top : top + 36, left : left + 36] = sides[t >= 8]
        middle.append((left + 18, top + 18))
    return video, np.array(middle, np.float32)


@pytest.mark.slow
def test_a_second_click_repairs_a_lost_point():
    video, middle = two_sided()
    tracker = tapetum.load("tapir-nano")
    one = tracker.track(video, [[0, *middle[0]]])
    error = np.linalg.norm(one.xy[0] - middle, axis=1)
    lost = (error > 4) | ~one.visible[0]
    assert not lost[:8].any()
    assert lost[8:].mean() > 0.8, "the other side is not what was clicked"
    two = tracker.correct(video, one, [(0, 12, *middle[12])])
    error = np.linalg.norm(two.xy[0] - middle, axis=1)
    assert error[12] == 0
    assert (error < 2).all()
    assert two.visible[0].all()


@pytest.mark.slow
def test_a_point_is_found_as_another_image_shows_it():
    video, middle = two_sided()
    tracker = tapetum.load("tapir-nano")
    reference = video[5, :, :100]  # of another shape
    tracks = tracker.track(video[:8], [[0, *middle[5]]], reference=reference)
    assert (np.linalg.norm(tracks.xy[0] - middle[:8], axis=1) < 2.5).all()
    assert tracks.visible.all()
    t, x, y = tracks.queries[0]
    assert np.linalg.norm([x, y] - middle[int(t)]) < 2.5
    assert tracks.clicked is not None
    assert not tracks.clicked.any()
    absent = tracker.track(video[8:], [[0, *middle[5]]], reference=reference)
    assert absent.visible.mean() < 0.3, "only its other side is to be seen"


@pytest.mark.slow
def test_a_stream_starts_with_points_of_a_reference():
    video, middle = two_sided()
    tracker = tapetum.load("causal-tapir-nano")
    stream = tracker.start(video[0], [middle[5]], reference=video[5])
    errors = []
    for frame, place in zip(video[:6], middle, strict=False):
        stream, seen = tracker.step(stream, frame)
        errors.append(np.linalg.norm(seen.xy[0] - place))
    assert max(errors) < 4
    added = tracker.add(stream, video[6], [[20, 20]])
    assert len(added) == 2
    with pytest.raises(BadInput, match="outside of the reference"):
        tracker.start(video[0], [[120, 20]], reference=video[5, :, :100])
