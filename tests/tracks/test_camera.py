"""The camera's motion from tracks of a made-up world, beside OpenCV's homographies; the rainbow view."""

import cv2
import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.tracks.camera import camera_motion, draw_rainbow, fit_homography, robust_homography, through
from tapetum.types import Tracks


def turning(frames: int) -> np.ndarray:
    """Homographies from a plane to the frames of a camera that turns, rolls and zooms."""
    maps = []
    for t in range(frames):
        a, zoom = 0.01 * t, 1 + 0.01 * t
        maps.append(
            [
                [zoom * np.cos(a), -zoom * np.sin(a), 5 * t],
                [zoom * np.sin(a), zoom * np.cos(a), -3 * t],
                [2e-5 * t, -1e-5 * t, 1],
            ]
        )
    return np.array(maps)


def world(frames: int = 12, still: int = 60, moving: int = 20, noise: float = 0.1) -> tuple[Tracks, np.ndarray, np.ndarray]:
    """Tracks of a flat world, the homographies, and the true stabilised places."""
    rng = np.random.default_rng(0)
    place = rng.uniform(0, 300, (still + moving, 1, 2)) * np.ones((1, frames, 1))
    place[still:] += np.arange(frames)[:, None] * np.array([4.0, 2.0])
    maps = turning(frames)
    xy = through(maps, place) + rng.normal(0, noise, place.shape)
    visible = rng.random(xy.shape[:2]) < 0.9
    queries = np.concatenate([np.zeros((len(xy), 1)), xy[:, 0]], 1)
    return Tracks(xy=xy, visible=visible, confidence=visible.astype(float), queries=queries), maps, place


def test_a_homography_is_that_of_opencv() -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 300, (30, 2))
    b = through(turning(9)[8:], a[:, None])[:, 0]
    ours = fit_homography(a, b)
    np.testing.assert_allclose(ours, turning(9)[8] / turning(9)[8][2, 2], rtol=1e-6, atol=1e-8)
    noisy = b + rng.normal(0, 0.3, b.shape)
    theirs, _ = cv2.findHomography(a, noisy, 0)  # least squares, then a few steps on the distances themselves
    np.testing.assert_allclose(through(fit_homography(a, noisy)[None], a[:, None]), through(theirs[None], a[:, None]), atol=0.2)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_outliers_do_no_harm(share: float) -> None:
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 300, (60, 2))
    truth = turning(9)[8]
    b = through(truth[None], a[:, None])[:, 0]
    wrong = np.arange(60) < 60 * share
    b[wrong] += rng.uniform(20, 60, (wrong.sum(), 2))
    found = robust_homography(a, b, 1.0, rng)
    assert found is not None
    assert (found[1] == ~wrong).all()
    np.testing.assert_allclose(through(found[0][None], a[:, None]), through(truth[None], a[:, None]), atol=1e-4)


def test_points_without_a_homography() -> None:
    line = np.stack([np.arange(20.0), np.arange(20.0)], 1)
    assert fit_homography(line[:3], line[:3]) is None
    assert fit_homography(line, line) is None
    assert robust_homography(line[:5], line[:5], 1.0, np.random.default_rng(0)) is None
    assert robust_homography(line, line, 1.0, np.random.default_rng(0)) is None
    eight = np.random.default_rng(1).uniform(0, 100, (8, 2))
    found = robust_homography(eight, eight + 3, 1.0, np.random.default_rng(0))
    assert found is not None
    assert found[1].all()
    np.testing.assert_allclose(found[0] / found[0][2, 2], [[1, 0, 3], [0, 1, 3], [0, 0, 1]], atol=1e-6)
    assert robust_homography(eight[:7], eight[:7] + 3, 1.0, np.random.default_rng(0)) is None


def test_background_is_told_from_what_moves_and_the_camera_is_taken_out() -> None:
    tracks, maps, place = world()
    motion = camera_motion(tracks)
    assert motion.background[:60].mean() > 0.95
    assert not motion.background[60:].any()
    for frame in (0, 5, 11):
        ours = motion.stabilised(tracks.xy.astype(float), frame)
        truth = through(np.repeat(maps[frame][None], 12, 0), place)
        assert np.median(np.linalg.norm(ours - truth, axis=-1)) < 0.3
        assert np.linalg.norm(ours - truth, axis=-1).max() < 2.0
    again = camera_motion(tracks)
    np.testing.assert_array_equal(motion.to_reference, again.to_reference)


def test_few_points_mean_a_camera_that_stands_still() -> None:
    xy = np.repeat([[[3.0, 3.0]], [[9.0, 9.0]]], 5, 1)
    xy[1, :, 0] += 5 * np.arange(5)
    tracks = Tracks(xy=xy, visible=np.ones((2, 5), bool), confidence=np.ones((2, 5)), queries=np.zeros((2, 3)))
    motion = camera_motion(tracks)
    np.testing.assert_array_equal(motion.to_reference, np.tile(np.eye(3), (5, 1, 1)))
    assert motion.background.tolist() == [True, False]
    one = Tracks(xy=xy[:, :1], visible=np.ones((2, 1), bool), confidence=np.ones((2, 1)), queries=np.zeros((2, 3)))
    assert camera_motion(one).to_reference.shape == (1, 3, 3)
    hidden = Tracks(xy=xy, visible=np.zeros((2, 5), bool), confidence=np.zeros((2, 5)), queries=np.zeros((2, 3)))
    assert not camera_motion(hidden).background.any()


def test_the_rainbow_draws_paths_of_what_moves_alone() -> None:
    tracks, _, _ = world()
    frames = np.full((12, 360, 420, 3), 100, np.uint8)
    drawn = np.stack(list(draw_rainbow(frames, tracks))).astype(int)
    assert drawn.shape == frames.shape
    coloured = np.ptp(drawn, axis=-1) > 40
    growing = coloured.sum((1, 2))
    assert growing[11] > 2 * growing[0]
    motion = camera_motion(tracks)
    last = motion.stabilised(tracks.xy.astype(float), 11)
    for n in (61, 65):
        joined = tracks.visible[n, :-1] & tracks.visible[n, 1:]  # a path is interrupted where the point is hidden
        for x, y in last[n, :-1][joined]:
            if 3 < x < 417 and 3 < y < 357:
                assert coloured[11, int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].any()
    assert (frames == 100).all()
    for wrong in (frames[:5], np.concatenate([frames, frames])):
        with pytest.raises(BadInput, match="draw them on their own video"):
            list(draw_rainbow(wrong, tracks))
