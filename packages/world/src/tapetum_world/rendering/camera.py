"""Poses of bodies in camera coordinates at any moment, also between stored ones, and the pixels that may show them."""

from dataclasses import dataclass

import numpy as np

from tapetum.tracks.facets.types import F64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Episode
from tapetum_world.bodies.shapes import Ground, Shape, Sheet

NEAR = 0.01
"""Nothing nearer to the camera than this is seen, in metres."""
Window = tuple[int, int, int, int]
"""Pixels x0, x1, y0, y1; the second of each pair is not in it."""


@dataclass(frozen=True, eq=False)
class CameraView:
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
        """Compute the camera's position in a body's coordinates."""
        return -self.rotation[body].T @ self.origin[body]


def view_at(episode: Episode, moment: float) -> CameraView:
    """Interpolate everything at a moment, which may be fractional or slightly outside the stored ones (then extrapolated)."""
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
    rotation = world[:3, :3] @ quaternions.matrices(turn / np.linalg.norm(turn, axis=-1, keepdims=True))
    origin = between(episode.poses[..., :3]) @ world[:3, :3].T + world[:3, 3]
    sheets = {i: between(points) @ world[:3, :3].T + world[:3, 3] for i, points in episode.sheets.items()}
    return CameraView(rotation, origin, between(camera.intrinsics), world, sheets)


def window(view: CameraView, body: int, shape: Shape, size: tuple[int, int]) -> Window:
    """Find a window that contains all of a body's image; x0 == x1 if it is outside or behind the camera."""
    h, w = size
    if isinstance(shape, Ground):
        return 0, w, 0, h
    if isinstance(shape, Sheet):
        corners = view.sheets[body].reshape(-1, 3)
    else:
        low, high = shape.bounds
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
