"""Motion of the camera and of things, from tracks that are known by hand: 12 frames of 128x96 pixels, whose diagonal is 160."""

from collections.abc import Callable

import numpy as np
import pytest

from tapetum.tracks.frame_motion import (
    CAMERA,
    MOVING,
    STRIP,
    MotionPath,
    find_visits,
    fit_steps,
    measure_paths,
    middle_strip,
    passes_by,
)
from tapetum.types import Tracks

FRAMES = np.zeros((12, 96, 128, 3), np.uint8)
CENTRE = 64 + 48j
BOX = np.zeros((12, 16), bool)
BOX[4:9, 6:11] = True
"""Cells of 8 pixels: x from 48 to 88, y from 32 to 72."""
Move = Callable[[np.ndarray, int], np.ndarray]
"""Positions in frame 6, and frames since then: where they are."""


class Exact:
    """Tracks points as two motions say, that of the background and that of what lies in the box."""

    def __init__(self, ground: Move, thing: Move, seen: np.ndarray | None = None):
        self.ground, self.thing, self.seen = ground, thing, np.ones(12, bool) if seen is None else seen

    def track(self, video: np.ndarray, queries: np.ndarray, *, progress: object = None) -> Tracks:
        assert (queries[:, 0] == 6).all()
        assert len(video) == 12
        x, y = queries[:, 1], queries[:, 2]
        inside, z = (abs(x - 68) < 20) & (abs(y - 52) < 20), x + 1j * y
        at = np.stack([np.where(inside, self.thing(z, k - 6), self.ground(z, k - 6)) for k in range(12)], 1)
        visible = np.broadcast_to(self.seen, at.shape)
        return Tracks(xy=np.stack([np.real(at), np.imag(at)], -1), visible=visible, confidence=visible, queries=queries)


def still(z: np.ndarray, k: int) -> np.ndarray:
    return z


def shifts(step: complex) -> Move:
    return lambda z, k: z + step * k


def grows(factor: complex) -> Move:
    return lambda z, k: CENTRE + (z - CENTRE) * factor**k


def measured(ground: Move, thing: Move, seen: np.ndarray | None = None) -> dict[object, MotionPath]:
    return dict(measure_paths(FRAMES, Exact(ground, thing, seen), {"box": (6, BOX)}))


def test_the_camera_goes_the_other_way_than_the_image() -> None:
    paths = measured(shifts(2), shifts(2))
    assert paths[CAMERA].place == pytest.approx(-np.arange(12) * 2 / 160, abs=1e-5)
    assert paths[CAMERA].known
    assert paths[CAMERA].growth == pytest.approx(0, abs=1e-5)
    assert abs(paths["box"].place).max() < 1e-5
    assert not paths[MOVING].place.any()


def test_a_zoom_and_a_turn_are_told_from_a_shift() -> None:
    zoom = measured(grows(1.02), grows(1.02))[CAMERA]
    assert zoom.growth == pytest.approx(np.arange(12) * np.log(1.02), abs=1e-5)
    assert abs(zoom.place).max() < 1e-4
    turn = measured(grows(np.exp(0.05j)), grows(np.exp(0.05j)))
    assert turn[CAMERA].turn == pytest.approx(np.arange(12) * 0.05, abs=1e-5)
    assert turn["box"].turn == pytest.approx(0, abs=1e-4)  # which turns with the camera


def test_a_thing_moves_over_still_ground() -> None:
    paths = measured(still, shifts(3 - 1j))
    way = np.arange(12) * (3 - 1j) / 160
    assert paths["box"].place == pytest.approx(way, abs=1e-5)
    assert paths[MOVING].place == pytest.approx(way, abs=1e-5)
    assert paths[MOVING].together
    assert not abs(paths[CAMERA].place).max() > 1e-5
    assert measured(still, grows(1.05))["box"].growth[-1] == pytest.approx(11 * np.log(1.05), abs=0.01)


def test_a_thing_that_the_camera_follows_moves_against_the_ground() -> None:
    paths = measured(shifts(4), still)
    assert paths[CAMERA].place[-1] == pytest.approx(-44 / 160, abs=1e-5)
    assert paths["box"].place[-1] == pytest.approx(-44 / 160, abs=1e-5)


