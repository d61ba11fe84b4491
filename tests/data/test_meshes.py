"""Points on the surfaces of meshes whose triangles are not alike."""

import numpy as np

from tapetum.data.meshes import on_surface

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [3, 0, 5], [0, 3, 5]], np.float32)
FACES = np.array([[0, 1, 2], [3, 4, 5], [0, 3, 0]])
"""Areas of 1/2, 9/2 and 0."""


def test_a_triangle_has_points_by_its_area() -> None:
    points = on_surface(VERTICES, FACES, 4000, np.random.default_rng(0))
    large = points[:, 2] == 5
    assert set(points[:, 2].tolist()) == {0.0, 5.0}
    assert abs(large.mean() - 0.9) < 0.02
    for triangle, side in ((points[~large], 1), (points[large], 3)):  # x and y have the mean of a triangle's corners
        assert (triangle[:, :2].sum(1) <= side * (1 + 1e-6)).all()
        np.testing.assert_allclose(triangle[:, :2].mean(0), side / 3, atol=0.05)


def test_without_any_area_the_points_are_the_corners() -> None:
    points = on_surface(VERTICES, FACES[2:], 50, np.random.default_rng(0))
    assert (points[:, :2] == 0).all()
    assert ((points[:, 2] >= 0) & (points[:, 2] <= 5)).all()
