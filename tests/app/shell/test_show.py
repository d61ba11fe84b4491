"""`tapetum show` draws what `tapetum track` drew; `tapetum convert` goes between layouts."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

import tapetum
from tapetum.types import Tracks
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tracked(run: Run, clip: Path, tmp_path: Path) -> Path:
    """A folder that `tapetum track` wrote, of points that stay where they are."""
    assert run("track", clip, "--model", "static", "--grid", 4, "--out", tmp_path / "tracked")[0] == 0
    return tmp_path / "tracked"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """For each video written from now on, the frames that went to the encoder, which is not the same from run to run."""
    import tapetum.video

    videos: list[np.ndarray] = []
    write = tapetum.video.write_video

    def spy(path: Path, frames: Iterable[np.ndarray], frame_rate: float, *, dither: bool = True) -> Path:
        assert frame_rate == 10
        videos.append(np.array(list(frames)))
        return write(path, videos[-1], frame_rate)

    monkeypatch.setattr(tapetum.video, "write_video", spy)
    return videos


@pytest.mark.slow
def test_shows_what_track_drew(run: Run, clip: Path, tmp_path: Path, drawn: list[np.ndarray]) -> None:
    assert run("track", clip, "--model", "tapir-nano", "--grid", 5, "--out", tmp_path)[0] == 0
    tracks = Tracks.load(tmp_path / "tracks.npz")
    assert 0 < tracks.visible.mean() < 1, "some points should hide, to be drawn as rings"
    assert np.ptp(tracks.xy, axis=1).max() > 5, "some points should move, to leave a trail"
    for name in ("tracks.npz", "tracks.csv"):
        out = tmp_path / f"{name}.mp4"
        code, stdout, stderr = run("show", tmp_path / name, clip, "--out", out)
        assert (code, stderr) == (0, "")
        assert "drew 25 points on 6 frames" in stdout
        assert str(out) in stdout
        np.testing.assert_array_equal(drawn[-1], drawn[0])
        again, before = open_video(out), open_video(tmp_path / "overlay.mp4")
        assert (len(again), again.width, again.height, again.frame_rate) == (6, 64, 48, 10)
        assert np.abs(again[:].astype(int) - before[:]).mean() < 4
    assert len(drawn) == 3


@pytest.mark.parametrize(("name", "to"), [("a.csv", "dlc"), ("a.csv", "napari"), ("a.pkl", "tapvid"), ("a.json", None)])
def test_shows_other_layouts(run: Run, clip: Path, tmp_path: Path, drawn: list[np.ndarray], name: str, to: str | None) -> None:
    assert run("track", clip, "--model", "static", "--grid", 4, "--out", tmp_path)[0] == 0
    options = ["--to", to] if to else []
    assert run("convert", tmp_path / "tracks.npz", tmp_path / name, "--video", clip, *options)[0] == 0
    code, stdout, stderr = run("show", tmp_path / name, clip, "--out", tmp_path / "again.mp4", "--json")
    assert (code, stderr) == (0, "")
    summary = json.loads(stdout)
    assert (summary["points"], summary["frames"], summary["visible_share"]) == (16, 6, 1)
    assert len(open_video(summary["overlay"])) == 6
    # a pickle's shares are float32: the edge of a dot may round the other way
    assert np.abs(drawn[1].astype(int) - drawn[0]).max() <= (1 if to == "tapvid" else 0)


def test_a_gif_and_the_default_name(
    run: Run, clip: Path, tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("show", tracked / "tracks.npz", clip)[0] == 0
    assert len(open_video("clip-overlay.mp4")) == 6
    assert run("show", tracked / "tracks.npz", clip, "--out", "small.gif")[0] == 0
    assert len(open_video("small.gif")) == 6


@pytest.mark.slow
def test_show_and_convert_load_no_torch(clip: Path, tracked: Path, tmp_path: Path) -> None:
    for arguments in (["show", tracked / "tracks.npz", clip, "--out", tmp_path / "a.mp4"],
                      ["convert", tracked / "tracks.npz", tmp_path / "a.pkl", "--video", clip]):  # fmt: skip
        code = (
            f"import sys; from tapetum.app.shell.main import main; code = main({[str(item) for item in arguments]!r});"
            "sys.exit(code or 'torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_a_video_or_tracks_given_alone_or_the_wrong_way_round(run: Run, clip: Path, tmp_path: Path) -> None:
    tracks = tmp_path / "tracks.npz"
    tapetum.track(clip, model="static", grid=1).tracks.save(tracks)
    for words, line in (
        (
            (clip,),
            f"{clip} is a video, and tracks are drawn on it: tapetum show TRACKS {clip}; tapetum track {clip} makes them",
        ),
        ((tmp_path,), f"{tmp_path} is a video, and tracks are drawn on it: tapetum show TRACKS"),
        ((tracks,), f"give the video that the tracks come from too: tapetum show {tracks} VIDEO"),
        ((clip, tracks), f"{clip} is a video: tracks come first, as in: tapetum show {tracks} {clip}"),
    ):
        code, out, error = run("show", *words)
        assert (code, out, error.count("\n")) == (2, "", 1)
        assert error.startswith(f"tapetum: {line}")
