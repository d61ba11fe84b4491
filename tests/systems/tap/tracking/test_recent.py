"""Patches of recent frames: where they lead, when they are cut again, and when their place is taken."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter
from torch import Tensor

import tapetum
from tapetum.systems.tap.tracking.recent import AGE, RecentPatches, prefer_recent
from tapetum.tracks.patches import grey, map_tensors, patch_covariance

STEP = np.array([7.0, -5.0])
"""Pixels of a frame, more than the fine image alone is searched in."""
POINTS = torch.tensor([[100.0, 130.0], [160.0, 110.0]])


def frames(count: int) -> np.ndarray:
    """Make a texture that moves by `STEP` in each frame."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(456, 456)), 2.0)
    texture = np.uint8(255 * np.clip(noise / noise.std() / 6 + 0.5, 0, 1))
    parts = [texture[100 + 5 * t : 356 + 5 * t, 100 - 7 * t : 356 - 7 * t] for t in range(count)]
    return np.stack(parts)[..., None].repeat(3, -1)


CLIP = frames(10)
IMAGES = grey(CLIP)
SPREAD = torch.tensor([[[4.0, 0], [0, 1]], [[9, 0], [0, 2]]])


def cut(image: Tensor = IMAGES[0], confidence: tuple[float, float] = (0.9, 0.8)) -> RecentPatches:
    return RecentPatches.cut(image, POINTS, torch.tensor(confidence), SPREAD, torch.zeros(2, 2))


def places(t: int) -> np.ndarray:
    return POINTS.numpy() + t * STEP


def test_patches_are_where_the_image_moved() -> None:
    recent = cut()
    for t in range(1, 8):
        recent = recent.follow(IMAGES[t], IMAGES[t - 1])
        assert_allclose(recent.xy, places(t), atol=0.1)
        assert recent.matched.all()
        assert recent.age.tolist() == [t, t]
    assert_allclose(recent.motion, STEP[None].repeat(2, 0), atol=0.1)


def test_what_is_covered_is_not_found_and_waits_where_it_would_be_next() -> None:
    recent = cut().follow(IMAGES[1], IMAGES[0])
    covered = CLIP[2].copy()
    x, y = places(2)[0].astype(int)
    covered[y - 25 : y + 25, x - 25 : x + 25] = np.random.default_rng(2).integers(0, 256, (50, 50, 3))
    there = grey(covered[None])[0]
    recent = recent.follow(there, IMAGES[1])
    assert recent.matched.tolist() == [False, True]
    assert_allclose(recent.xy, places(2), atol=0.1)
    recent = recent.follow(IMAGES[2], there)
    assert recent.matched.all()
    assert_allclose(recent.xy, places(2), atol=0.1)


def test_a_place_that_leads_elsewhere_in_the_frame_before_is_not_found() -> None:
    recent = cut().follow(IMAGES[1], IMAGES[0])
    noisy = (IMAGES[2] + 25 * torch.randn(IMAGES[2].shape, generator=torch.Generator().manual_seed(2))).clamp(0, 255)
    usual = recent.follow(noisy, IMAGES[1])
    assert usual.matched.all()
    assert (usual.score < 0.95).all()  # else it is not checked
    assert not recent.follow(noisy, IMAGES[1].roll(3, 1)).matched.any()
    assert recent.follow(IMAGES[2], IMAGES[1].roll(3, 1)).matched.all()


def test_what_the_network_did_not_see_is_never_found() -> None:
    assert cut(confidence=(0.9, 0.3)).follow(IMAGES[1], IMAGES[0]).matched.tolist() == [True, False]


