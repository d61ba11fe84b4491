"""Alignment of first looks: exact where images agree, and nothing done where they do not."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from support.networks import tracker
from tapetum.systems.tap.config import CAUSAL_NANO, NANO
from tapetum.systems.tap.tracking.polish import Anchors, polish_clip, polished
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.tracks.patches import RADIUS, Patches, grey
from tapetum.tracks.training.warping import warp_frames

FRAMES, H, W = 9, 120, 160


def journey(t: int) -> np.ndarray:
    """The map of frame t: turned by 2 degrees a frame, grown by 1 %, moved by (1.3, -0.7)."""
    angle, grown = np.deg2rad(2 * t), 1.01**t
    turn = grown * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([W / 2, H / 2])
    return np.block([[turn, (centre + np.array([1.3, -0.7]) * t - turn @ centre)[:, None]], [np.zeros((1, 2)), 1]])


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """An image on a journey, uint8."""
    coarse = torch.rand(1, 3, H // 6, W // 6, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(coarse, (H, W), mode="bicubic").clamp(0, 1)[0]
    maps = torch.from_numpy(np.stack([journey(t) for t in range(FRAMES)]))
    frames = warp_frames(image.expand(FRAMES, -1, -1, -1), maps, (H, W))
    return (frames * 255).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module")
def truth() -> tuple[torch.Tensor, torch.Tensor]:
    """Queries (12, 3), on the first, the middle and the last frame, and true tracks (12, FRAMES, 2)."""
    y, x = np.mgrid[45:80:3j, 50:110:4j].reshape(2, -1)
    first = np.stack([x, y, np.ones_like(x)], 1)
    xy = np.stack([(first @ journey(t).T)[:, :2] for t in range(FRAMES)], 1).astype(np.float32)
    at = np.arange(12) % 3 * (FRAMES // 2)
    return torch.from_numpy(np.column_stack([at, xy[np.arange(12), at]]).astype(np.float32)), torch.from_numpy(xy)


@pytest.fixture(scope="module")
def rough(truth: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Tracks that are off by about 1.4 pixels."""
    return truth[1] + torch.randn(truth[1].shape, generator=torch.Generator().manual_seed(1))


def of(film: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda begin, end: film[begin:end]


def test_tracks_become_exact_before_and_after_the_query(film, truth, rough) -> None:
    queries, xy = truth
    doubt = torch.full(xy.shape[:2], 0.2)
    exact, sure = polished(of(film), queries, rough, doubt)
    off = (exact - xy).norm(dim=-1)
    assert off.max() < 0.1
    assert (rough - xy).norm(dim=-1).median() > 1
    assert (sure > 0.95).all()
    assert (doubt == 0.2).all()  # not changed in place


def test_autocast_does_not_reach_it(film, truth, rough) -> None:
    queries, xy = truth
    with torch.autocast("cpu", dtype=torch.bfloat16):
        exact, _ = polished(of(film), queries, rough, torch.zeros(xy.shape[:2]))
        first = queries[:, 0] == 0
        anchors = Anchors.at(grey(film[:1])[0], queries[first, 1:])
        for t in range(2):
            anchors, places, _ = anchors.follow(grey(film[t : t + 1])[0], rough[first, t])
    assert (exact - xy).norm(dim=-1).max() < 0.1
    assert (places - xy[first, 1]).norm(dim=-1).max() < 0.1


def test_the_place_is_that_of_opencv(film, truth, rough) -> None:
    queries, _ = truth
    exact, _ = polished(of(film), queries, rough, torch.zeros(rough.shape[:2]))
    images = grey(film).numpy()
    number, t = 4, 6  # asked for on the middle frame
    at = int(queries[number, 0])
    x, y = queries[number, 1:].tolist()
    left, top, r = int(x - 0.5), int(y - 0.5), RADIUS
    patch = images[at, top - r : top + r + 2, left - r : left + r + 2].astype(np.float32)
    dx, dy = (exact[number, t] - queries[number, 1:]).tolist()
    warp = np.float32([[1, 0, left - r + dx], [0, 1, top - r + dy]])
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-8)
    _, warp = cv2.findTransformECC(patch, images[t], warp, cv2.MOTION_AFFINE, criteria, None, 1)
    theirs = warp @ [x - 0.5 - (left - r), y - 0.5 - (top - r), 1] + 0.5
    assert_allclose(exact[number, t], theirs, atol=0.05)


