"""Exchanges of points between alike bodies: found and undone where distances tell, and none made where there was none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tapetum
from tapetum.core.errors import BadInput
from tapetum.tracks.identity import Swap, find_swaps, undo_swaps
from tapetum.types import Tracks

Run = Callable[..., tuple[int, str, str]]
PARTS = {"nose": (20.0, 0.0), "left": (8.0, 7.0), "right": (8.0, -7.0), "tail": (-20.0, 0.0)}
T = 40


def crossing(bodies: int = 2) -> Tracks:
    """Make bodies that walk through one another, each turning a little."""
    times = np.linspace(-1, 1, T)
    rows, names = [], []
    for part, (along, left) in PARTS.items():
        for body in range(bodies):
            heading = np.pi * body / bodies + 0.2 * np.sin(4 * times)
            x = 100 + 80 * times * np.cos(np.pi * body / bodies) + along * np.cos(heading) - left * np.sin(heading)
            y = 100 + 80 * times * np.sin(np.pi * body / bodies) + along * np.sin(heading) + left * np.cos(heading)
            rows.append(np.stack([x, y], -1))
            names.append(f"{part}@mouse{body}")
    xy = np.array(rows, np.float32) + np.random.default_rng(0).normal(0, 0.3, (len(rows), T, 2)).astype(np.float32)
    queries = np.concatenate([np.zeros((len(rows), 1)), xy[:, 0]], 1)
    seen = np.ones((len(rows), T), bool)
    return Tracks(xy, seen, np.linspace(0.6, 0.9, len(rows))[:, None].repeat(T, 1), queries, tuple(names))


def exchanged(tracks: Tracks, names: list[str], frame: int) -> Tracks:
    """Let the track of each point follow the next from a frame on."""
    assert tracks.names is not None
    rows = [tracks.names.index(name) for name in names]
    arrays = {name: getattr(tracks, name).copy() for name in ("xy", "visible", "confidence")}
    for name, array in arrays.items():
        array[rows, frame:] = getattr(tracks, name)[[*rows[1:], rows[0]], frame:]
    return Tracks(**arrays, queries=tracks.queries, names=tracks.names)


def test_bodies_that_cross_without_an_exchange_stay_as_they_are() -> None:
    for bodies in (2, 3, 5):
        tracks = crossing(bodies)
        mended, swaps = undo_swaps(tracks)
        assert swaps == []
        for name in ("xy", "visible", "confidence"):
            np.testing.assert_array_equal(getattr(mended, name), getattr(tracks, name))


@pytest.mark.parametrize(
    "names",
    [
        ["nose@mouse0", "nose@mouse1"],
        ["tail@mouse2", "tail@mouse0", "tail@mouse1"],
        ["nose@mouse3", "nose@mouse0", "nose@mouse2", "nose@mouse1"],
    ],
)
def test_an_exchange_is_found_and_undone(names: list[str]) -> None:
    tracks = crossing(max(3, len(names)))
    made = exchanged(tracks, names, 26)
    (swap,) = find_swaps(made)
    assert set(swap.points) == set(names)
    assert abs(swap.frame - 26) <= 3  # they are near one another before
    mended, found = undo_swaps(made)
    assert found == [swap]
    np.testing.assert_array_equal(mended.xy[:, 29:], tracks.xy[:, 29:])
    np.testing.assert_array_equal(mended.confidence[:, 29:], tracks.confidence[:, 29:])
    again = exchanged(tracks, list(swap.points), swap.frame)
    np.testing.assert_array_equal(undo_swaps(again)[0].xy, tracks.xy)  # each follows the next, as it says


def test_predicted_errors_go_with_their_tracks() -> None:
    tracks = crossing()
    error = np.arange(8.0)[:, None].repeat(T, 1)
    made = exchanged(tracks, ["nose@mouse0", "nose@mouse1"], 26)
    both = replace(made, error_px=error, chance_wrong=error / 10)
    mended, (swap,) = undo_swaps(both)
    assert mended.error_px is not None
    assert mended.error_px[:2, -1].tolist() == [1, 0]
    assert mended.error_px[:2, swap.frame - 1].tolist() == [0, 1]
    assert undo_swaps(made)[0].error_px is None


def test_an_exchange_back_and_one_of_another_part_are_found_too() -> None:
    tracks = crossing()
    made = exchanged(exchanged(tracks, ["nose@mouse0", "nose@mouse1"], 8), ["nose@mouse0", "nose@mouse1"], 33)
    made = exchanged(made, ["left@mouse0", "left@mouse1"], 30)
    assert [(swap.frame, swap.points[0].partition("@")[0]) for swap in find_swaps(made)] == [
        (8, "nose"),
        (30, "left"),
        (33, "nose"),
    ]
    np.testing.assert_array_equal(undo_swaps(made)[0].xy, tracks.xy)


def test_two_tracks_of_one_nose_are_no_exchange_and_the_lost_one_is_hidden() -> None:
    tracks = crossing()
    xy = tracks.xy.copy()
    xy[0, 30:] = xy[1, 30:] + 0.5  # the nose of mouse0 follows that of mouse1
    mended, swaps = undo_swaps(Tracks(xy, tracks.visible, tracks.confidence, tracks.queries, tracks.names))
    assert swaps == []
    assert not mended.visible[0, 30:].any()
    assert mended.visible[1:].all()
    assert mended.visible[0, :30].all()
    clicked = np.zeros(tracks.visible.shape, bool)
    clicked[0, 34:38] = True  # somebody says that it is there
    mended, _ = undo_swaps(Tracks(xy, tracks.visible, tracks.confidence, tracks.queries, tracks.names, clicked))
    assert np.flatnonzero(mended.visible[0, 30:]).tolist() == [4, 5, 6, 7, 8, 9]  # runs of two frames stay


def test_clicks_keep_their_points() -> None:
    tracks = exchanged(crossing(), ["nose@mouse0", "nose@mouse1"], 26)
    clicked = np.zeros(tracks.visible.shape, bool)
    clicked[0, 39] = True  # somebody says that the nose of mouse0 is there
    said = Tracks(tracks.xy, tracks.visible, tracks.confidence, tracks.queries, tracks.names, clicked)
    mended, _ = undo_swaps(said)
    np.testing.assert_array_equal(mended.xy[0, 39], tracks.xy[0, 39])
    assert mended.visible[0, 39]


def test_hidden_points_say_nothing_and_other_points_are_left_alone() -> None:
    made = exchanged(crossing(), ["nose@mouse0", "nose@mouse1"], 26)
    seen = made.visible.copy()
    seen[4:, 20:] = False  # of each body one point beside the nose is left
    extra = Tracks(
        np.concatenate([made.xy, made.xy[:1] * 0]),
        np.concatenate([seen, seen[:1]]),
        np.concatenate([made.confidence, made.confidence[:1]]),
        np.concatenate([made.queries, made.queries[:1]]),
        (*(made.names or ()), "cage"),
    )
    mended, swaps = undo_swaps(extra)
    assert len(swaps) == 1
    np.testing.assert_array_equal(mended.xy[-1], 0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nose", "tail", "left", "right"] * 2, "no two bodies have 3 parts in common"),
        ([f"{part}@{body}" for body in "ab" for part in ("nose", "tail")] + ["x", "y", "z", ""], "no two bodies have 3 parts"),
        ([f"nose@{body}" for body in "abcdefgh"], "no two bodies have 3 parts"),
    ],
)
def test_points_without_bodies_are_refused(names: list[str], message: str) -> None:
    xy = np.ones((8, 5, 2))
    tracks = Tracks(xy, np.ones((8, 5), bool), np.ones((8, 5)), np.zeros((8, 3)), tuple(names))
    with pytest.raises(BadInput, match=message):
        find_swaps(tracks)


def test_six_bodies_are_too_many() -> None:
    names = tuple(f"{part}@{body}" for body in range(6) for part in PARTS)
    tracks = Tracks(np.ones((24, 5, 2)), np.ones((24, 5), bool), np.ones((24, 5)), np.zeros((24, 3)), names)
    with pytest.raises(BadInput, match="there are 6 bodies"):
        find_swaps(tracks)


def test_still_images_and_single_frames_have_no_exchange() -> None:
    tracks = crossing()
    one = Tracks(tracks.xy[:, :1], tracks.visible[:, :1], tracks.confidence[:, :1], tracks.queries, tracks.names)
    assert find_swaps(one) == []
    same = Tracks(tracks.xy[:, :1].repeat(9, 1), np.ones((8, 9), bool), np.ones((8, 9)), tracks.queries, tracks.names)
    assert find_swaps(same) == []


def test_the_command_says_what_it_exchanged(tmp_path: Path, run: Run) -> None:
    exchanged(crossing(), ["nose@mouse0", "nose@mouse1"], 26).save(tmp_path / "t.csv")
    code, out, err = run("convert", tmp_path / "t.csv", tmp_path / "mended.npz", "--undo-swaps")
    assert (code, err) == (0, "")
    assert "nose@mouse0 and nose@mouse1 were exchanged" in out
    assert "no points were exchanged" in run("convert", tmp_path / "mended.npz", tmp_path / "again.npz", "--undo-swaps")[1]
    code, _, err = run("convert", tmp_path / "t.csv", tmp_path / "x.npz")
    assert (code, err) == (0, "")
    made = tapetum.convert(tmp_path / "t.csv", tmp_path / "y.npz", undo_swaps=True)
    assert isinstance(made.as_json()["swaps"][0]["frame"], int)
    assert made.swaps is not None
    assert isinstance(made.swaps[0], Swap)
