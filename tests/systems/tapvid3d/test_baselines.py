"""The static baseline."""

import numpy as np

from tapetum.systems.tapvid3d.baselines import Static3D
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