@pytest.mark.parametrize("degrees", [0, 45, 90, 180])
def test_a_patch_that_has_turned_is_stretched_along_its_own_axes(film, degrees) -> None:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    true = turn @ np.array([[1.15, 0.1], [0.0, 0.87]])
    centre = np.array([W / 2, H / 2])
    image = torch.from_numpy(film[:1]).permute(0, 3, 1, 2).float()
    whole = np.block([[true, (centre - true @ centre)[:, None]], [np.zeros((1, 2)), 1]])
    warped = warp_frames(image, torch.from_numpy(whole[None]), (H, W)).round().byte().permute(0, 2, 3, 1).numpy()
    places = np.stack(np.mgrid[65:96:4j, 45:76:3j], -1).reshape(-1, 2)
    there = torch.from_numpy((places - centre) @ true.T + centre).float()
    begun, known = there[:, None] + torch.tensor([0.7, -0.7]), torch.from_numpy(turn).float().expand(12, 2, 2)
    patches = Patches.cut(grey(film[:1])[0], torch.from_numpy(places).float())
    xy, affine, score = patches.align(grey(warped)[0], begun, known, (6.0,))
    assert score.min() > 0.98
    assert_allclose(xy, there, atol=0.1)
    assert_allclose(affine, np.broadcast_to(true, (12, 2, 2)), atol=0.06)


def test_what_is_not_there_is_left_to_the_network(film, truth, rough) -> None:
    queries, _ = truth
    covered = film.copy()
    covered[3:5] = np.random.default_rng(0).integers(0, 256, covered[3:5].shape)
    first = queries[:, 0] == 0
    confidence = torch.full(rough.shape[:2], 0.3)
    exact, sure = polished(of(covered), queries[first], rough[first], confidence[first])
    assert torch.equal(exact[:, 3:5], rough[first, 3:5])
    assert (sure[:, 3:5] == 0.3).all()
    assert (sure[:, 5:] > 0.95).all()  # found again behind it


def test_plain_surfaces_and_points_between_frames_are_left_alone(film, truth, rough) -> None:
    queries, _ = truth
    between = queries.clone()
    between[:, 0] = 2.5
    confidence = torch.full(rough.shape[:2], 0.3)
    for video, asked in ((film, between), (np.full_like(film, 90), queries)):
        exact, sure = polished(of(video), asked, rough, confidence)
        assert torch.equal(exact, rough)
        assert torch.equal(sure, confidence)


def test_a_large_video_is_aligned_at_a_smaller_size_and_answered_at_its_own(film, truth, rough) -> None:
    queries, xy = truth
    large = np.stack([cv2.resize(frame, (4 * W, 4 * H), interpolation=cv2.INTER_CUBIC) for frame in film])
    times = torch.tensor([1.0, 4, 4])
    exact, _ = polished(of(large), queries * times, 4 * rough, torch.zeros(xy.shape[:2]))
    assert (exact / 4 - xy).norm(dim=-1).max() < 0.15


@pytest.fixture(scope="module")
def small() -> Callable[[bool], TapirTracker]:
    """A tiny network with random weights, by whether it is causal."""

    def build(causal: bool) -> TapirTracker:
        base = CAUSAL_NANO if causal else NANO
        sizes = {"channels": (8, 8, 8, 8), "mixer_width": 16, "mixer_blocks": 1}
        return tracker(base, initial_resolution=(64, 64), refine_at_least=None, **sizes)

    return build


def test_frame_by_frame_is_the_whole_clip(film, truth, small) -> None:
    queries, _ = truth
    first = queries[queries[:, 0] == 0]
    tracker = small(True)
    whole = tracker.track(film, first.numpy())
    resolutions = {"refinement_resolutions": tracker.model.refinements((H, W))}
    stream = tracker.start(film[0], first[:2, 1:].numpy(), **resolutions)
    stream = tracker.add(stream, film[0], first[2:, 1:].numpy())
    for t, frame in enumerate(film):
        stream, seen = tracker.step(replace(stream, recent=None), frame)
        rows = range(len(first)) if t < 4 else [0, 2]
        assert_allclose(seen.xy, whole.xy[rows, t], atol=1e-3)
        assert_allclose(seen.confidence, whole.confidence[rows, t], atol=1e-4)
        if t == 3:
            stream = tracker.keep(stream, [0, 2])
    assert np.isfinite(whole.xy).all()


def test_it_is_what_is_done_on_a_cpu(film, truth, rough) -> None:
    """Queries on first, middle and last frames, between frames, after the end, on plain ground; frames that show nothing."""
    frames = film.copy()
    frames[2:4] = np.random.default_rng(0).integers(0, 256, frames[2:4].shape)
    frames[:, 45:60, 50:70] = 90
    queries = truth[0].clone()
    queries[3, 0], queries[4, 0], queries[5, 0] = 1.5, FRAMES + 2, 3
    confidence = torch.rand(rough.shape[:2], generator=torch.Generator().manual_seed(2))
    before = rough.clone(), confidence.clone()
    expected, sure = polished(of(frames), queries, rough, confidence)
    found, also_sure = polish_clip(torch.from_numpy(frames), queries, rough, confidence)
    assert 0.2 < (expected != rough).any(-1).float().mean() < 0.8
    assert (expected[3:5] == rough[3:5]).all()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(also_sure, sure, rtol=0, atol=1e-4)
    assert torch.equal((found != rough).any(-1), (expected != rough).any(-1))
    assert (also_sure[(found != rough).any(-1)] > confidence.min()).all()
    assert torch.equal(rough, before[0])  # not changed in place
    assert torch.equal(confidence, before[1])
