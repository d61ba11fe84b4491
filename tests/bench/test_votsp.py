"""The scores of VOTSp on places made by hand, and the verb that the VOT toolkit runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tapetum
from tapetum.app.track.point_tasks import CutSettings, NewPoints, cut
from tapetum.bench.votsp import point_accuracies, task_of, track_task
from tapetum.core.errors import BadInput
from tapetum.tracks.points import PointRequest
from tapetum.tracks.votsp import read_sequence
from tapetum.types import Tracks

NONE = [np.nan, np.nan]


def test_distances_are_those_of_a_frame_of_256(tmp_path: Path) -> None:
    """In a frame of 511x256 two pixels along x count as one, and one along y."""
    truth = np.zeros((8, 2))
    predicted = np.array([[99, 99], [99, 99], [2, 0], [1.9, 0], [0, 1], [0, 7.9], [0, 16], NONE])
    shares, frames = point_accuracies(truth, predicted, 511, 256)
    assert frames == 5
    np.testing.assert_allclose(shares, np.array([1, 3, 3, 4, 4]) / 5)
    late = np.array([NONE, NONE, [0, 0], [0, 0]])
    assert point_accuracies(late, np.zeros((4, 2)), 256, 256)[1] == 1
    assert point_accuracies(late, np.full((4, 2), np.nan), 256, 256)[1] == 0


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name, truths in (("a", {"p": "5,5\n" * 4, "q": "0\n5,5\n7,5\n15,5\n"}), ("b", {"p": "0\n9,9\n9,9\n0\n"})):
        folder = tmp_path / "sequences" / name
        (folder / "color").mkdir(parents=True)
        (folder / "sequence").write_text("fps=30\n")
        for number in range(1, 5):
            Image.new("RGB", (256, 256)).save(folder / "color" / f"{number:08d}.jpg")
        for point, text in truths.items():
            (folder / f"groundtruth_{point}.txt").write_text(text)
    return tmp_path


def test_a_tracker_is_scored(workspace: Path) -> None:
    scores = tapetum.evaluate_votsp(data=workspace, model="static")
    assert scores.table is not None
    # Still points: p of a is right in 2 frames, q is 2 and 10 pixels off, p of b is right in 1; 5 frames count.
    expected = {"d_1": 3 / 5, "d_2": 3 / 5, "d_4": 4 / 5, "d_8": 4 / 5, "d_16": 1.0, "frames": 5}
    assert {name: scores.table[name] for name in expected} == pytest.approx(expected)
    assert scores.table["d_avg"] == pytest.approx((3 + 3 + 4 + 4 + 5) / 25)
    assert [(row["name"], row["points"], row["frames"]) for row in scores.table["sequences"]] == [("a", 2, 4), ("b", 1, 1)]
    assert "all frames   0.760" in scores.as_text()
    assert scores.as_json()["d_16"] == 1


def test_the_toolkit_is_answered(workspace: Path) -> None:
    folder = workspace / "task"
    folder.mkdir()
    frames = sorted((workspace / "sequences" / "a" / "color").glob("*.jpg"))
    (folder / "frames_color.txt").write_text("".join(f"{path}\n" for path in frames))
    (folder / "query_obj0.txt").write_text("1\n5.5,6\n")
    done = tapetum.evaluate_votsp(folder=folder, model="static")
    assert [path.read_text() for path in done.outputs] == ["0\n" + "5.5000,6.0000\n" * 3]
    assert "tracked 1 points with static" in done.as_text()


def test_support_points_lie_around_each_point_and_are_left_out(workspace: Path) -> None:
    task, given = task_of(read_sequence(workspace / "sequences" / "a")), list[np.ndarray]()

    class Recorder:
        def track(self, video: Any, queries: np.ndarray, **_: Any) -> Tracks:
            given.append(queries)
            shape = len(queries), len(video)
            xy = np.repeat(queries[:, None, 1:], len(video), 1)
            return Tracks(xy=xy, visible=np.ones(shape, bool), confidence=np.ones(shape), queries=queries)

    tracker: Any = Recorder()
    assert track_task(tracker, task, 9).shape == (2, 4, 2)
    frames = np.zeros((3, 64, 96, 3), np.uint8)
    part = cut(tapetum.video.open_video(frames), CutSettings())
    tracks = NewPoints(part, PointRequest([(1.0, 48.0, 30.0)], None, ["a"]), around=9).track(tracker, [(0.0, 1.0, 1.0)], print)
    assert (tracks.queries.tolist(), tracks.names) == ([[1, 48, 30], [0, 1, 1]], ("a", ""))
    assert [tuple(queries[-9:, 0]) for queries in given] == [(1,) * 9, (1,) * 9]
    assert given[0][2:5].tolist() == [[0, 0, 0], [0, 5.5, 0], [0, 21.5, 0]]  # 16 of 256 pixels, of what lies in the image
    assert given[1][2:].tolist() == [[1, x, y] for y in (26, 30, 34) for x in (42, 48, 54)]
    assert track_task(tracker, task, 1).shape == (2, 4, 2)
    for count in (-1, 8, 10_000):
        with pytest.raises(BadInput, match=f"--support is {count}; give a square number"):
            tapetum.evaluate_votsp(data=workspace, model="static", support=count)


def test_one_thing_is_to_be_done(workspace: Path) -> None:
    with pytest.raises(BadInput, match="one of the two"):
        tapetum.evaluate_votsp()
    with pytest.raises(BadInput, match="one of the two"):
        tapetum.evaluate_votsp(data=workspace, folder=workspace)
    (workspace / "sequences" / "b" / "groundtruth_p.txt").write_text("0\n0\n")
    with pytest.raises(BadInput, match="point p of sequence b has no place"):
        tapetum.evaluate_votsp(data=workspace, model="static")
