"""Layer data of napari to frames, queries, corrections and tracks, and back; without napari."""

import numpy as np
import pytest
from tapetum_napari.layers import KEY, find_corrections, frames_of, layers_of, queries_of, tracks_of

from tapetum.core.errors import BadInput
from tapetum.types import Tracks


def tracks() -> Tracks:
    xy = np.arange(2 * 4 * 2, dtype=np.float32).reshape(2, 4, 2) + 0.25
    visible = np.array([[1, 1, 0, 1], [0, 0, 1, 1]], bool)
    return Tracks(xy=xy, visible=visible, confidence=np.where(visible, 0.9, 0.2), queries=[[0, 0.25, 1.25], [2, 12.25, 13.25]])


def test_queries_count_from_the_corner_and_x_comes_first() -> None:
    assert queries_of(np.array([[3.2, 10, 20]]), 5).tolist() == [[3, 20.5, 10.5]]
    assert queries_of(np.array([[10.0, 20]]), 5).tolist() == [[0, 20.5, 10.5]]
    with pytest.raises(BadInput, match="empty"):
        queries_of(np.zeros((0, 3)), 5)
    with pytest.raises(BadInput, match="frames 0 to 4"):
        queries_of(np.array([[5.0, 1, 1]]), 5)
    with pytest.raises(BadInput, match="4 coordinates"):
        queries_of(np.zeros((1, 4)), 5)


def test_frames_of_any_numbers_are_bytes_in_colour() -> None:
    gray = np.array([[[0, 500, 1000]]], np.uint16)
    assert frames_of(gray, False, (0, 1000))[0, 0].tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    colour = np.zeros((2, 3, 4, 4), np.uint8)
    assert frames_of(colour, True).shape == (2, 3, 4, 3)
    with pytest.raises(BadInput, match="has shape"):
        frames_of(np.zeros((2, 2, 3, 4)), False)


def test_visible_places_are_in_both_layers_and_come_back_whole() -> None:
    given = tracks()
    (rows, about, kind), (places, more, other) = layers_of(given, "mouse", (64, 48))
    assert (kind, other, about["name"], more["name"]) == ("tracks", "points", "mouse", "mouse: places")
    assert rows[:, :2].tolist() == [[0, 0], [0, 1], [0, 3], [1, 2], [1, 3]]
    np.testing.assert_allclose(rows[1], [0, 1, 3.25 - 0.5, 2.25 - 0.5])
    np.testing.assert_array_equal(places, rows[:, 1:])
    assert more["features"]["point"].tolist() == [0, 0, 0, 1, 1]
    assert len(more["face_color"]) == len(places)
    assert tracks_of(rows, about["metadata"], 4) is given


def test_tracks_of_another_program_are_read_from_their_rows() -> None:
    given = tracks()
    rows = layers_of(given, "a", (64, 48))[0][0]
    made = tracks_of(rows, {}, 4)
    np.testing.assert_array_equal(made.visible, given.visible)
    np.testing.assert_allclose(made.xy[given.visible], given.xy[given.visible])
    with pytest.raises(BadInput, match="frames 0 to 2"):
        tracks_of(rows, {KEY: given}, 3)


def test_what_was_moved_or_added_is_corrected_and_nothing_else() -> None:
    given = tracks()
    places, more, _ = layers_of(given, "a", (64, 48))[1]
    numbers = more["features"]["point"]
    with pytest.raises(BadInput, match="no place was moved"):
        find_corrections(given, places, numbers)
    places = places.copy()
    places[4, 1:] += 2, 3
    assert find_corrections(given, places, numbers) == [(1, 3.0, 14.25 + 3, 15.25 + 2)]
    added = np.concatenate([places, [[2, 7.0, 9.0]]]), np.append(numbers, 0)
    assert find_corrections(given, *added)[1] == (0, 2.0, 9.5, 7.5)
    with pytest.raises(BadInput, match="point 5"):
        find_corrections(given, places[:1], [5])
