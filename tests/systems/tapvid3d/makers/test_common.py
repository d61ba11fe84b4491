"""What the makers of TAPVid-3D share, against scipy and against what follows from its definition."""

from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.data import read_clip
from tapetum.systems.tapvid3d.geometry import project, unproject
from tapetum.systems.tapvid3d.makers.common import ClipJob, depth_test, fails, generator, pixel_centres, random_queries, run
from tapetum.video.images import encode_jpeg

K = (50.0, 60.0, 20.0, 15.0)


def test_queries_are_spread_evenly_over_the_visible_frames():
    visible = np.zeros((6, 4000), bool)
    visible[[1, 2, 5]] = True
    visible[:, 7] = False
    rng = np.random.default_rng(0)
    tracks = unproject(rng.uniform(0, 30, (6, 4000, 2)), rng.uniform(1, 2, (6, 4000)), K)
    queries, track = random_queries(tracks, visible, K, rng)
    assert track.tolist() == [n for n in range(4000) if n != 7]
    frame = queries[:, 2].astype(int)
    assert np.allclose(queries[:, :2], project(tracks[frame, track], K), atol=1e-12)
    count = np.bincount(frame, minlength=6)
    assert count[[0, 3, 4]].sum() == 0
    assert abs(count[[1, 2, 5]] - 1333).max() < 4 * np.sqrt(1333 * 2 / 3)  # four standard deviations


def test_seeds_are_different_pixels_of_the_mask():
    seen = np.random.default_rng(0).random((3, 5, 7)) < 0.4
    few, all_there_are = (pixel_centres(seen, n, np.random.default_rng(1)) for n in (10, 1000))
    assert len(few) == 10
    assert len(np.unique(all_there_are, axis=0)) == seen.sum()
    column, row, frame = (all_there_are - [0.5, 0.5, 0]).astype(int).T
    assert seen[frame, row, column].all()


def test_depth_test_at_its_limits():
    depth = [np.full((30, 40), 2.0)]
    spots = [
        [20, 15, 2.0],
        [20, 15, 2.0199],
        [20, 15, 2.0201],
        [20, 15, 1.9801],
        [20, 15, 1.9799],
        [0, 15, 2],
        [40, 15, 2],
        [20, 30, 2],
    ]
    xy, z = np.array(spots)[:, :2], np.array(spots)[:, 2]
    tracks = unproject(xy, z, K)[None]
    assert depth_test(tracks, depth, K, 0.02)[0].tolist() == [True, True, False, True, False, False, False, False]
    behind = -tracks
    assert not depth_test(behind, depth, K, 0.02).any()
    assert not depth_test(tracks, [np.full((30, 40), np.inf)], K, 0.02).any()


def arrays(n: int = 2) -> dict:
    tracks = np.tile([0.1, 0.2, 3.0], (4, n, 1))
    return {
        "images_jpeg_bytes": [encode_jpeg(np.zeros((30, 40, 3), np.uint8))] * 4,
        "queries_xyt": np.concatenate([project(tracks[0], K), np.zeros((n, 1))], 1),
        "tracks_XYZ": tracks,
        "visibility": np.ones((4, n), bool),
        "fx_fy_cx_cy": np.array(K),
    }


def test_one_that_fails_stops_no_other_and_what_is_there_is_kept(tmp_path: Path):
    out = tmp_path / "out"
    jobs = [
        ClipJob("a", arrays),
        fails("b", BadInput("b is damaged")),
        ClipJob("c", lambda: arrays(0)),
        ClipJob("no camera", lambda: {**arrays(), "fx_fy_cx_cy": np.zeros(4)}),
        ClipJob("d", arrays),
    ]
    report = run(jobs, out)
    assert (report.made, report.kept, report.empty) == (["a", "d"], [], ["c"])
    assert report.failed["b"] == "b is damaged"
    assert "focal lengths" in report.failed["no camera"]
    assert sorted(file.name for file in out.iterdir()) == ["a.npz", "d.npz"]
    assert read_clip(out / "a.npz").size == (30, 40)
    before = (out / "a.npz").stat().st_mtime_ns
    again = run(jobs, out)
    assert (again.made, again.kept) == ([], ["a", "d"])
    assert (out / "a.npz").stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write"):
        run([], tmp_path / "file" / "out")


def test_random_numbers_belong_to_the_name_and_the_seed():
    draws = [generator(seed, name).random() for seed, name in ((0, "a"), (0, "a"), (0, "b"), (1, "a"))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3
