"""Where bodies are in camera coordinates at any moment, also between two stored ones, and which pixels may show them."""

from dataclasses import dataclass

import numpy as np

from tapetum.scenes.bodies.episode import Episode
from tapetum.scenes.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, Ground, RoundedBox, Shape, Sheet, Sphere
from tapetum.scenes.types import F64

NEAR = 0.01
"""Nothing nearer to the camera than this is seen, in metres."""
Window = tuple[int, int, int, int]
"""Pixels x0, x1, y0, y1; the second of each pair is not in it."""


@dataclass(frozen=True, eq=False)
class View:
    """One moment as the camera sees it."""

    rotation: F64
    """(n, 3, 3) from each body to the camera."""
    origin: F64
    """(n, 3) of each body in camera coordinates."""
    intrinsics: F64
    """(4,) fx, fy, cx, cy."""
    world: F64
    """(4, 4) world to camera."""
    sheets: dict[int, F64]
    """By body: (rows, columns, 3) points in camera coordinates."""

    def centre(self, body: int) -> F64:
        """Give the place of the camera in a body's coordinates."""
        return -self.rotation[body].T @ self.origin[body]


def view_at(episode: Episode, moment: float) -> View:
    """Interpolate everything at a moment, which may be a fraction and a little outside the stored ones (then extrapolated)."""
    k = len(episode.poses)
    first = int(np.clip(np.floor(moment), 0, max(k - 2, 0)))
    second = min(first + 1, k - 1)
    part = moment - first

    def between(values: F64) -> F64:
        if part == 0 or second == first:
            return values[first]
        return (1 - part) * values[first] + part * values[second]

    camera = episode.camera
    world = np.array(between(camera.world_to_camera))
    if part != 0:
        u, _, v = np.linalg.svd(world[:3, :3])
        world[:3, :3] = u @ v
    a, b = episode.poses[first, :, 3:], episode.poses[second, :, 3:]
    b = np.where((a * b).sum(-1, keepdims=True) < 0, -b, b)
    turn = a if part == 0 else (1 - part) * a + part * b
    rotation = world[:3, :3] @ matrices(turn)
    origin = between(episode.poses[..., :3]) @ world[:3, :3].T + world[:3, 3]
    sheets = {i: between(points) @ world[:3, :3].T + world[:3, 3] for i, points in episode.sheets.items()}
    return View(rotation, origin, between(camera.intrinsics), world, sheets)


def matrices(quaternions: F64) -> F64:
    """Return rotation matrices (..., 3, 3) of quaternions (..., 4), w first, of any length but 0."""
    w, x, y, z = np.moveaxis(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def bounds(shape: Shape) -> F64:
    """Return the lower and upper corner (2, 3) of the smallest box around a shape, in its own coordinates."""
    match shape:
        case Sphere(radius=r):
            upper = (r, r, r)
        case Ellipsoid(radii=radii):
            upper = radii
        case Capsule(radius=r, length=length):
            upper = (r, r, length / 2 + r)
        case Cylinder(radius=r, height=h) | Cone(radius=r, height=h):
            upper = (r, r, h / 2)
        case RoundedBox(size=(x, y, z)):
            upper = (x / 2, y / 2, z / 2)
        case Cup():
            r = max(shape.radius_bottom, shape.radius_top)
            upper = (r, r, shape.height / 2)
        case Bowl(radius=r):
            return np.array([(-r, -r, -r), (r, r, 0.0)])
        case Sheet(size=(w, h)):
            upper = (w / 2, h / 2, 0.0)
        case Ground():
            upper = (np.inf, np.inf, 0.0)
    return np.array([[-v for v in upper], upper])


def window(view: View, body: int, shape: Shape, size: tuple[int, int]) -> Window:
    """Find pixels that hold all of a body's image; x0 == x1 where it is outside or behind the camera."""
    h, w = size
    if isinstance(shape, Ground):
        return 0, w, 0, h
    if isinstance(shape, Sheet):
        corners = view.sheets[body].reshape(-1, 3)
    else:
        low, high = bounds(shape)
        corners = np.array([(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        corners = corners @ view.rotation[body].T + view.origin[body]
    z = corners[:, 2]
    if z.max() <= NEAR:
        return 0, 0, 0, 0
    if z.min() <= NEAR:
        return 0, w, 0, h
    fx, fy, cx, cy = view.intrinsics
    x, y = fx * corners[:, 0] / z + cx, fy * corners[:, 1] / z + cy
    x0, x1 = (int(min(max(v, 0), w)) for v in (np.floor(x.min()) - 1, np.ceil(x.max()) + 1))
    y0, y1 = (int(min(max(v, 0), h)) for v in (np.floor(y.min()) - 1, np.ceil(y.max()) + 1))
    return (x0, x1, y0, y1) if x0 < x1 and y0 < y1 else (0, 0, 0, 0)
