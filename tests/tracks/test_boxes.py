"""Boxes carried by points: exact motions, outliers, occlusion; files."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.core.errors import BadInput
from tapetum.tracks.boxes import BoxTracks, carry, points_in

BOX = np.array([20.0, 30, 80, 70])
POINTS = points_in(BOX)


@given(st.floats(0.3, 3), st.floats(-200, 200), st.floats(-200, 200), st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_a_box_moves_and_scales_as_its_points_whatever_a_third_of_them_does(
    scale: float, dx: float, dy: float, seed: int, share: float
):
    rng = np.random.default_rng(seed)
    now = POINTS * scale + (dx, dy)
    wild = rng.random(len(now)) < share
    now[wild] += rng.uniform(-300, 300, (int(wild.sum()), 2))
    hidden = rng.random(len(now)) < 0.15
    now[hidden] = rng.uniform(-1000, 1000, (int(hidden.sum()), 2))
    carried = carry(BOX, POINTS, now, ~hidden)
    assert carried is not None
    wanted = np.concatenate([BOX[:2] * scale + (dx, dy), BOX[2:] * scale + (dx, dy)])
    np.testing.assert_allclose(carried[0], wanted, atol=0.12 * scale * 72)
    calm = ~wild & ~hidden
    if not wild.any():
        np.testing.assert_allclose(carried[0], wanted, atol=1e-2)
        assert carried[1] == pytest.approx(calm.mean())


def test_a_box_is_lost_where_few_are_seen_or_they_disagree():
    few = np.zeros(len(POINTS), bool)
    few[:3] = True
    assert carry(BOX, POINTS, POINTS, few) is None
    scattered = np.random.default_rng(0).uniform(0, 500, POINTS.shape)
    assert carry(BOX, POINTS, scattered, np.ones(len(POINTS), bool)) is None
    for seen, lost in ((9, True), (10, False)):  # of 36 points a quarter is enough, of 37 it is not
        for count, missing in ((36, False), (37, lost)):
            kept = np.arange(count) < seen
            assert (carry(BOX, POINTS[:count], POINTS[:count], kept) is None) == missing


@pytest.mark.parametrize(("scale", "off", "disagree"), [(0.3, 0.1, 1), (0.3, 0.04, 0), (3.0, 0.4, 0), (3.0, 0.5, 1)])
def test_a_point_may_be_off_by_a_share_of_the_box_as_it_is_now(scale: float, off: float, disagree: int):
    now = POINTS * scale
    now[5, 0] += off * np.linalg.norm(BOX[2:] - BOX[:2])
    carried = carry(BOX, POINTS, now, np.ones(len(now), bool))
    assert carried is not None
    assert carried[1] == pytest.approx(1 - disagree / len(now))


@pytest.fixture
def boxes() -> BoxTracks:
    xyxy = np.tile(BOX, (2, 3, 1))
    shown = np.array([[True, True, False], [False, True, True]])
    return BoxTracks(
        xyxy=xyxy,
        shown=shown,
        detected=np.array([[True, False, False], [False, True, False]]),
        scores=np.full((2, 3), 0.5),
        labels=["red cup", 'a "b"'],
        times=[0, 0.5, 1],
    )


def test_files_give_back_what_was_saved(boxes: BoxTracks, tmp_path: Path):
    again = BoxTracks.load(boxes.save(tmp_path / "boxes.npz"))
    for name in ("xyxy", "shown", "detected", "scores", "times"):
        assert (getattr(again, name) == getattr(boxes, name)).all()
    assert again.labels == boxes.labels
    rows = list(csv.DictReader(boxes.save(tmp_path / "boxes.csv").open()))
    assert [(row["frame"], row["object"], row["label"], row["found"]) for row in rows] == [
        ("0", "0", "red cup", "1"),
        ("1", "0", "red cup", "0"),
        ("1", "1", 'a "b"', "1"),
        ("2", "1", 'a "b"', "0"),
    ]
    assert float(rows[1]["time_s"]) == 0.5
    assert [float(rows[0][name]) for name in ("x1", "y1", "x2", "y2")] == BOX.tolist()
    assert boxes.at(1).labels == ("red cup", 'a "b"')
    assert len(boxes.at(0)) == 1
    with pytest.raises(BadInput, match="leaves out frames without boxes; give the npz"):
        BoxTracks.load(tmp_path / "boxes.csv")


def test_what_does_not_fit_is_refused():
    good = {
        "xyxy": np.zeros((1, 2, 4)),
        "shown": np.zeros((1, 2), bool),
        "detected": np.zeros((1, 2), bool),
        "scores": np.zeros((1, 2)),
    }
    for name, value, message in (
        ("shown", np.zeros((2, 2), bool), r"shown of BoxTracks has shape \(2, 2\)"),
        ("scores", np.zeros((1, 3)), "scores of BoxTracks"),
        ("labels", ["a", "b"], "has 2 labels for 1"),
        ("xyxy", np.full((1, 2, 4), np.nan), "NaN or infinity"),
    ):
        with pytest.raises(BadInput, match=message):
            BoxTracks(**{"labels": ["a"], **good, name: value})
