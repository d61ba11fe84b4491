"""The geometry of shapes against `support.shapes`, which draws each once more: sums over a grid, clouds of points, marching."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tapetum_world.bodies.shapes import Ground, RoundedBox, Sheet, Sphere, triangles
from tapetum_world.rendering import quadrics
from tapetum_world.rendering.trace import hit
from world_support.shapes import SHAPES, is_inside, surface_points

HOLLOW = ("cup", "bowl")
every_shape = pytest.mark.parametrize("name", SHAPES)


def cloud(shape, n=20000):
    return surface_points(shape, np.random.default_rng(5), n)


def grid(shape, cells=70):
    """A point (cells^3, 3) somewhere in each cell of a box somewhat larger than the shape, and a cell's volume."""
    reach = abs(cloud(shape)).max(0) * 1.03
    corner = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3)
    p = (corner + np.random.default_rng(4).uniform(size=corner.shape)) * 2 / cells - 1
    return p * reach, float(np.prod(2 * reach / cells))


def around(shape, n=1500):
    """Points (n, 3) in a box half as large again as the shape."""
    return np.random.default_rng(6).uniform(-1, 1, (n, 3)) * abs(cloud(shape)).max(0) * 1.5


@every_shape
def test_mass_is_the_sum_over_a_grid(name):
    shape = SHAPES[name]
    p, cell = grid(shape)
    p = p[is_inside(RoundedBox(size=shape.size) if name == "rounded box" else shape, p)]  # whose mass is the sharp box's
    volume, centre, inertia = shape.mass_properties
    assert volume == pytest.approx(len(p) * cell, rel=0.01)
    assert centre == pytest.approx(p[:, 2].mean(), abs=2e-4)
    x, y, z = (p - [0, 0, centre]).T
    summed = [(y * y + z * z).mean(), (x * x + z * z).mean(), (x * x + y * y).mean()]
    assert inertia == pytest.approx(summed, rel=0.01)


@every_shape
def test_distance_is_that_to_the_nearest_point_of_a_cloud(name):
    shape = SHAPES[name]
    p, inside = around(shape), is_inside(shape, around(shape))
    distance, hull = shape.distance(p.T), shape.hull_distance(p.T)
    assert (np.sign(distance) == np.where(inside, -1, 1)).all()
    assert (np.sign(hull) == np.sign(distance)).all()
    if name != "ellipsoid":
        nearest = cKDTree(cloud(shape, 40000)).query(p[~inside])[0]
        # to the cloud it is never less, and more by what lies between its points
        assert (distance[~inside] < nearest + 1e-9).all()
        assert (nearest - distance[~inside]).max() < 3e-3
        assert (hull <= distance + 1e-9)[~inside].all()
        assert (hull >= 0.4 * distance)[~inside].all()
    assert abs(shape.distance(cloud(shape).T)).max() < 1e-9
    assert abs(shape.hull_distance(cloud(shape).astype(np.float32).T)).max() < 1e-6
    assert shape.hull_distance(p.astype(np.float32).T).dtype == np.float32


@every_shape
def test_bounds_and_outline_reach_as_far_as_the_cloud(name):
    shape = SHAPES[name]
    points = cloud(shape)
    assert np.allclose(shape.bounds, [points.min(0), points.max(0)], atol=1e-3)
    assert shape.distance(shape.outline.T).max() < 1e-9
    way = np.random.default_rng(7).normal(size=(3, 40))
    way /= np.linalg.norm(way, axis=0)
    assert np.allclose((shape.outline @ way).max(0), (points @ way).max(0), atol=0.012 * np.ptp(points))


def marched(shape, start, way, far=1.2, steps=800):
    """First t (n,) at which start + t way is inside, by equal steps and then halves; inf for none."""
    t = np.linspace(0, far, steps)
    inside = is_inside(shape, (start + t[:, None, None] * way).reshape(-1, 3)).reshape(steps, len(way))
    met, high = inside.any(0), t[inside.argmax(0)]
    low = high - t[1]
    for _ in range(40):
        middle = (low + high) / 2
        deep = is_inside(shape, start + middle[:, None] * way)
        low, high = np.where(deep, low, middle), np.where(deep, middle, high)
    return np.where(met, high, np.inf)


