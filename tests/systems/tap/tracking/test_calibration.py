"""The calibrated confidence against values made by hand, and what it hides."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tapetum
from tapetum.core.errors import BadInput
from tapetum.systems.tap.tracking.calibration import CALIBRATIONS, Calibration, calibrated_confidence, mark_visible
from tapetum.types import Tracks


def sigmoid(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


def test_odds_are_piecewise_linear_in_the_odds_of_the_confidence() -> None:
    calibration = Calibration(bias=0.5, slopes=(1.0, 2.0, 3.0, 4.0, 5.0), age=0.25)
    for odds, mapped in ((-3, -3), (-2, -2), (-1, -2 + 2), (0, 2), (1, 2 + 3), (3, 2 + 6 + 4), (5, 2 + 6 + 8 + 5)):
        chance = calibration.apply(np.array(sigmoid(odds)), np.array(3.0))
        assert chance == pytest.approx(sigmoid(0.5 + mapped - 0.25 * math.log(4)), rel=1e-4)
    assert np.isfinite(calibration.apply(np.array([0.0, 1.0]), np.zeros(2))).all()


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_what_is_surer_is_no_less_right_and_time_makes_it_no_better(name: str) -> None:
    confidence, frames = np.linspace(0, 1, 200), np.arange(200.0)
    assert (np.diff(CALIBRATIONS[name].apply(confidence, np.full(200, 5.0))) >= 0).all()
    assert (np.diff(CALIBRATIONS[name].apply(np.full(200, 0.8), frames)) <= 0).all()


def tracks(confidence: list[list[float]], clicked: Any = None) -> Tracks:
    sure = np.array(confidence, np.float32)
    n, t = sure.shape
    queries = [[1, 0.5, 0.5]] * n
    return Tracks(xy=np.zeros((n, t, 2)), visible=sure > 0.5, confidence=sure, queries=queries, clicked=clicked)


def test_frames_are_counted_from_the_nearest_click() -> None:
    given = tracks([[0.7] * 6], [[0, 1, 0, 0, 0, 1]])
    chance = calibrated_confidence(given, "tapir-nano")
    expected = CALIBRATIONS["tapir-nano"].apply(np.full(6, 0.7), np.array([1.0, 0, 1, 2, 1, 0]))
    expected[[1, 5]] = 1
    assert chance is not None
    np.testing.assert_allclose(chance[0], expected, rtol=1e-6)
    assert calibrated_confidence(given, "static") is None


def test_predicted_errors_say_how_likely_visible_places_are_right() -> None:
    given = replace(tracks([[0.9, 1, 0.9, 0.2]]), chance_wrong=[[0.3, 0, 0.1, 0.1]])
    for model in ("static", "tapir-nano"):
        chance = calibrated_confidence(given, model)
        assert chance is not None
        np.testing.assert_allclose(chance[0, :3], [0.7, 1, 0.9], rtol=1e-6)
        assert chance[0, 3] < 0.5  # hidden: what the confidence says
    assert mark_visible(given, "static", 0.8).visible.tolist() == [[False, True, True, False]]


def test_likely_places_are_visible_and_clicks_always() -> None:
    given = tracks([[0.9, 0.1, 0.6, 0.95], [0.4, 0.9, 0.9, 0.9]])
    assert mark_visible(given, "tapir", 0.7).visible.tolist() == [[True, True, False, True], [False, True, True, True]]
    assert mark_visible(given, "tapir", 0.4).visible.tolist() == [[True, True, True, True], [True, True, True, True]]
    shown = mark_visible(given, "tapir-nano", 1.0)
    assert shown.visible.tolist() == [[False, True, False, False]] * 2
    assert mark_visible(given, "tapir-nano", 0.0).visible.all()


def test_track_hides_what_is_unsure() -> None:
    video = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    done = tapetum.track(video, query=((0, 9.5, 9.5),), visible_above=1.0)
    assert done.tracks.visible.tolist() == [[True, False, False]]
    with pytest.raises(BadInput, match="--visible-above is 80; give a chance from 0 to 1"):
        tapetum.track(video, query=((0, 9.5, 9.5),), visible_above=80)


def test_saved_tracks_are_shown_and_converted_by_the_same_chance(tmp_path) -> None:
    video = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    file = tracks([[0.9, 0.1, 0.6]]).save(tmp_path / "tracks.npz")
    for chance, model, visible in ((0.05, "static", [1, 1, 1]), (0.7, "static", [1, 1, 0]), (1.0, "tapir-nano", [0, 1, 0])):
        shown = tapetum.show(file, video, out=tmp_path / "drawn.mp4", visible_above=chance, model=model)
        assert shown.tracks.visible.astype(int).tolist() == [visible]
        converted = tapetum.convert(file, tmp_path / "tracks.csv", visible_above=chance, model=model)
        assert converted.tracks.visible.astype(int).tolist() == [visible]
    with pytest.raises(BadInput, match="--visible-above is 2; give a chance from 0 to 1"):
        tapetum.convert(file, tmp_path / "tracks.csv", visible_above=2)
