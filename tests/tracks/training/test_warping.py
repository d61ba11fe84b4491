"""Moved images and the tracks that go with them, held against scipy and against painted dots."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import affine_transform

from tapetum.tracks.training.clips import JoinedClips, TrackedClip
from tapetum.tracks.training.data import FEW_CLIPS, Alterations, augment
from tapetum.tracks.training.image_clips import ImageClips, image_clip
from tapetum.tracks.training.warping import jpeg, moving_window, random_motion, warp_frames, warp_points


def dotted(xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (h, w) with a soft dot around each raster place."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) for px, py in xy)


@pytest.mark.parametrize("seed", range(4))
def test_frames_are_warped_as_scipy_warps_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    video = rng.random((3, 1, 20, 30)).astype(np.float32)
    maps = random_motion(rng, 3, 24)
    ours = warp_frames(torch.from_numpy(video), torch.from_numpy(maps), (16, 25)).numpy()
    for t in range(3):
        back = np.linalg.inv(maps[t])  # raster (x, y) of the new frame to the old one; scipy counts (row, column) from centres
        swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        index = np.linalg.inv(half) @ swap @ back @ swap @ half
        theirs = affine_transform(video[t, 0], index, output_shape=(16, 25), order=1, mode="grid-constant")
        np.testing.assert_allclose(ours[t, 0], theirs, atol=2e-5)


def test_points_go_with_the_image() -> None:
    rng = np.random.default_rng(0)
    maps = random_motion(rng, 6, 64, rotation=30, zoom=0.1, drift=0.05)
    place = np.array([[[34.0, 30.0]]])
    moved = warp_points(maps, np.repeat(place, 6, 1))
    video = warp_frames(
        torch.from_numpy(dotted(place[0], (64, 64)))[None, None].expand(6, -1, -1, -1), torch.from_numpy(maps), (64, 64)
    )
    y, x = np.mgrid[:64, :64] + 0.5
    for t in range(6):
        weight = video[t, 0].numpy() / video[t, 0].sum().item()
        np.testing.assert_allclose([(weight * x).sum(), (weight * y).sum()], moved[0, t], atol=0.02)


def test_a_window_is_as_often_wide_as_high() -> None:
    rng = np.random.default_rng(0)
    aspect = np.log2(
        [m[0, 0, 0] / m[0, 1, 1] for m in (moving_window(rng, 1, 64, (0.1, 0.2), (0.25, 4.0)) for _ in range(600))]
    )
    for below, share in ((-1, 0.25), (0, 0.5), (1, 0.75)):
        assert abs((aspect < below).mean() - share) < 0.06


def test_a_shrinking_window_stays_inside_and_goes_evenly() -> None:
    for seed in range(50):
        maps = moving_window(np.random.default_rng(seed), 9, 100, (0.6, 1.0), (0.75, 1.33))
        corners = warp_points(maps, np.repeat([[[0.0, 0.0]], [[100.0, 100.0]]], 9, 1))
        assert (corners > -1e-3).all()
        assert (corners < 100 + 1e-3).all()
        sides = corners[1] - corners[0]
        for width, height in sides[[0, -1]]:
            assert 0.55 <= width * height / 100**2 <= 1.0  # an aspect that does not fit costs some of the area
            assert 0.75 - 1e-6 <= width / height <= 1.34
        np.testing.assert_allclose(np.diff(corners, 2, axis=1), 0, atol=1e-3)
    assert not np.allclose(sides[0], sides[-1])


def test_jpeg_keeps_the_image_and_spoils_it_more_the_lower_its_quality() -> None:
    video = np.random.default_rng(0).integers(100, 156, (2, 32, 32, 3), dtype=np.uint8)
    off = [np.abs(jpeg(video, quality).astype(int) - video).mean() for quality in (5, 40, 95)]
    assert off[0] > off[1] > off[2] > 0


def test_augmented_tracks_stay_on_their_points() -> None:
    """Every place of the clip has its own colour, so the truth can be read from the images."""
    y, x = np.mgrid[:64, :64]
    image = np.stack([x * 4, y * 4, np.full_like(x, 128)], -1).astype(np.uint8)
    places = np.random.default_rng(0).uniform(4, 60, (200, 1, 2)).astype(np.float32)
    clip = TrackedClip(np.repeat(image[None], 5, 0), np.repeat(places, 5, 1), np.ones((200, 5), bool))
    plain = Alterations(crop=1.0, mirror=0.5, reverse=0.5, motion=1.0)
    for seed in range(5):
        sample = augment(clip, np.random.default_rng(seed), 64, 64, alterations=plain)
        seen = ~sample.occluded
        assert 0.1 < seen.float().mean() <= 1
        spread = []
        for n in range(64):
            colours = []
            for t in torch.nonzero(seen[n])[:, 0].tolist():
                px, py = (sample.xy[n, t] - 0.5).round().long().clamp(0, 63).tolist()
                colours.append(sample.video[t, py, px])
            spread.append((torch.stack(colours).amax(0) - torch.stack(colours).amin(0)).max())
        assert torch.stack(spread).median() < 0.15  # of 2; a pixel is 0.03, enlarged ones less


def test_without_motion_a_showing_is_as_before() -> None:
    assert FEW_CLIPS.motion == 0


def test_warped_clips_have_true_tracks_and_visibility() -> None:
    """Cut-outs are reddish, the background is not, and colours say the place: read both from the frames."""
    y, x = np.mgrid[:128, :128]
    ramp = np.stack([np.zeros_like(x), 40 + x * 1.5, 40 + y * 1.5], -1).astype(np.uint8)
    red = ramp.copy()
    red[..., 0] = 250
    for seed in range(4):
        clip = image_clip(np.random.default_rng(seed), [ramp, red, red], size=96, frames=8, points=80)
        assert clip.xy.shape == (80, 8, 2)
        assert clip.visible.any(1).all()
        inside = (clip.xy >= 0).all(-1) & (clip.xy < 96).all(-1)
        assert not (clip.visible & ~inside).any()
        at = np.clip(clip.xy, 0, 95).astype(int)
        colours = clip.video[np.arange(8), at[..., 1], at[..., 0]].astype(float)
        first = clip.visible.argmax(1)
        own = colours[np.arange(80), first]
        apart = np.abs(colours - own[:, None]).max(-1)
        assert np.mean(apart[clip.visible] < 40) > 0.9  # noise, JPEG and edges take the rest
        of_background = own[:, 0] < 100
        assert 10 < of_background.sum() < 70
        covered = ~clip.visible & inside & of_background[:, None]
        assert covered.any()
        assert np.mean(colours[covered][:, 0] > 100) > 0.7
        again = image_clip(np.random.default_rng(seed), [ramp, red, red], size=96, frames=8, points=80)
        np.testing.assert_array_equal(clip.video, again.video)
        np.testing.assert_array_equal(clip.xy, again.xy)


@pytest.mark.slow
def test_warped_clips_by_number_join_those_of_scenes(tmp_path: Path) -> None:
    for n in range(10):
        Image.fromarray(np.full((64, 64, 3), 25 * n, np.uint8)).save(tmp_path / f"{n}.png")
    warped = ImageClips(3, seed=5, source=tmp_path, part="train", frames=4)
    assert warped[1].video.shape == (4, 256, 256, 3)
    np.testing.assert_array_equal(
        warped[1].video[:], ImageClips(9, seed=5, source=tmp_path, part="train", frames=4)[1].video[:]
    )
    assert not np.array_equal(warped[1].xy, warped[2].xy)
    joined = JoinedClips(warped, ImageClips(2, seed=6, source=tmp_path, frames=4))
    assert len(joined) == 5
    np.testing.assert_array_equal(joined[2].xy, warped[2].xy)
    np.testing.assert_array_equal(joined[3].xy, joined.parts[1][0].xy)
    with pytest.raises(IndexError):
        joined[5]
