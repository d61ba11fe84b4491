"""Drawing of tracks, looked at pixel by pixel.

Colours that are told apart, by eyes without one kind of cone too, and gifs that keep them.
"""

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.video import colour_wheel, draw_tracks, position_colours
from tapetum.video.draw import draw_paths

RED = np.array([[255, 0, 0]], np.uint8)


def _still(xy: tuple[float, float], t: int = 1) -> np.ndarray:
    return np.tile(np.array(xy, np.float32), (1, t, 1))


def _gray(t: int = 1, height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((t, height, width, 3), 100, np.uint8)


def _touched(frame: np.ndarray) -> np.ndarray:
    return (frame != 100).any(-1)


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
