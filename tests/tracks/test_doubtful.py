"""Doubtful places: each reason fires where it should, by hand-made tracks, and nowhere else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.tracks.doubtful import click_range, find_doubtful_places, find_doubtful_spans, last_visible
from tapetum.types import Tracks

SIZE = 200, 100


def still(points: int = 3, frames: int = 10) -> Tracks:
    xy = np.full((points, frames, 2), 50.0)
    shape = points, frames
    queries = np.tile([0.0, 50, 50], (points, 1))
    return Tracks(xy=xy, visible=np.ones(shape, bool), confidence=np.full(shape, 0.99), queries=queries)


def test_nothing_is_doubtful_in_sure_and_still_tracks() -> None:
    assert find_doubtful_places(still(), SIZE) == []


def test_low_confidence_is_listed_at_its_lowest_frame_and_where_visible_alone() -> None:
    tracks = still()
    tracks.confidence[1, 3:6] = 0.7, 0.55, 0.72
    tracks.confidence[2, 4] = 0.2
    tracks.visible[2, 4] = False
    assert find_doubtful_places(tracks, SIZE) == [(1, 4, "low confidence", 0.8)]


def test_a_jump_of_one_point_is_one_of_the_camera_is_none() -> None:
    tracks = still()
    tracks.xy[:, 5:] += 40
    assert find_doubtful_places(tracks, SIZE) == []
    tracks.xy[0, 7:] += 20
    [place] = find_doubtful_places(tracks, SIZE)
    assert place == (0, 7, "jump", round(20 * 2**0.5 / 100 * 3, 4))


def test_paths_part_at_the_last_frame_that_is_far_after_the_click() -> None:
    backward = np.full((3, 10), np.nan)
    backward[1] = [50, 40, 30, 20, 10, 2, 1, 0, 0, 0]
    tracks = still()
    [place] = find_doubtful_places(tracks, SIZE, backward)
    assert place == (1, 4, "forward and backward disagree", 1.0)
    clicked = np.zeros((3, 10), bool)
    clicked[1, [0, 4]] = True
    assert find_doubtful_places(replace(tracks, clicked=clicked), SIZE, backward) == []


def test_where_a_point_was_last_visible_before_and_after_its_clicks() -> None:
    tracks = still()
    clicked = np.zeros((3, 10), bool)
    clicked[0, [3, 5]] = True
    tracks = replace(tracks, clicked=clicked)
    tracks.visible[0, [0, 9]] = False
    tracks.xy[0, 8] = 500, 50  # outside of the image
    assert click_range(tracks, 0) == (3, 5)
    assert [last_visible(tracks, 0, way, *SIZE) for way in (1, -1)] == [7, 1]
    assert click_range(tracks, 1) == (0, 0)


def test_a_point_that_vanishes_inside_the_image_for_good_is_listed_where_it_does() -> None:
    tracks = still()
    tracks.visible[1, 6:] = False
    tracks.visible[2, 3:5] = False  # and comes back
    assert find_doubtful_places(tracks, SIZE) == [(1, 6, "does not come back", 0.2)]
    looked_at = np.zeros((3, 10), bool)
    looked_at[1, 8] = True
    assert find_doubtful_places(tracks, SIZE, looked_at=looked_at) == []
    tracks.xy[1, 5] = 197, 50  # at the border: it has left the image
    assert [place for place in find_doubtful_places(tracks, SIZE) if place.reason == "does not come back"] == []


def doubted(chance: list[list[float]], **fields: Any) -> Tracks:
    array = np.array(chance, np.float32)
    n, t = array.shape
    given = {"visible": np.ones((n, t), bool), "error_px": 10 * array, **fields}
    return Tracks(xy=np.ones((n, t, 2)), confidence=np.ones((n, t)), queries=np.zeros((n, 3)), chance_wrong=array, **given)


def test_spans_join_over_short_gaps_and_the_most_wrong_frames_come_first() -> None:
    tracks = doubted([[0, 0.9, 0, 0, 0.5, 0, 0, 0, 0.3], [0, 0.3, 0.3, 0, 0, 0, 0, 0.9, 0.9]])
    spans = find_doubtful_spans(tracks)
    assert [(span.point, span.first, span.last) for span in spans] == [(1, 7, 8), (0, 1, 4), (1, 1, 2), (0, 8, 8)]
    assert spans[1].chance_wrong == pytest.approx(0.35)
    assert spans[1].error_px == pytest.approx(3.5)
    assert [span.left for span in spans] == pytest.approx([2.3 / 18, 0.9 / 18, 0.3 / 18, 0], abs=1e-6)


def test_the_list_of_spans_ends_where_little_enough_is_expected_wrong() -> None:
    tracks = doubted([[0, 0.9, 0, 0, 0.1], [0, 0, 0.5, 0, 0.1]])
    assert [span.left for span in find_doubtful_spans(tracks)] == pytest.approx([0.07, 0.02])
    assert len(find_doubtful_spans(tracks, until=0.08)) == 1
    assert len(find_doubtful_spans(tracks, until=0.07)) == 2
    assert find_doubtful_spans(tracks, until=0.2) == []


def test_spans_are_of_visible_points_and_count_frames_of_the_video() -> None:
    visible = np.array([[True, True, False]])
    spans = find_doubtful_spans(doubted([[0, 0.9, 0.9]], visible=visible, numbers=[10, 20, 30]))
    assert [(span.first, span.last) for span in spans] == [(20, 20)]
    assert find_doubtful_spans(doubted([[0, 0.1]])) == []
    with pytest.raises(BadInput, match="no predicted errors"):
        find_doubtful_spans(doubted([[0, 0.1]], error_px=None))


def test_predicted_errors_take_the_place_of_confidence() -> None:
    chance = np.zeros((2, 20))
    chance[0, 4:10] = (0.3, 0.3, 0.1, 0.9, 0.9, 0.9)  # one run, over a gap
    chance[0, 15] = 0.5
    chance[1, 8] = 0.6
    visible = np.ones((2, 20), bool)
    clicked = np.zeros((2, 20), bool)
    clicked[1, 8] = True
    tracks = Tracks(
        np.ones((2, 20, 2)), visible, np.full((2, 20), 0.6), [[0, 1, 1]] * 2, None, clicked, None, None, chance * 9, chance
    )
    places = [place for place in find_doubtful_places(tracks, SIZE) if place.reason != "jump"]
    assert [(place.point, place.frame, place.reason) for place in places] == [(0, 8, "likely wrong"), (0, 15, "likely wrong")]
    assert places[0].score == pytest.approx(3.4 / 6.4, abs=1e-3)
    assert places[1].score == pytest.approx(0.5 / 3.5, abs=1e-3)
