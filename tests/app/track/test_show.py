"""`tapetum show TRACKS --plot`: the frames to check, and an image with a row for each point."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.report.images import add_ruler
from tapetum.types import Tracks
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two points of every other frame of a video; the second is hardly sure in the third of them."""
    xy = np.stack([np.stack([10.0 + 5 * np.arange(6), np.full(6, 20.0 + 50 * k)], 1) for k in range(2)])
    tracks = Tracks(
        xy=xy,
        visible=np.ones((2, 6), bool),
        confidence=np.full((2, 6), 0.95),
        queries=np.column_stack([np.zeros(2), xy[:, 0]]),
        names=("nose", "tail"),
        numbers=np.arange(0, 12, 2),
    )
    tracks.confidence[1, 2] = 0.55
    return tracks.save(tmp_path / "tracks.npz")


def test_frames_to_check_are_those_of_the_video(file: Path, tmp_path: Path, run: Run) -> None:
    code, out, _ = run("show", file, "--plot", "--out", tmp_path / "p.png", "--json")
    assert code == 0
    [place] = json.loads(out)["frames_to_check"]
    assert place == {"point": 1, "name": "tail", "frame": 4, "reason": "low confidence", "score": 0.8}
    text = run("show", file, "--plot", "--out", tmp_path / "p.png")[1]
    assert text.splitlines()[1].split() == ["frame", "4", "tail", "low", "confidence"]


def test_the_plot_marks_the_frame_and_draws_the_curve(file: Path, tmp_path: Path, run: Run) -> None:
    assert run("show", file, "--plot", "--out", tmp_path / "p.png")[0] == 0
    image = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)
    marks = (np.abs(image - (157, 42, 22)).max(axis=2) < 10).nonzero()
    rows, columns = (np.unique(each) for each in marks)
    top = 40 + 120 + 14  # of the second row; the first has no mark
    assert rows.min() >= top
    left = 110 + 2 * (340 + 14)
    assert left + round(4 / 10 * 340) in columns  # frame 4 of 0 to 10 in the panel of confidence
    panel = image[top : top + 121, left : left + 341]
    dark = np.abs(panel - (29, 39, 48)).max(axis=2) < 10
    lowest = np.flatnonzero(dark[:, 136 - 3 : 136 + 4].any(axis=1))
    assert lowest.max() == pytest.approx(120 * (1 - 0.55), abs=3)


def test_one_frame_and_one_point_can_be_plotted(tmp_path: Path, run: Run) -> None:
    one = Tracks(xy=np.ones((1, 1, 2)), visible=np.ones((1, 1), bool), confidence=np.ones((1, 1)), queries=[[0, 1, 1]])
    file = one.save(tmp_path / "one.npz")
    code, out, _ = run("show", file, "--plot", "--out", tmp_path / "p.png")
    assert (code, "no frame is doubtful" in out) == (0, True)


def test_what_is_no_png_or_has_no_points_is_refused(file: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("show", file, "--plot", "--out", tmp_path / "p.mp4")
    assert (code, "ends in .png" in err) == (2, True)
    empty = Tracks(
        xy=np.zeros((0, 3, 2)), visible=np.zeros((0, 3), bool), confidence=np.zeros((0, 3)), queries=np.zeros((0, 3))
    )
    code, _, err = run("show", empty.save(tmp_path / "none.npz"), "--plot", "--out", tmp_path / "p.png")
    assert (code, "nothing to plot" in err) == (2, True)
    assert not (tmp_path / "p.png").exists()


def test_the_image_is_the_frame(clip: Path, tmp_path: Path, run: Run) -> None:
    code, out, _ = run("show", clip, "--frame", 4, "--out", tmp_path / "f.png", "--json")
    assert code == 0
    assert json.loads(out) == {"video": str(clip), "frame": 4, "width": 64, "height": 48, "image": str(tmp_path / "f.png")}
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "f.png")), open_video(clip)[4])


def test_ticks_stand_where_the_pixels_begin() -> None:
    frame = np.zeros((60, 95, 3), np.uint8)
    frame[30, 40] = 255, 0, 0
    ruled = add_ruler(frame)
    margin = ruled.shape[1] - 95
    assert ruled.shape[0] - 60 == margin
    np.testing.assert_array_equal(ruled[margin:, margin:], frame)
    across = np.flatnonzero((ruled[margin - 2, margin:] == 0).all(axis=1))
    down = np.flatnonzero((ruled[margin:, margin - 2] == 0).all(axis=1))
    assert across.tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert down.tolist() == [0, 10, 20, 30, 40, 50]  # 60 would be below the last pixel


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--frame", 6), "give one from 0 to 5"),
        (("--frame", 0, "--out", "f.gif"), "ends in .png or .jpg"),
        (("--frame", 0, "--plot"), "--frame shows a video"),
    ],
)
def test_what_cannot_be_is_said(words: tuple[object, ...], message: str, clip: Path, run: Run) -> None:
    code, _, err = run("show", clip, *words)
    assert code == 2
    assert message in err