def test_patches_of_visible_points_are_cut_again_when_old_or_not_found() -> None:
    recent = replace(cut(), age=torch.tensor([AGE - 1, AGE]))
    now = (IMAGES[3], POINTS + 3, torch.tensor([0.9, 0.9]), SPREAD)
    assert recent.renewed(*now).age.tolist() == [AGE - 1, 0]
    assert_allclose(recent.renewed(*now).xy, POINTS + torch.tensor([[0.0], [3.0]]))
    lost = replace(recent, matched=torch.tensor([False, True]), motion=POINTS)
    assert lost.renewed(*now).age.tolist() == [0, 0]
    assert_allclose(lost.renewed(*now).motion, POINTS * torch.tensor([[0.0], [1.0]]))
    hidden = lost.renewed(IMAGES[3], POINTS + 3, torch.tensor([0.5, 0.5]), SPREAD)
    assert hidden.age.tolist() == [AGE - 1, AGE]


@pytest.mark.parametrize(
    ("apart", "sure", "score", "aligned", "matched", "place", "confidence"),
    [
        (1.9, 0.6, 0.8, False, True, "network", 0.8),  # both agree
        (1.9, 0.85, 0.8, False, True, "network", 0.85),
        (2.1, 0.6, 0.8, False, True, "network", 0.6),
        (30.0, 0.5, 0.8, False, True, "patch", 0.8),  # the network does not see it
        (30.0, 0.5, 0.97, False, True, "patch", 0.9),  # no surer than when it was cut
        (30.0, 0.5, 0.8, True, True, "network", 0.5),
        (30.0, 0.5, 0.8, False, False, "network", 0.5),
        (7.9, 0.6, 0.91, False, True, "patch", 0.9),  # near by, and fits well
        (8.1, 0.6, 0.91, False, True, "network", 0.6),
        (7.9, 0.6, 0.89, False, True, "network", 0.6),
    ],
)
def test_whose_place_is_taken(apart, sure, score, aligned, matched, place, confidence) -> None:
    recent = replace(cut(confidence=(0.9, 0.9)), score=torch.tensor([score, 0.0]), matched=torch.tensor([matched, False]))
    network = (2 * POINTS + torch.tensor([2 * apart, 0.0]), torch.tensor([sure, sure]), 3 * SPREAD)
    sides = torch.tensor([aligned, False])
    xy, known, spread = prefer_recent(*network, sides, recent, (512, 512))  # patches are of half the size
    assert known.tolist() == pytest.approx([confidence, sure])
    own = SPREAD + patch_covariance(recent.fine, recent.affine, recent.score, (512, 512))
    assert_allclose(xy[0], (2 * POINTS if place == "patch" else network[0])[0])
    assert_allclose(spread[0], (own if place == "patch" else network[2])[0], rtol=1e-6)
    assert_allclose(xy[1], network[0][1])


def test_the_live_tracker_keeps_a_point_that_its_network_does_not_see() -> None:
    tracker, points = tapetum.load("causal-tapir-nano"), POINTS.numpy()
    stream, _ = tracker.step(tracker.start(CLIP[0], points[:1]), CLIP[0])
    stream = tracker.add(stream, CLIP[1], points[1:] + STEP)
    for t in (1, 2, 3):
        stream, seen = tracker.step(stream, CLIP[t])
        assert_allclose(seen.xy, places(t), atol=0.3)
        assert seen.visible.all()
    assert stream.anchors is not None
    plain = replace(stream.anchors, patches=replace(stream.anchors.patches, plain=torch.ones(2, dtype=torch.bool)))
    blind = replace(stream, anchors=plain, points=map_tensors(torch.zeros_like, stream.points))
    _, seen = tracker.step(blind, CLIP[4])
    assert_allclose(seen.xy, places(4), atol=0.3)
    assert seen.visible.all()
    _, without = tracker.step(replace(blind, recent=None), CLIP[4])
    assert not without.visible.all()
    black, seen = tracker.step(stream, np.zeros_like(CLIP[4]))
    assert (seen.confidence == 0).all()
    one = tracker.keep(black, [1])
    _, seen = tracker.step(one, CLIP[4])
    assert_allclose(seen.xy, places(4)[1:], atol=0.3)
