"""Reports of tracks: a row a point or a video, what to look at first on top, in a page that a browser shows."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.app.track.report import POINT_COLUMNS, write_track_report
from tapetum.app.verb import Listener
from tapetum.types import Tracks
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]


def data_of(page: Path) -> dict[str, Any]:
    [data] = re.findall(r"<script id=\"data\" type=\"application/json\">(.*?)</script>", page.read_text())
    return json.loads(data)


def report_of(folder: Path) -> Path:
    """A report of three points: the second is hardly sure in frame 4, the third does not come back after frame 5."""
    xy = np.full((3, 8, 2), 50.0)
    xy[1], xy[2] = (20, 30), (90, 60)
    tracks = Tracks(
        xy=xy,
        visible=np.ones((3, 8), bool),
        confidence=np.full((3, 8), 0.99),
        queries=np.column_stack([np.zeros(3), xy[:, 0]]),
        names=("nose", "<b>tail</b>", ""),
    )
    tracks.confidence[1, 4] = 0.6
    backward = np.full((3, 8), np.nan)
    backward[2] = [40, 40, 40, 40, 40, 40, 1, 0]
    video = open_video(np.full((8, 100, 120, 3), 99, np.uint8))
    return write_track_report(folder / "r.html", video, tracks, Listener(), backward)


def test_rows_are_the_points_and_the_worst_is_first(tmp_path: Path) -> None:
    data = data_of(report_of(tmp_path))
    names = [column.name for column in POINT_COLUMNS]
    rows = [dict(zip(names, row["cells"], strict=True)) for row in data["table"]["rows"]]
    assert [row["point"] for row in rows] == ["2", "<b>tail</b>", "nose"]
    assert (rows[0]["look at frame"], rows[0]["because of"]) == (5, "forward and backward disagree")
    assert rows[0]["forward and backward apart, px"] == 40
    assert (rows[1]["look at frame"], rows[1]["because of"]) == (4, "low confidence")
    assert rows[2]["because of"] is None
    assert all(data["table"]["images"])


def test_track_writes_a_report_that_says_what_its_files_say(clip: Path, tmp_path: Path, run: Run) -> None:
    page = tmp_path / "r.html"
    words = "--model", "static", "--grid", 2, "--out", tmp_path / "o", "--report", page
    code, out, err = run("track", clip, *words, "--json")
    assert code == 0, err
    assert json.loads(out)["report"] == str(page)
    assert [row["cells"][3] for row in data_of(page)["table"]["rows"]] == [1.0] * 4
    assert "report   " in run("track", clip, *words)[1]


def test_many_videos_have_a_row_each_and_broken_ones_are_first(clip: Path, tmp_path: Path, run: Run) -> None:
    page, broken = tmp_path / "r.html", tmp_path / "<img src=x>.mp4"
    broken.write_bytes(clip.read_bytes()[:100])
    words = "--model", "static", "--grid", 2, "--no-overlay", "--out", tmp_path / "o", "--report", page
    code, out, _ = run("track", clip, broken, *words, "--json")
    assert code == 2
    table = data_of(page)["table"]
    assert [row["cells"][0] for row in table["rows"]] == [str(broken), str(clip)]
    assert table["rows"][0]["trouble"] == json.loads(out)["videos"][1]["trouble"]
    assert table["rows"][1]["cells"][1:4] == [4, 6, 1.0]
    assert table["images"][1] is not None
    assert "<img src=x>" not in page.read_text()


def test_what_goes_on_has_no_report(tmp_path: Path, clip: Path, run: Run) -> None:
    code, _, err = run("track", clip, "--online", "--report", tmp_path / "r.html", "--model", "static")
    assert code == 2
    assert "--report" in err
