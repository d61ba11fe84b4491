"""Flags of frames, on a video whose still, blurred and changed frames are known."""

import numpy as np
from scipy.ndimage import gaussian_filter

from tapetum.video.flags import flag_frames


def made() -> np.ndarray:
    """Sixteen frames: a square over a wall that moves, but in 4 to 6; blurred in 9; from 12 on another room."""
    generator = np.random.default_rng(0)
    wall = np.repeat(np.repeat(generator.integers(60, 200, (12, 16)), 4, 0), 4, 1)[..., None].repeat(3, 2)
    frames = []
    for t in range(16):
        image = np.clip(wall if t < 12 else 255 - wall // 4, 0, 255).copy()
        x = 2 * (3 if 4 <= t <= 6 else t)
        image[20:32, x : x + 12] = (250, 20, 20)
        if t == 9:
            image = gaussian_filter(image.astype(float), (3, 3, 0))
        noisy = image + generator.normal(0, 1.5, image.shape)  # as of a camera, or of compression
        frames.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return np.stack(frames)


def test_still_blurred_and_changed_frames_are_found() -> None:
    flags = flag_frames(made())
    assert flags.keys() == {"static", "blurred", "cut"}
    assert {name: np.flatnonzero(marked).tolist() for name, marked in flags.items()} == {
        "static": [4, 5, 6],
        "blurred": [9],
        "cut": [12],
    }


def test_of_a_still_video_every_frame_is_static_and_none_else() -> None:
    flags = flag_frames(np.full((4, 13, 21, 3), 90, np.uint8))
    assert flags["static"].all()
    assert not flags["blurred"].any()
    assert not flags["cut"].any()
    assert flag_frames(np.zeros((1, 2, 2, 3), np.uint8))["static"].tolist() == [False]