def test_what_is_nearer_than_the_ground_does_not_move_by_itself() -> None:
    paths = measured(shifts(8), shifts(10))  # a quarter faster: parallax
    assert not paths[MOVING].place.any()
    assert paths["box"].place[-1] == pytest.approx(22 / 160, abs=1e-5)


def test_points_that_go_all_ways_are_not_together() -> None:
    assert not measured(still, grows(1.3))[MOVING].together


def test_without_points_that_agree_nothing_is_known() -> None:
    rng = np.random.default_rng(0)
    scatter = rng.uniform(-40, 40, (24, 2, 500))

    def shuffled(z: np.ndarray, k: int) -> np.ndarray:
        return z + scatter[k, 0, : len(z)] + 1j * scatter[k, 1, : len(z)]

    assert not measured(shuffled, shuffled)[CAMERA].known
    assert not measured(still, still, np.arange(12) % 2 == 0)[CAMERA].known
    assert set(measured(still, still, np.zeros(12, bool))) == {CAMERA, MOVING}


def test_a_similarity_is_fitted_to_the_majority() -> None:
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 1, 30) + 1j * rng.uniform(0, 1, 30)
    b = 1.1 * np.exp(0.2j) * a + 0.3
    b[:10] += 0.5
    scale, offset = fit_steps(np.stack([a, b], 1), np.ones((30, 2), bool), within=0.01)
    assert scale[0] == pytest.approx(1.1 * np.exp(0.2j))
    assert offset[0] == pytest.approx(0.3)
    some = fit_steps(np.stack([a, b], 1), np.ones((30, 2), bool), within=0.01, share=0.7)
    assert np.isnan(some[0]).all()  # two thirds agree
    b[:20] += rng.uniform(1, 2, 20)
    assert np.isnan(fit_steps(np.stack([a, b], 1), np.ones((30, 2), bool), within=0.01)[0]).all()


def square(*places: int) -> np.ndarray:
    """A white square of 20 pixels at these columns, a frame each, over grey."""
    frames = np.full((len(places), 96, 128, 3), 99, np.uint8)
    for frame, x in zip(frames, places, strict=True):
        frame[30:50, max(x, 0) : max(x + 20, 0)] = 255
    return frames


def test_something_is_in_the_middle_from_its_first_cell_to_its_last() -> None:
    frames = square(*range(-20, 128, 8), *[200] * 20, 54, 54, 200)
    visits, changed = find_visits(np.stack([middle_strip(frame) for frame in frames]))
    inside = [-20 + 8 * k + 20 > 51.2 and -20 + 8 * k < 76.8 for k in range(19)]
    assert visits == [(inside.index(True), 19 - inside[::-1].index(True)), (39, 41)]
    assert np.flatnonzero(changed[39].any(1)).tolist() == [3, 4, 5, 6]  # rows 30 to 50 of cells of 8
    assert changed.shape[1:] == STRIP


class Path:
    """Tracks each point along a path of columns, and is sure of it in some frames."""

    def __init__(self, columns: list[float], seen: list[bool] | None = None):
        self.columns, self.seen = np.array(columns), np.ones(len(columns), bool) if seen is None else np.array(seen)

    def track(self, video: np.ndarray, queries: np.ndarray, *, progress: object = None) -> Tracks:
        x = queries[:, 1, None] + self.columns - self.columns[queries[:, 0].astype(int)][:, None]
        xy = np.stack([x, np.broadcast_to(queries[:, 2, None], x.shape)], -1)
        visible = np.broadcast_to(self.seen, x.shape)
        return Tracks(xy=xy, visible=visible, confidence=visible, queries=queries)


@pytest.mark.parametrize(
    ("columns", "seen", "passes"),
    [
        ([0, 30, 64, 98, 128], None, True),
        ([128, 98, 64, 30, 0], None, True),
        ([0, 30, 64, 30, 0], None, False),  # and back
        ([64, 64, 64, 64, 64], None, False),  # a light
        ([0, 30, 64, 98, 128], [1, 1, 1, 0, 0], None),  # lost in the middle
        ([64, 64, 64, 98, 128], None, None),  # there from the first
    ],
)
def test_what_comes_from_one_side_and_goes_to_the_other_passes(columns: list, seen: list | None, passes: bool | None) -> None:
    changed = np.zeros(STRIP, bool)
    changed[4:8, 1:3] = True
    assert passes_by(square(*columns), Path(columns, seen), 2, changed) is passes