STARTS = [(0.5, 0.2, 0.3), (-0.1, 0.02, 0.6), (0.2, -0.3, -0.4), (0.01, 0.02, 0.04)]
"""The last one lies within solid shapes; in the cup and above the bowl it sees the cavity."""


@pytest.mark.parametrize(
    ("name", "start"), [(name, start) for name in SHAPES for start in STARTS[: 4 if name in HOLLOW else 3]]
)
def test_rays_end_where_marching_does(name, start):
    shape, start = SHAPES[name], np.array(start)
    assert not is_inside(shape, start[None])[0]
    way = cloud(shape, 400)[:300] * np.random.default_rng(8).uniform(0.3, 1.2, (300, 1)) - start
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    wanted = marched(shape, start, way)
    exact, which = quadrics.meet(quadrics.quadric_patches(shape), start, way, 0.01)
    # rays that graze an edge may step over the material, or meet less than a step of it
    agree = np.isclose(exact, wanted, rtol=0, atol=1e-6)
    assert agree.mean() > 0.98
    assert np.isfinite(wanted).sum() > 100
    fast, part = hit(shape, tuple(start.tolist()), tuple(way.T.astype(np.float32)))
    assert np.isclose(fast, exact, rtol=0, atol=2e-4).mean() > 0.98
    rows = np.flatnonzero(agree & np.isfinite(exact) & np.isclose(fast, exact, rtol=0, atol=1e-5))
    place = start + exact[rows, None] * way[rows]
    normal = shape.normals(place.T.astype(np.float32), np.broadcast_to(part, exact.shape)[rows]).T
    assert np.allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    out, into = is_inside(shape, place + 2e-5 * normal), is_inside(shape, place - 2e-5 * normal)
    assert (into & ~out).mean() > 0.98
    assert (abs(normal - quadrics.normals(quadrics.quadric_patches(shape), which[rows], place)).max(1) < 1e-3).mean() > 0.98


@pytest.mark.parametrize("name", HOLLOW)
def test_a_cavity_is_what_the_wall_leaves(name):
    shape = SHAPES[name]
    p, cell = grid(shape)
    cavity = shape.in_cavity(p.T)
    assert not (cavity & is_inside(shape, p)).any()
    assert shape.filled_volume == pytest.approx((cavity | is_inside(shape, p)).sum() * cell, rel=0.01)
    assert (shape.distance(p[cavity].T) > 0).all()
    assert (shape.distance(p[cavity].T, filled=True) <= 0).all()
    # a wall's surface belongs to it with some slack, from the floor to the rim
    inner = cloud(shape)[(shape.distance(0.999 * cloud(shape).T) > 0) & (cloud(shape)[:, 2] < shape.bounds[1, 2] - 1e-6)]
    assert len(inner) > 1000
    assert shape.in_cavity(inner.T, 1e-4).all()
    assert not shape.in_cavity(inner.T, -1e-4).any()
    rim = shape.opening
    assert rim.height == shape.bounds[1, 2]
    assert is_inside(shape, np.array([[(rim.inner_radius + rim.radius) / 2, 0, rim.height - 1e-6]]))[0]


def test_triangles_of_a_sheet_cover_it():
    sheet = Sheet(size=(0.3, 0.2), grid=(4, 6))
    corner = np.pad(sheet.flat_places.reshape(-1, 2), ((0, 0), (0, 1)))[triangles(*sheet.grid)]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert (cross[:, 2] > 0).all()
    assert cross[:, 2].sum() / 2 == pytest.approx(0.06)
    assert sheet.flat_places[1, 0] == pytest.approx((-0.15, -0.1 + 0.2 / 3))


def test_the_ground_is_a_plane_seen_from_above():
    way = np.array([[0.1, 0.2], [0.3, 0.1], [-1, 0.5]], np.float32)
    assert hit(Ground(), (0, 0, 2.0), tuple(way))[0] == pytest.approx([2, np.inf])
    assert hit(Ground(), (0, 0, -2.0), tuple(way))[0] == pytest.approx([np.inf, np.inf])
    assert Ground().distance(np.array([[1.0], [2], [3]])) == pytest.approx([3])


def test_numbers_of_numpy_become_plain_ones():
    ball, box = Sphere(radius=np.float64(0.1)), RoundedBox(size=tuple(np.array([0.1, 0.2, 0.3])))
    point = np.zeros((3, 1), np.float32)
    assert ball.distance(point).dtype == box.distance(point).dtype == np.float32
