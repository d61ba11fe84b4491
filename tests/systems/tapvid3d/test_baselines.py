"""The static baseline, and forward-only trackers run both ways."""

from typing import Any

import numpy as np
import pytest

from tapetum.systems.tapvid3d.baselines import PointArrays, Static3D, both_ways
from tapetum.systems.tapvid3d.geometry import project

CAMERA = np.array([100.0, 100, 32, 24])
QUERIES = np.array([[10.5, 20.5, 0], [40.25, 30.0, 3], [32.0, 24.0, 5]])
VIDEO = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)


def test_static_stays_on_its_query_with_the_depth_of_its_pixel() -> None:
    depth = np.full((6, 48, 64), 9.0, np.float32)
    depth[0, 20, 10], depth[3, 30, 40], depth[5, 24, 32] = 2.0, 3.0, np.nan
    for maps, expected in ((depth, [2, 3, 2.5]), (np.zeros_like(depth), [1, 1, 1]), (None, [1, 1, 1])):
        points = Static3D().track(VIDEO, QUERIES, CAMERA, maps)
        assert points.xyz.shape == (3, 6, 3)
        np.testing.assert_allclose(points.xyz[:, :, 2], np.repeat(np.array(expected)[:, None], 6, axis=1))
        np.testing.assert_allclose(project(points.xyz[:, 4], CAMERA), QUERIES[:, :2])
        assert points.visible.all()


def forward_only(video: np.ndarray, queries_xyt: np.ndarray, intrinsics: np.ndarray, depth: Any) -> PointArrays:
    """Reads X off the image and Z off the depth from the query's frame on; nonsense before it."""
    later = np.arange(len(video)) >= queries_xyt[:, 2:]
    xyz = np.zeros((len(queries_xyt), len(video), 3))
    xyz[..., 0], xyz[..., 1], xyz[..., 2] = video[:, 0, 0, 0], queries_xyt[:, :1], depth[:, 0, 0]
    return PointArrays(np.where(later[..., None], xyz, -99), later & (video[:, 0, 0, 0] != 4))


def test_both_ways_is_right_before_and_after_the_query() -> None:
    depth = np.arange(6.0)[:, None, None] * np.ones((1, 48, 64)) + 10
    points = both_ways(forward_only)(VIDEO, QUERIES, CAMERA, depth)
    for n, (x, _, _) in enumerate(QUERIES):
        np.testing.assert_array_equal(points.xyz[n], np.stack([np.arange(6), np.full(6, x), np.arange(6) + 10], axis=1))
    np.testing.assert_array_equal(points.visible, np.tile(np.arange(6) != 4, (3, 1)))


def test_the_query_frame_is_the_forward_run_s() -> None:
    def marked(video: np.ndarray, queries_xyt: np.ndarray, intrinsics: Any, depth: Any) -> PointArrays:
        forward = video[0, 0, 0, 0] == 0
        assert depth is None
        assert video.flags.c_contiguous
        return PointArrays(np.full((3, 6, 3), 1.0 if forward else -1.0), np.full((3, 6), forward))

    points = both_ways(marked)(VIDEO, QUERIES, CAMERA)
    np.testing.assert_array_equal(points.visible, np.arange(6) >= QUERIES[:, 2:])
    assert points.xyz[1, :, 0].tolist() == [-1, -1, -1, 1, 1, 1]


def test_static_is_a_fixed_point_of_both_ways() -> None:
    once, twice = Static3D().track(VIDEO, QUERIES, CAMERA), both_ways(Static3D().track)(VIDEO, QUERIES, CAMERA)
    assert twice.xyz == pytest.approx(once.xyz)
    assert twice.visible.all()
