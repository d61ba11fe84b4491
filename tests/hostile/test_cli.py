"""Bad videos, bad points and bad places: one clear line, exit code 2, nothing half-written."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tapetum

Run = Callable[..., tuple[int, str, str]]


def refused(run: Run, folder: Path, *arguments: object) -> str:
    """Run `tapetum track` into `folder`/out; check that it fails as it should; give the line."""
    out = folder / "out"
    before = sorted(folder.rglob("*"))
    code, stdout, stderr = run("track", *arguments, "--model", "static", "--out", out)
    assert (code, stdout) == (2, ""), stderr
    assert stderr.startswith("tapetum: ")
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr
    assert sorted(folder.rglob("*")) == before, "something was left behind"
    return stderr


def test_no_file(run: Run, tmp_path: Path) -> None:
    assert "there is no file" in refused(run, tmp_path, tmp_path / "clip.mp4")


def test_bad_queries(run: Run, tmp_path: Path, clip: Path) -> None:
    for query, message in [
        ("nan,1,1", "NaN or infinity"),
        ("0,65,1", "outside the image of 64x48"),
        ("6,1,1", r"frame 6 is not in the video, which has 6 frames (0 to 5)"),
        ("", "--query is followed by an empty word"),
    ]:
        assert message in refused(run, tmp_path, clip, "--query", "0,1,1", "--query", query)


def test_bad_tables_of_points(run: Run, tmp_path: Path, clip: Path) -> None:
    for content, message in [
        (b"", "begins with the header ''"),
        (b"t,x,y\n", "holds no points"),
        (b"t,x,y\n0,1,1\n0,one,1\n", "line 3 of"),
        (b"t,x,y\n0,1,1\n\n9,1,1\n", "line 4 of"),
        (b"\xff\xfe\x00", "not text"),
    ]:
        table = tmp_path / "points.csv"
        table.write_bytes(content)
        assert message in refused(run, tmp_path, clip, "--points", table)


def test_bad_options(run: Run, tmp_path: Path, clip: Path) -> None:
    for arguments, message in [
        (["--grid", "0"], "from 1 to 1000"),
        (["--frame", "6"], "frame 6 is not in the video"),
        (["--grid", "3", "--query", "0,1,1"], "choose a grid"),
    ]:
        assert message in refused(run, tmp_path, clip, *arguments)


def test_out_is_a_file(run: Run, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert "is a file" in refused(run, tmp_path, clip)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 500, 4000])
def test_a_disk_that_fills(tmp_path: Path, clip: Path, limit: int) -> None:
    """A limit on the size of files stands for the full disk; it strikes in the npz, the csv or the mp4."""
    tapetum.track(clip, model="static", grid=1, out=tmp_path / "old")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for out in (tmp_path / "new", tmp_path / "old"):
        result = subprocess.run(
            [sys.executable, "-m", "tapetum.app.shell.main", "track", str(clip), "--model", "static", "--out", str(out)],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.returncode, result.stdout) == (2, "")
        assert "the disk is full" in result.stderr
        assert result.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def _interrupted(place: str, how: str, *arguments: object) -> tuple[int, str, str]:
    """Run a command in which Ctrl-C is pressed at `place`: in a process of its own, which a test of signals may end."""
    script = Path(__file__).parents[1] / "support" / "interrupted.py"
    command = [sys.executable, str(script), place, how, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("place", "how"),
    [
        ("tapetum.video.open_video", "swallowed"),
        ("tapetum.app.track.track_files.save", "another_error"),
        ("tapetum.app.shell.parsing.parse", "unraisable"),
        ("tapetum.app.track.track_files.save", "twice"),
    ],
)
def test_an_interrupt_that_is_swallowed_or_comes_twice_is_heeded(tmp_path: Path, clip: Path, place: str, how: str) -> None:
    arguments = "track", clip, "--model", "static", "--out", tmp_path / "out"
    assert _interrupted(place, how, *arguments) == (130, "default_int_handler\n", "tapetum: interrupted\n")
    assert not list(tmp_path.iterdir())
