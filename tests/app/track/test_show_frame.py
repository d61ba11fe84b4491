"""`tapetum show VIDEO --frame`: the frame that the video has, pixel for pixel, and a ruler that says which is which."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.app.track.show_frame import add_ruler
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]


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
        (("--frame", -1), "give one from 0 to 5"),
        (("--frame", 0, "--out", "f.gif"), "ends in .png or .jpg"),
        (("--frame", 0, "--plot"), "--frame shows a video"),
        (("--ruler",), "--ruler belongs to --frame"),
    ],
)
def test_what_cannot_be_is_said(words: tuple[object, ...], message: str, clip: Path, run: Run) -> None:
    code, _, err = run("show", clip, *words)
    assert code == 2
    assert message in err
