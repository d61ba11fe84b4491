"""Trackers by name."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tapetum
from tapetum.bench.baselines import load_tracker, load_tracker3d
from tapetum.core.errors import BadInput

Run = Callable[..., tuple[int, str, str]]


def test_trackers_by_name() -> None:
    assert type(load_tracker3d("static")).__name__ == "Static3D"
    with pytest.raises(BadInput, match="there is no depth nowhere"):
        load_tracker3d("tapir-nano", "nowhere")
    with pytest.raises(BadInput, match="nano-tapir"):
        load_tracker3d("nano-tapir")


TRACKER = '''
import numpy as np

from tapetum.types import Tracks


class MyTracker:
    """Every point drifts by half a pixel a frame."""

    def track(self, video, queries, *, progress=None):
        drift = (np.arange(len(video)) - queries[:, :1])[..., None] * 0.5
        xy = (queries[:, None, 1:] + drift).astype(np.float32)
        shown = np.ones(xy.shape[:2], bool)
        return Tracks(xy=xy, visible=shown, confidence=shown.astype(np.float32), queries=queries)


class Tuple(MyTracker):
    def track(self, video, queries, *, progress=None):
        tracks = super().track(video, queries)
        return tracks.xy, tracks.visible


class Fewer(MyTracker):
    def track(self, video, queries, *, progress=None):
        return super().track(video, queries[1:])


class Sorts(MyTracker):
    def track(self, video, queries, *, progress=None):
        return super().track(video, queries[::-1])


class Writes(MyTracker):
    def track(self, video, queries, *, progress=None):
        queries += 1
        return super().track(video, queries)


class Exits(MyTracker):
    def track(self, video, queries, *, progress=None):
        raise SystemExit(0)


class Divides(MyTracker):
    def track(self, video, queries, *, progress=None):
        return 1 / 0


class Nothing:
    pass
'''


def test_a_tracker_of_ones_own_is_scored_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "own_tracker_file.py").write_text(TRACKER)
    made = tapetum.app.make.scenes.make(tmp_path / "scenes", n=1, size=64, frames=3)
    reference = f"{tmp_path}/own_tracker_file.py:MyTracker"
    scores = tapetum.evaluate_tapvid(data=str(made.tapvid), model=reference)
    assert scores.model == "own_tracker_file.py:MyTracker"
    assert scores.table["videos"] == 1
    with pytest.raises(BadInput, match="tracks nothing; give it a method track"):
        load_tracker(f"{tmp_path}/own_tracker_file.py:Nothing")


def test_what_a_tracker_of_ones_own_returns_is_checked(tmp_path: Path, clip: Path, run: Run) -> None:
    (tmp_path / "odd_tracker_file.py").write_text(TRACKER)
    for name, message in (
        ("Tuple", r"Tuple returned tuple; return tapetum\.types\.Tracks\(xy=xy, "),
        ("Fewer", "Fewer returned 1 points for 2 queries"),
        ("Sorts", "Sorts returned tracks whose queries are not those that were asked, in their order"),
        ("Writes", "Writes returned tracks whose queries are not those that were asked"),
        ("Exits", r"odd_tracker_file\.py:Exits, line 4\d, in track: ended the program \(exit 0\); mend that code"),
        ("Divides", r"py:Divides, line 4\d, in track: ZeroDivisionError: division by zero; mend that code"),
    ):
        reference, asked = f"{tmp_path}/odd_tracker_file.py:{name}", np.array([[0.0, 5, 5], [0, 6, 6]])
        with pytest.raises(BadInput, match=message):
            load_tracker(reference).track(np.zeros((2, 8, 8, 3), np.uint8), asked)
        assert asked.tolist() == [[0, 5, 5], [0, 6, 6]]
        code, out, err = run("track", clip, "--query", "0,5,5", "--query", "0,6,6", "--model", reference)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert re.search(message, err)
