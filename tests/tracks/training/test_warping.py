"""Moved images and the tracks that go with them, held against scipy and against painted dots."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import affine_transform

from tapetum.tracks.training.clips import JoinedClips, TrackedClip
from tapetum.tracks.training.data import Alterations, augment
from tapetum.tracks.training.image_clips import ImageClips, image_clip
from tapetum.tracks.training.warping import moving_window, random_motion, roll, shaken_corners, warp_frames, warp_points


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


class Fixed(np.random.Generator):
    """Draws the same share of each interval."""

    def __init__(self, share: float):
        super().__init__(np.random.PCG64(0))
        self.share = share

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:  # pyright: ignore
        return np.full(size, low + self.share * (high - low))


def sway(time: float, count: int, low: float, high: float, share: float = 0.5) -> float:
    """The law of TAPNext++'s public code (arXiv 2604.10582) where all draws are the same share of their intervals."""
    phase = 2 * np.pi * share
    parts = [(low, 1 + 3 * share), (high, 8 + 8 * share)]
    return sum(count * share * most * (np.sin(time * f * np.pi + phase) - np.sin(phase)) for most, f in parts)


def centre_of(image: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


def test_a_roll_shifts_in_a_circle_and_rotates_as_opencv_does() -> None:
    cv2, frames, side, margin = pytest.importorskip("cv2"), 12, 64, 14
    places = np.array([[40.0, 30.0], [62.0, 61.0]])
    images = np.stack([dotted(places[k : k + 1], (side, side)) for k in (0, 1)]).astype(np.float32)
    video = torch.from_numpy(images).expand(frames, 2, side, side)
    shown, xy = roll(Fixed(0.5), video, np.repeat(places[:, None], frames, 1))
    came_back = 0
    for t in range(frames):
        right, down = (round(sway(t / frames, 5, low / 4, high / 4)) for low, high in ((30, 10), (20, 7)))
        turn = cv2.getRotationMatrix2D((46, 46), sway(t / frames, 5, 10, 5), 1.0)  # in pixels from the centre of the first
        for k, place in enumerate(places):
            wide = np.roll(np.pad(images[k], margin), (down, right), (0, 1))
            expected = cv2.warpAffine(wide, turn, (92, 92))[margin : margin + side, margin : margin + side]
            np.testing.assert_allclose(shown[t, k].numpy(), expected, atol=0.02)
            moved = (place + margin + [right, down]) % 92
            came_back += (moved != place + margin + [right, down]).any()
            np.testing.assert_allclose(xy[k, t], turn @ [*(moved - 0.5), 1] + 0.5 - margin, atol=1e-4)
    assert came_back


def test_corners_sway_inwards_and_points_go_with_the_image() -> None:
    cv2, frames, side = pytest.importorskip("cv2"), 40, 64
    maps = shaken_corners(Fixed(0.5), frames, side)
    image = dotted(np.array([[30.0, 36.0]]), (side, side)).astype(np.float32)
    shown = warp_frames(torch.from_numpy(image).expand(frames, 1, side, side), torch.from_numpy(maps), (side, side))
    xy = warp_points(maps, np.full((1, frames, 2), [30.0, 36.0]))
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    for t in range(frames):
        way = abs(sway(t / frames, 3, 0.05, 0.02)) * side
        ends = np.array([[way, way], [63 - way, way], [63 - way, 63 - way], [way, 63 - way]])
        start = np.array([[0, 0], [63, 0], [63, 63], [0, 63]])
        moved = warp_points(maps[t : t + 1], (start + 0.5)[:, None])[:, 0]
        np.testing.assert_allclose(moved, ends + 0.5, atol=1e-4)
        expected = cv2.warpPerspective(image, np.linalg.inv(half) @ maps[t] @ half, (side, side))
        np.testing.assert_allclose(shown[t, 0].numpy(), expected, atol=0.02)
        np.testing.assert_allclose(centre_of(shown[t, 0].numpy()), xy[0, t], atol=0.15)


def test_corners_turn_back_at_three_tenths_and_each_goes_its_own_way() -> None:
    corner = warp_points(shaken_corners(Fixed(0.8), 50, 100), np.full((1, 50, 2), 0.5))[0]
    far = np.array([abs(sway(t / 50, 3, 0.05, 0.02, 0.8)) * 100 for t in range(50)])
    assert far.max() > 31
    np.testing.assert_allclose(corner[:, 0], np.where(far > 30, 60 - far, far) + 0.5, atol=1e-4)
    maps = shaken_corners(np.random.default_rng(0), 500, 100)
    ends = np.array([[0.5, 0.5], [99.5, 0.5], [99.5, 99.5], [0.5, 99.5]])
    moved = np.stack([warp_points(maps, np.repeat(end[None, None], 500, 1))[0] for end in ends])
    assert ((moved >= 0.49) & (moved <= 99.51)).all()
    assert len({round(float(value), 3) for value in np.abs(moved - ends[:, None])[:, 250].ravel()}) == 8


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
