"""Bad files of tracks, in every layout: one clear line, exit code 2, nothing half-written and nothing run."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapetum.core.errors import BadInput
from tapetum.tracks.exchange import read_tracks
from tapetum.types import Tracks

Run = Callable[..., tuple[int, str, str]]


def refused(run: Run, folder: Path, *arguments: object) -> str:
    """Run a command line; check that it fails as it should and leaves nothing; give the line."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, ""), stderr
    assert stderr.startswith("tapetum: ")
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "something was left behind or changed"
    return stderr


def still(t: int = 6, x: float = 5) -> Tracks:
    return Tracks(xy=np.full((1, t, 2), x), visible=np.ones((1, t)) > 0, confidence=np.ones((1, t)), queries=[[0, x, 5]])


DLC = "scorer,me,me,me\nbodyparts,a,a,a\ncoords,x,y,likelihood\n"

CSV = [
    ("", "is empty"),
    (b"\xff\xfe\x00\x01", "is not text"),
    ("point,frame,x,y,visible,confidence\n0,0,1,1,1,1\n", "no column 'query_t'"),
    ("index,axis-0,axis-1,axis-2\n0,0,1,1\n", "layer of napari without track ids"),
    # DeepLabCut
    ("scorer,me\n", "begins with the rows scorer; a table of DeepLabCut begins with"),
    (DLC, "a header and no rows"),
    ("scorer,me,me\nbodyparts,a,a\ncoords,x,z\n0,1,1\n", "has x, z for a; give x, y and likelihood"),
    ("scorer,me,me,me\nbodyparts,a,a,a\ncoords,x,y,x\n0,1,1,1\n", "has x of a twice"),
    (DLC + "0,1,1\n", "line 4 of", "3 columns, but the first has 4"),
    (DLC + "0,one,1,1\n", "line 4 of", "'one'; give a number of pixels"),
    (DLC + "0.5,1,1,1\n", "'0.5' for the frame"),
    (DLC + "labeled-data/mouse/img01.png,1,1,1\n", "labels of single images are no tracks"),
    # napari
    ("ID,T,Y,X\n0,0,,1\n", "line 2 of", "lacks x or y"),
    ("ID,T,Y,X\n0,0,1,1\n0,0,2,2\n", "line 3 of", "another row for track 0 in frame 0"),
    ("ID,T,Z,Y,X\n0,0,0,1,1\n0,1,1,1,1\n", "a volume"),
    ("ID,T,Y,X\n" + "".join(f"{i},9999999,1,1\n" for i in range(20)), "20 points in 10000000 frames", "is it damaged?"),
]


def test_bad_tables(run: Run, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    for content, *messages in CSV:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(BadInput) as caught:
            read_tracks(path)
        assert "\n" not in str(caught.value)
        assert all(message in str(caught.value) for message in [*messages, "bad.csv"]), (content, caught.value)
    for arguments in (("convert", path, tmp_path / "out.npz"), ("show", path, clip, "--out", tmp_path / "out.mp4")):
        assert "is it damaged?" in refused(run, tmp_path, *arguments)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from(["", DLC, "ID,T,Y,X\n", "point,frame,x,y,visible,confidence,query_t,query_x,query_y\n", "scorer,"]),
    body=st.text(alphabet='0123456789.,-e\n"nai\x00x', max_size=60) | st.text(max_size=20),
)
def test_any_text_is_tracks_or_one_line(tmp_path: Path, head: str, body: str) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes((head + body).encode("utf-8", "surrogatepass"))
    try:
        tracks = read_tracks(path)
    except BadInput as error:
        message = str(error)
    else:
        message = ""
        assert np.isfinite(tracks.xy).all()
    assert "\n" not in message


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.path.join(os.environ["TAPETUM_TEST_FOLDER"], "hacked"),)


def test_pickles_that_would_run_code(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_TEST_FOLDER", str(tmp_path))
    for content in (Evil(), {"clip": Evil()}, {"clip": {"video": Evil(), "points": Evil(), "occluded": Evil()}}):
        path = tmp_path / "evil.pkl"
        path.write_bytes(pickle.dumps(content))
        assert "mkdir; only numpy arrays" in refused(run, tmp_path, "convert", path, tmp_path / "out.npz")
    assert not (tmp_path / "hacked").exists()


def test_bad_pickles(run: Run, tmp_path: Path) -> None:
    for content, message in [
        (b"", "is empty"),
        (b"hello", "not a whole pickle"),
        (pickle.dumps([1, 2, 3]), "is a int"),
        (pickle.dumps({"a": {"video": 1}}), "missing"),
        (pickle.dumps({}), "an empty dict"),
        (
            pickle.dumps({"a": {"video": [b"no"], "points": np.zeros((1, 1, 2)), "occluded": np.zeros((1, 1), bool)}}),
            "no whole image",
        ),
    ]:
        path = tmp_path / "bad.pkl"
        path.write_bytes(content)
        assert message in refused(run, tmp_path, "convert", path, tmp_path / "out.npz")


def test_no_such_tracks(run: Run, clip: Path, tmp_path: Path) -> None:
    for name, message in [
        ("nothing.npz", "No such file"),
        ("nothing.pkl", "there is no file"),
        ("nothing.h5", "is HDF5, which is not read"),
        ("folder.csv", "Is a directory"),
    ]:
        if name.startswith("folder"):
            (tmp_path / name).mkdir()
        assert message in refused(run, tmp_path, "show", tmp_path / name, clip, "--out", tmp_path / "out.mp4")


def test_tracks_of_another_video(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    long = still(7).save(tmp_path / "long.npz")
    assert "the tracks have 7 frames but clip.mp4 has 6" in refused(run, tmp_path, "show", long, clip, "--out", out)
    wide = still(6, 100).save(tmp_path / "wide.npz")
    assert "starts at 100,5, outside the 64x48 pixels of clip.mp4" in refused(run, tmp_path, "show", wide, clip, "--out", out)


def test_bad_places(run: Run, clip: Path, tmp_path: Path) -> None:
    tracks = still().save(tmp_path / "a.npz")
    np.save(tmp_path / "clip.npy", np.zeros((6, 48, 64, 3), np.uint8))
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(clip)
    for arguments, message in (
        (("show", tracks, clip, "--out", tmp_path / "a.txt"), "written as .mp4, .webm or .gif"),
        (("show", tracks, clip, "--out", tmp_path / "folder.mp4"), "is a folder"),
        (("show", tracks, clip, "--out", tmp_path / "link.mp4"), "would be overwritten"),
        (("convert", tracks, tracks), "would be overwritten"),
        (("convert", tracks, tmp_path / "a.txt"), "extension '.txt'"),
        (("convert", tracks, tmp_path / "a.npz2", "--to", "dlc"), "is written as .csv"),
        (("convert", tracks, tmp_path / "a.pkl"), "needs the video, for its frames"),
        (("convert", tracks, tmp_path / "b.csv", "--name", "bear"), "for TAP-Vid pickles"),
    ):
        assert message in refused(run, tmp_path, *arguments)
