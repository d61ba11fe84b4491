"""Drawing of tracks, looked at pixel by pixel.

Colours that are told apart, by eyes without one kind of cone too, and gifs that keep them.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.video import colour_wheel, draw_tracks, open_video, point_colours, position_colours, write_video
from tapetum.video.draw import APART, _unbroken, draw_paths
from tapetum.video.write import Palettes, split

RED = np.array([[255, 0, 0]], np.uint8)


def _still(xy: tuple[float, float], t: int = 1) -> np.ndarray:
    return np.tile(np.array(xy, np.float32), (1, t, 1))


def _gray(t: int = 1, height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((t, height, width, 3), 100, np.uint8)


def _touched(frame: np.ndarray) -> np.ndarray:
    return (frame != 100).any(-1)


def test_a_visible_point_is_a_filled_dot_at_its_place():
    (frame,) = draw_tracks(_gray(), _still((40.5, 30.5)), np.ones((1, 1), bool), radius=4, colours=RED)
    assert (frame[30, 40] == (255, 0, 0)).all()
    y, x = np.nonzero(_touched(frame))
    assert (x.mean(), y.mean()) == (40, 30)  # raster 40.5 is the centre of column 40
    red = (frame == (255, 0, 0)).all(-1).sum()
    assert np.pi * 3.3**2 < red < np.pi * 4.3**2


def test_a_hidden_point_is_a_hollow_ring():
    (frame,) = draw_tracks(_gray(), _still((40.5, 30.5)), np.zeros((1, 1), bool), radius=6, colours=RED)
    assert (frame[30, 40] == 100).all()
    assert frame[30, 46, 0] > 200
    assert frame[30, 46, 1] < 60
    assert frame[24, 40, 0] > 200


def test_half_a_pixel_is_seen():
    shifted = [next(draw_tracks(_gray(), _still((x, 30.5)), np.ones((1, 1), bool), radius=4)) for x in (40.5, 40.8)]
    weights = [np.abs(frame.astype(float) - 100).sum(-1) for frame in shifted]
    centres = [(weight.sum(0) @ np.arange(80)) / weight.sum() for weight in weights]
    assert centres[1] - centres[0] == pytest.approx(0.3, abs=0.05)


def test_a_trail_follows_and_fades():
    t = 20
    xy = np.stack([np.linspace(10, 70, t), np.full(t, 30.5)], -1)[None].astype(np.float32)
    frames = list(draw_tracks(_gray(t), xy, np.ones((1, t), bool), trail=8, radius=3, colours=RED))
    row = frames[-1][30, :, 0].astype(int) - 100
    recent, older, gone = int(xy[0, -3, 0]), int(xy[0, -6, 0]), int(xy[0, -13, 0])
    assert row[recent] > row[older] + 20 > 20
    assert row[gone] == 0
    bare = list(draw_tracks(_gray(t), xy, np.ones((1, t), bool), trail=0, radius=3, colours=RED))
    assert bare[-1][30, older, 0] == 100


def test_frames_given_are_not_changed():
    frames = _gray(3)
    xy = np.random.default_rng(0).uniform(0, 60, (9, 3, 2))
    out = list(draw_tracks(frames, xy, np.ones((9, 3), bool)))
    assert (frames == 100).all()
    assert all(frame.dtype == np.uint8 and frame.shape == (60, 80, 3) for frame in out)
    assert not any(np.shares_memory(frame, frames) for frame in out)


@pytest.mark.parametrize("place", [(-500, 30), (1e9, 1e9), (np.nan, 3), (np.inf, -np.inf), (3, -1e30)])
@pytest.mark.filterwarnings("error")
def test_points_outside_or_nowhere_are_not_drawn(place):
    xy = np.concatenate([_still(place, 4), _still((20, 20), 4)])
    drawn = list(draw_tracks(_gray(4), xy, np.ones((2, 4), bool), radius=3))
    assert len(drawn) == 4
    for frame in drawn:
        y, x = np.nonzero(_touched(frame))
        assert len(x)
        assert np.hypot(x - 20, y - 20).max() < 8


def test_points_on_the_border_are_cut():
    for place in ((0, 0), (80, 60), (-1, 30), (40, 61)):
        (frame,) = draw_tracks(_gray(), _still(place), np.ones((1, 1), bool), radius=4)
        assert 3 < _touched(frame).sum() < 45


def test_a_jump_across_the_frame_draws_no_line():
    xy = np.array([[[5, 5], [5000, 5000], [75, 55]]], np.float32)
    frames = list(draw_tracks(_gray(3), xy, np.ones((1, 3), bool), radius=3))
    assert not _touched(frames[2])[25:35, 30:50].any()


def test_no_points_and_tiny_frames():
    assert np.array_equal(next(draw_tracks(_gray(), np.zeros((0, 1, 2)), np.zeros((0, 1), bool))), _gray()[0])
    tiny = list(draw_tracks(np.zeros((2, 1, 1, 3), np.uint8), _still((0.5, 0.5), 2), np.ones((1, 2), bool)))
    assert tiny[1].max() > 100


def test_colours_stay_and_neighbours_are_alike():
    xy = np.stack(np.meshgrid(np.linspace(0, 100, 21), np.linspace(0, 50, 11)), -1)
    colours = position_colours(xy.reshape(-1, 2), 100, 50).reshape(11, 21, 3).astype(int)
    assert np.abs(np.diff(colours, axis=0)).max() < 85
    assert np.abs(np.diff(colours, axis=1)).max() < 85
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 200
    wheel = colour_wheel(12).astype(int)
    apart = np.abs(wheel[:, None] - wheel[None]).sum(-1) + 1000 * np.eye(12, dtype=int)
    assert apart.min() > 30


def test_what_does_not_fit_is_refused():
    xy, seen = np.zeros((2, 3, 2)), np.ones((2, 3), bool)
    for bad in (
        lambda: draw_tracks(_gray(3), xy[..., 0], seen),
        lambda: draw_tracks(_gray(3), xy, seen[:, :2]),
        lambda: draw_tracks(_gray(3), xy, seen, colours=np.zeros((3, 3), np.uint8)),
        lambda: draw_tracks(_gray(3), xy, seen, trail=-1),
        lambda: list(draw_tracks(_gray(2), xy, seen)),
        lambda: list(draw_tracks(_gray(4), xy, seen)),
    ):
        with pytest.raises(BadInput):
            bad()


def test_whole_paths_are_lines_that_gaps_and_jumps_interrupt() -> None:
    frame = np.full((40, 60, 3), 100, np.uint8)
    along = np.arange(5.0, 56)
    path = np.stack([along, np.full(51, 20.0)], 1)
    path[20:25] = np.nan
    jump = np.array([[1.0, 2.0], [1.0, 8.0], [59.0, 10_000.0], [np.inf, 3.0]])
    colours = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    drawn = draw_paths(frame, np.stack([path, np.pad(jump, ((0, 47), (0, 0)), mode="edge")]), colours, width=3)
    assert (frame == 100).all()
    red = (drawn == [255, 0, 0]).all(-1)
    assert red[19:21, 6:24].all()
    assert red[19:21, 31:55].all()
    assert (drawn[:, 26:28] == 100).all()  # between the round ends, at 24 + 1.5 and 30 - 1.5
    assert (drawn[:15, 10:] == 100).all()  # nothing leads to the place far away
    assert ((drawn == [0, 255, 0]).all(-1)[3:7, 0:2]).all()
    assert (draw_paths(frame, path[None, :1], colours[:1]) == 100).all()


def test_a_path_that_trembles_has_few_corners() -> None:
    rng = np.random.default_rng(0)
    path = np.stack([np.linspace(10, 50, 5000), np.full(5000, 20.0)], 1) + rng.uniform(-1e-3, 1e-3, (5000, 2))
    (line,) = _unbroken(path, 100.0)
    assert len(line) < 40
    np.testing.assert_array_equal(line[[0, -1]], path[[0, -1]])


def test_lines_of_paths_have_smooth_edges() -> None:
    """Each pixel is mixed by how much of it a slanted line covers: along it the sum across is even, without steps."""
    frame = np.zeros((60, 200, 3), np.uint8)
    path = np.array([[[10.0, 12.3], [190.0, 44.9]]])
    drawn = draw_paths(frame, path, np.array([[255, 255, 255]], np.uint8), width=3)[..., 0].astype(float)
    columns = drawn[:, 30:170]
    thick = columns.sum(0) / 255
    slope = (44.9 - 12.3) / 180
    assert np.abs(thick - 3 * np.hypot(1, slope)).max() < 0.15
    centres = (np.arange(60) + 0.5) @ columns / columns.sum(0)
    wanted = 12.3 + slope * (np.arange(30, 170) + 0.5 - 10)
    assert np.abs(centres - wanted).max() < 0.05
    assert len(np.unique(columns)) > 20


def test_rings_and_labels() -> None:
    xy = np.concatenate([_still((20, 30)), _still((60, 30))])
    seen = np.array([[True], [False]])
    plain, bare, named = (
        next(draw_tracks(_gray(), xy, seen, radius=3, **style))
        for style in ({}, {"rings": False}, {"labels": ["0", "17"]})
    )  # fmt: skip
    assert _touched(plain)[:, 50:70].any()
    assert not _touched(bare)[:, 45:].any()
    np.testing.assert_array_equal(bare[:, :40], plain[:, :40])
    new = (named != plain).any(-1)
    assert np.nonzero(new)[0].max() <= 30, "texts are above their points"
    wide = [np.ptp(np.flatnonzero(part.any(0))) for part in (new[:, :40], new[:, 60:])]
    assert wide[1] > 1.5 * wide[0] > 0, "two digits are wider than one"
    (cut,) = draw_tracks(_gray(), _still((79, 1)), np.ones((1, 1), bool), radius=3, labels=["1234"])
    assert (cut != next(draw_tracks(_gray(), _still((79, 1)), np.ones((1, 1), bool), radius=3))).any(), "kept inside"
    with pytest.raises(BadInput, match="3 labels"):
        draw_tracks(_gray(), xy, seen, labels=["a", "b", "c"])


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
