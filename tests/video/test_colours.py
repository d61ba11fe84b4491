"""Colours that are told apart, by eyes without one kind of cone too, and gifs that keep them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.video import draw_tracks, open_video, point_colours, write_video
from tapetum.video.colours import APART
from tapetum.video.write import Palettes, split

LMS = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
WITHOUT = {
    "all cones": np.eye(3),
    "without long": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
    "without middle": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
}
"""Viénot, Brettel and Mollon (1999), another model than the one with which the colours were sought."""


def seen_by(eye: str, colours: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of sRGB colours as an eye sees them."""
    c = colours / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ (np.linalg.inv(LMS) @ WITHOUT[eye] @ LMS).T, 0, 1)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(xyz / [0.9505, 1, 1.089])
    f = np.where(xyz / [0.9505, 1, 1.089] > 0.008856, f, 7.787 * xyz / [0.9505, 1, 1.089] + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("eye", WITHOUT)
@pytest.mark.parametrize(("count", "least"), [(2, 40), (4, 25), (10, 9)])
def test_few_points_have_colours_far_apart(eye: str, count: int, least: float) -> None:
    """In L*a*b* about 2.3 can just be told apart."""
    places = np.random.default_rng(0).uniform(0, 60, (count, 2))
    colours = point_colours(places, 64, 64)
    assert np.array_equal(colours, APART[:count])
    lab = seen_by(eye, colours)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[~np.eye(count, dtype=bool)]
    assert apart.min() > least


def test_many_points_have_colours_by_position() -> None:
    colours = point_colours(np.stack([np.linspace(0, 64, 40), np.zeros(40)], 1), 64, 64).astype(int)
    assert max(np.abs(b - a).max() for a, b in pairwise(colours)) < 60


def test_a_gif_keeps_the_colours_of_dots(tmp_path: Path) -> None:
    ramp = np.linspace(30, 200, 320).astype(np.uint8)
    across, down = np.broadcast_to(ramp, (200, 320)), np.broadcast_to(ramp[:200, None], (200, 320))
    sky = np.stack([across // 2, down, across], -1)
    xy = np.stack([np.linspace(20, 300, 10), np.linspace(20, 180, 10)], 1)[:, None].repeat(3, 1)
    drawn = list(draw_tracks(np.stack([sky] * 3), xy, np.ones((10, 3), bool), radius=4))
    for dither in (True, False):
        gif = open_video(write_video(tmp_path / "a.gif", drawn, 10, dither=dither))
        for point, (x, y) in enumerate(xy[:, 1].astype(int)):
            assert np.abs(gif[1][y - 1 : y + 2, x - 1 : x + 2].astype(int) - APART[point]).max() <= 25, (point, dither)
    old = np.array(Image.fromarray(drawn[1]).quantize(256, Image.Quantize.MEDIANCUT).convert("RGB")).astype(int)
    worst = max(np.abs(old[y, x] - APART[point]).max() for point, (x, y) in enumerate(xy[:, 1].astype(int)))
    assert worst > 40, "median cut by numbers of pixels would have done"


def test_a_gif_is_dithered_by_a_pattern_that_stays() -> None:
    ramp = np.broadcast_to(np.linspace(60, 90, 400).astype(np.uint8)[None, :, None], (64, 400, 3)).copy()
    ramp[..., 1] += np.arange(64, dtype=np.uint8)[:, None]
    noise = np.random.default_rng(0).integers(0, 256, (64, 400, 3), dtype=np.uint8)
    frame = np.concatenate([ramp, noise])
    palettes = Palettes()
    first, second = (palettes.indexed(frame) for _ in range(2))
    shown = first[1][first[0]].astype(float)
    assert first[1].shape[0] <= 256
    blocks = np.abs(shown - frame)[:64].reshape(8, 8, 50, 8, 3).mean()
    means = np.abs((shown - frame)[:64].reshape(8, 8, 50, 8, 3).mean((1, 3))).mean()
    assert means < 0.5 * blocks, "errors within a block should cancel"
    assert (first[1][first[0]] != second[1][second[0]]).mean() < 0.05


def test_a_palette_of_few_colours_is_exact() -> None:
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 200, 30]], np.float32)
    assert sorted(split(colours, np.ones(3)).tolist()) == sorted(colours.tolist())
    frame = colours.astype(np.uint8)[np.random.default_rng(0).integers(0, 3, (20, 30))]
    numbers, palette = Palettes(dither=False).indexed(frame)
    assert np.array_equal(palette[numbers], frame)
