"""`tapetum show` draws what `tapetum track` drew; `tapetum convert` goes between layouts."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapetum.tap.exchange import read_tracks
from tapetum.tap.tracks import Tracks
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tracked(run: Run, clip: Path, tmp_path: Path) -> Path:
    """The folder that `tapetum track` wrote, with tracks that move and hide."""
    assert run("track", clip, "--model", "static", "--grid", 4, "--out", tmp_path / "tracked")[0] == 0
    return tmp_path / "tracked"


def test_shows_what_track_drew(run: Run, clip: Path, tracked: Path, tmp_path: Path) -> None:
    for name in ("tracks.npz", "tracks.csv"):
        out = tmp_path / f"{name}.mp4"
        code, stdout, stderr = run("show", tracked / name, clip, "--out", out)
        assert (code, stderr) == (0, "")
        assert "drew 16 points on 6 frames" in stdout
        assert str(out) in stdout
        again, before = open_video(out), open_video(tracked / "overlay.mp4")
        assert again.rate == before.rate
        np.testing.assert_array_equal(again[:], before[:])


@pytest.mark.parametrize(("name", "to"), [("a.csv", "dlc"), ("a.csv", "napari"), ("a.pkl", "tapvid"), ("a.json", None)])
def test_shows_other_layouts(run: Run, clip: Path, tracked: Path, tmp_path: Path, name: str, to: str | None) -> None:
    options = ["--to", to] if to else []
    assert run("convert", tracked / "tracks.npz", tmp_path / name, "--video", clip, *options)[0] == 0
    code, stdout, stderr = run("show", tmp_path / name, clip, "--out", tmp_path / "again.mp4", "--json")
    assert (code, stderr) == (0, "")
    summary = json.loads(stdout)
    assert (summary["points"], summary["frames"], summary["visible_share"]) == (16, 6, 1)
    again, before = open_video(summary["overlay"])[:], open_video(tracked / "overlay.mp4")[:]
    # a pickle's shares are float32: an edge may round the other way
    assert np.abs(again.astype(int) - before).max() <= (8 if to == "tapvid" else 0)


def test_a_gif_and_the_default_name(
    run: Run, clip: Path, tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("show", tracked / "tracks.npz", clip)[0] == 0
    assert len(open_video("clip-overlay.mp4")) == 6
    assert run("show", tracked / "tracks.npz", clip, "--out", "small.gif")[0] == 0
    assert len(open_video("small.gif")) == 6


def test_show_and_convert_load_no_torch(clip: Path, tracked: Path, tmp_path: Path) -> None:
    for arguments in (["show", tracked / "tracks.npz", clip, "--out", tmp_path / "a.mp4"],
                      ["convert", tracked / "tracks.npz", tmp_path / "a.pkl", "--video", clip]):  # fmt: skip
        code = (
            f"import sys; from tapetum.cli.main import main; code = main({[str(item) for item in arguments]!r});"
            "sys.exit(code or 'torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_convert_there_and_back(run: Run, clip: Path, tmp_path: Path) -> None:
    visible = np.array([[True, True, False, True, False, False], [False] * 6, [True] * 6])
    tracks = Tracks(
        xy=np.random.default_rng(0).random((3, 6, 2)) * [64, 48],
        visible=visible,
        confidence=np.where(visible, 0.75, 0.25),
        queries=[[0, 5, 6], [1, 7, 8], [2, 9, 9]],
    )
    source = tracks.save(tmp_path / "a.npz")
    assert run("convert", source, tmp_path / "b.csv", "--to", "dlc")[0] == 0
    code, stdout, _ = run("convert", tmp_path / "b.csv", tmp_path / "c.parquet", "--json")
    assert code == 0
    assert json.loads(stdout) == {"points": 3, "frames": 6, "tracks": str(tmp_path / "c.parquet")}
    back = Tracks.load(tmp_path / "c.parquet")
    np.testing.assert_array_equal(back.visible, visible)
    np.testing.assert_array_equal(back.xy[visible], tracks.xy[visible])
    # napari knows neither points that are never seen nor the number of frames; the video knows the latter
    visible[2, 4:] = False
    seen = Tracks(xy=tracks.xy, visible=visible, confidence=tracks.confidence, queries=tracks.queries).save(source)
    assert run("convert", seen, tmp_path / "d.csv", "--to", "napari")[0] == 0
    assert read_tracks(tmp_path / "d.csv").xy.shape == (2, 4, 2)
    assert run("convert", tmp_path / "d.csv", tmp_path / "e.npz", "--video", clip)[0] == 0
    np.testing.assert_array_equal(Tracks.load(tmp_path / "e.npz").visible, visible[[0, 2]])
