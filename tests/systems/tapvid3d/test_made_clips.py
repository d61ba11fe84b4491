"""Scenes written as clips agree with themselves, with their depth maps and with what static tracking must score."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapetum.bench.tapvid3d import evaluate
from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.baselines import Static3D
from tapetum.systems.tapvid3d.check import check
from tapetum.systems.tapvid3d.data import depth_path, read_clip, read_depth
from tapetum.systems.tapvid3d.depth import sample_depth
from tapetum.systems.tapvid3d.geometry import project, transform
from tapetum.systems.tapvid3d.made_clips import write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_scenes(tmp_path_factory.mktemp("scenes"), 2, seed=5, size=64, frames=6, points=96, depth=True)


def test_nothing_is_wrong_with_them(scenes: list[Path]) -> None:
    report = check(scenes[0].parent)
    assert report["findings"] == []
    assert report["sources"]["clips"] | {"visible": 0} == {
        "wanted": 2,
        "clips": 2,
        "with_frames": 2,
        "frames": 12,
        "tracks": 192,
        "visible": 0,
    }


def test_queries_lie_on_visible_points_at_frames_of_every_number(scenes: list[Path]) -> None:
    frames = []
    for path in scenes:
        clip = read_clip(path)
        frame = clip.queries_xyt[:, 2].astype(int)
        frames.extend(frame)
        assert clip.visibility[frame, np.arange(clip.points)].all()
        xy = project(clip.tracks_XYZ[frame, np.arange(clip.points)], clip.fx_fy_cx_cy)
        np.testing.assert_allclose(xy, clip.queries_xyt[:, :2], atol=1e-9)
    assert set(frames) == set(range(6))


def test_depth_maps_hold_the_depth_of_visible_points(scenes: list[Path]) -> None:
    for path in scenes:
        clip = read_clip(path)
        depth = read_depth(depth_path(path), (6, 64, 64))
        for frame in range(6):
            seen = clip.visibility[frame]
            xyz = clip.tracks_XYZ[frame, seen]
            xy = project(xyz, clip.fx_fy_cx_cy)
            error = np.abs(sample_depth(depth[frame], xy, (64, 64)) / xyz[:, 2] - 1)
            assert np.median(error) < 0.01
            assert (error < 0.05).mean() > 0.85  # the rest lies within a pixel of an edge


def test_poses_hold_the_background_still(scenes: list[Path]) -> None:
    """Most points of a scene belong to the background or move slowly; a wrong pose would move them all."""
    clip = read_clip(scenes[0])
    assert clip.extrinsics_w2c is not None
    world = transform(np.linalg.inv(clip.extrinsics_w2c), clip.tracks_XYZ)
    spread = np.ptp(world, axis=0).max(axis=-1)
    assert np.count_nonzero(spread < 1e-4) > 10
    assert np.ptp(clip.tracks_XYZ, axis=0).max(axis=-1).min() > 1e-2


def test_the_same_seed_writes_the_same(scenes: list[Path], tmp_path: Path) -> None:
    [again] = write_scenes(tmp_path, 1, seed=5, size=64, frames=6, points=96)
    for name in ("tracks_XYZ", "visibility", "queries_xyt", "fx_fy_cx_cy", "extrinsics_w2c"):
        np.testing.assert_array_equal(getattr(read_clip(again), name), getattr(read_clip(scenes[0]), name))
    np.testing.assert_array_equal(read_clip(again).video(), read_clip(scenes[0]).video())
    assert not depth_path(again).exists()


def test_static_with_true_depth_needs_no_rescaling_at_the_query(scenes: list[Path]) -> None:
    folder = scenes[0].parent
    scores = evaluate(folder, load=Static3D, true_depth=True, scalings=("none", "per_trajectory", "reproduce_2d"))["scalings"]
    none, per_track, flat = (scores[mode]["average"]["average_pts_within_thresh"] for mode in scores)
    assert 0 < none <= per_track * 1.05
    assert per_track < flat < 1
    seen = np.mean([read_clip(path).visibility.mean() for path in scenes])
    assert scores["none"]["average"]["occlusion_accuracy"] == pytest.approx(seen)


@pytest.mark.slow
def test_what_was_interrupted_goes_on_and_never_mixes_with_another(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    tiny: dict[str, Any] = {"size": 32, "frames": 2, "points": 4, "depth": True}
    whole = write_scenes(tmp_path / "whole", 3, **tiny)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "cut", 3, **tiny, progress=stop)
    with pytest.raises(BadInput, match="holds 2 scenes of a run with --n 3 that was not finished"):
        write_scenes(tmp_path / "cut", 1, **tiny)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("scene-*")}
    assert len(kept) == 4
    cut = write_scenes(tmp_path / "cut", 3, **tiny)
    assert {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in kept} == kept
    assert [path.name for path in sorted(cut[0].parent.iterdir())] == [p.name for p in sorted(whole[0].parent.iterdir())]
    for ours, theirs in zip(cut, whole, strict=True):
        np.testing.assert_array_equal(read_clip(ours).tracks_XYZ, read_clip(theirs).tracks_XYZ)


def test_requests_that_are_refused(scenes: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="already holds scenes"):
        write_scenes(scenes[0].parent, 1)
    with pytest.raises(BadInput, match="0 clips"):
        write_scenes(tmp_path, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write"):
        write_scenes(tmp_path / "file", 1)
