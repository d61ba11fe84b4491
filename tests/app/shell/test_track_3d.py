"""`tapetum track --3d` with the tracker that needs no weights: files, cameras, views, and options that do not fit."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.files import listed
from tapetum.types import Tracks3D

Run = Callable[..., tuple[int, str, str]]


def test_static_points_in_space_by_depth_files(run: Run, clip: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "depth.npz", depth=np.full((6, 24, 32), 2.0, np.float32))
    options = ["--3d", "--depth", tmp_path / "depth.npz", "--intrinsics", "50,50,32,24", "--json"]
    code, stdout, stderr = run("track", clip, "--model", "static", "--grid", 2, "--out", tmp_path / "out", *options)
    said = "tapetum: depth map 0 is 32x24, the video 64x48: maps are taken to show the whole image\n"
    assert (code, stderr) == (0, said)
    summary = json.loads(stdout)
    assert summary["metric"] is True
    assert summary["intrinsics"] == [50, 50, 32, 24]
    names = ["overlay.mp4", "tracks.csv", "tracks.npz", "tracks3d.csv", "tracks3d.npz"]
    assert listed(tmp_path / "out") == names
    tracks = Tracks3D.load(summary["tracks3d"])
    np.testing.assert_allclose(tracks.xyz[0], np.tile([(16 - 32) / 50 * 2, (12 - 24) / 50 * 2, 2], (6, 1)), rtol=1e-6)
    np.testing.assert_array_equal(Tracks3D.load(summary["table3d"]).xyz, tracks.xyz)


def test_a_camera_that_is_not_given_is_guessed_and_said(run: Run, clip: Path, tmp_path: Path) -> None:
    code, stdout, stderr = run("track", clip, "--model", "static", "--3d", "--out", tmp_path)
    assert code == 0
    assert "no --intrinsics were given" in stderr
    assert "unknown unit" in stdout


def test_where_there_is_no_depth_the_tracks_in_the_image_are_kept(run: Run, clip: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "depth.npz", depth=np.ones((5, 24, 32), np.float32))
    options = ["--3d", "--depth", tmp_path / "depth.npz", "--intrinsics", "50,50,32,24"]
    code, stdout, stderr = run("track", clip, "--model", "static", "--out", tmp_path / "out", *options)
    assert (code, stdout) == (2, "")
    assert "has 5 depth maps for a video of 6 frames" in stderr
    assert "the tracks in the image are in" in stderr
    assert listed(tmp_path / "out") == ["overlay.mp4", "tracks.csv", "tracks.npz"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--intrinsics", "1,2,3,4"], "--intrinsics belongs to --3d"),
        (["--view", "rerun"], "--view rerun shows points in space; add --3d"),
        (["--3d", "--intrinsics", "1,2,3"], "fx,fy,cx,cy in pixels"),
        (["--3d", "--depth", "gone"], "there is no depth gone"),
    ],
)
def test_options_that_do_not_fit_are_refused(run: Run, clip: Path, tmp_path: Path, options: list, match: str) -> None:
    code, stdout, stderr = run("track", clip, "--model", "static", "--out", tmp_path / "out", *options)
    assert (code, stdout) == (2, "")
    assert match in stderr
    assert stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
