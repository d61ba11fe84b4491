"""Files for other programs, read back by parsers of their own syntax."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.tracks.exchange import write_tracks
from tapetum.types import Tracks
from tapetum.video import open_video
from tapetum.video.types import VideoSubset

VIDEO = open_video(np.zeros((8, 48, 64, 3), np.uint8))
TRACKS = Tracks(
    xy=[[[1, 2], [3, 4.5], [5, 6]], [[60, 40], [61, 41], [62, 42]]],
    visible=[[True, False, True], [True, True, True]],
    confidence=np.ones((2, 3)),
    queries=[[0, 1, 2], [0, 60, 40]],
    names=('l\'œil <"a">', "[exit]"),
    numbers=[1, 3, 7],
)


def written(folder: Path, name: str, layout: str) -> str:
    video = VideoSubset(VIDEO, [1, 3, 7])
    return write_tracks(TRACKS, folder / name, layout, video=video).read_text("utf-8")


def braces(text: str) -> list[Any]:
    """Parse a list of Tcl."""
    stack: list[list[Any]] = [[]]
    for word in re.findall(r'\{|\}|"[^"]*"|[^\s{}"]+', text):
        if word == "{":
            stack.append([])
        elif word == "}":
            stack[-2].append(stack.pop())
        else:
            stack[-1].append(word.strip('"'))
    (whole,) = stack
    return whole


def test_nuke(tmp_path: Path) -> None:
    node, content = braces(written(tmp_path, "a.nk", "nuke"))
    size, columns, rows = content[3]
    assert (node, size, len(columns)) == ("Tracker4", ["1", "31", "2"], 31)
    assert [column[3] for column in columns[:4]] == ["enable", "name", "track_x", "track_y"]
    assert [len(row) for row in rows] == [31, 31]
    enable, name, x, y = rows[0][:4]
    assert enable == ["curve", "K", "x2", "1", "x4", "0", "x8", "1"]
    assert x == ["curve", "x2", "1.0000", "x4", "3.0000", "x8", "5.0000"]
    assert y == ["curve", "x2", "46.0000", "x4", "43.5000", "x8", "42.0000"]  # from below
    assert (name, rows[1][1]) == ("l_œil __a__", "_exit_")  # nothing that Tcl runs


def test_after_effects(tmp_path: Path) -> None:
    lines = [line.split("\t") for line in written(tmp_path, "a.txt", "aftereffects").splitlines()]
    assert (lines[0], lines[-1]) == (["Adobe After Effects 8.0 Keyframe Data"], ["End of Keyframe Data"])
    assert {line[1]: float(line[2]) for line in lines[2:7]}["Source Height"] == 48
    assert lines.count(["Transform", "Position"]) == 2
    keys = [line[1:5] for line in lines if len(line) == 6 and line[1] != "Frame"]
    assert keys[:2] == [["1", "1.0000", "2.0000", "0"], ["7", "5.0000", "6.0000", "0"]]
    assert len(keys) == 5


def test_cvat(tmp_path: Path) -> None:
    first, second = ElementTree.fromstring(written(tmp_path, "a.xml", "cvat")).findall("track")
    assert (first.get("label"), second.get("label")) == TRACKS.names
    rows = [(int(p.get("frame", "")), p.get("points"), p.get("outside")) for p in first]
    assert rows == [(1, "1.0000,2.0000", "0"), (3, "3.0000,4.5000", "1"), (7, "5.0000,6.0000", "0")]


def test_blender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, list[Any]] = {}

    def new(name: str, frame: int) -> Any:
        rows = made.setdefault(name, [])

        def insert_frame(frame: int, co: tuple[float, float]) -> Any:
            rows.append((frame, co, SimpleNamespace(mute=False)))
            return rows[-1][2]

        return SimpleNamespace(markers=SimpleNamespace(insert_frame=insert_frame))

    clip = SimpleNamespace(tracking=SimpleNamespace(tracks=SimpleNamespace(new=new)))
    monkeypatch.setitem(sys.modules, "bpy", SimpleNamespace(context=None, data=SimpleNamespace(movieclips=[clip])))
    exec(compile(written(tmp_path, "a.py", "blender"), "a.py", "exec"), {})  # ours, just written
    frames, places, markers = zip(*made['l\'œil <"a">'], strict=True)
    assert frames == (2, 4, 8)
    np.testing.assert_allclose(places, [[1 / 64, 46 / 48], [3 / 64, 43.5 / 48], [5 / 64, 42 / 48]], atol=1e-7)
    assert [marker.mute for marker in markers] == [False, True, False]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no layout 'nuk'; did you mean nuke"):
        write_tracks(TRACKS, tmp_path / "a.nk", "nuk")
    with pytest.raises(BadInput, match="needs the video, for its size and frame rate"):
        write_tracks(TRACKS, tmp_path / "a.txt", "aftereffects")
    assert not list(tmp_path.iterdir())
