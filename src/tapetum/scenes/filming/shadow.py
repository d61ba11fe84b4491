"""How much of the sun and of the sky a surface point sees past the other bodies.

The sun is a disc of some angular radius a. Along the ray from a point to the middle of the sun, the least distance(t) / t to a
body tells how far from the sun's middle, in radians, the body's edge passes: at -a all of the disc is covered, at a nothing is.
So shadows are sharp where things touch and soften away from them. For a convex body that ratio has one minimum along the ray,
which golden sections find; a hollow one counts as filled for points outside it, and for points in its hollow only the opening
matters. After Aaltonen, GPU-based clay simulation and ray tracing tech in Claybook (2018), where the ratio stands for marching.

The sky: distance to a body at some steps along the normal, against the length of the step (Evans, Fast approximations for global
illumination on dynamic scenes, 2006).
"""

from dataclasses import dataclass

import numpy as np

from tapetum.scenes.bodies.body import Body
from tapetum.scenes.bodies.shapes import Ground, RoundedBox, Shape, Sheet, Sphere
from tapetum.scenes.filming.distance import distance, opening, within
from tapetum.scenes.filming.sheets import flat_places, triangles
from tapetum.scenes.filming.view import View, bounds
from tapetum.scenes.types import F32, F64, I64, Bool

GOLDEN = 0.6180339887
STEPS = 8
SLACK = 2e-4
"""Metres by which a point on a wall may miss it."""


@dataclass(frozen=True, eq=False)
class Caster:
    """A body that may stand between a point and the light."""

    body: int
    shape: Shape
    rotation: F32
    """(3, 3) body to camera."""
    origin: F32
    """(3, 1)"""
    middle: F32
    """(3,) of a ball around it, in camera coordinates."""
    radius: float
    fixed: bool


def casters(bodies: tuple[Body, ...], view: View) -> list[Caster]:
    """List the bodies that may throw shadows: all but sheets, which have their own."""
    out = []
    for i, b in enumerate(bodies):
        if isinstance(b.shape, Sheet):
            continue
        low, high = bounds(b.shape)
        if isinstance(b.shape, Ground):
            middle, radius = view.origin[i], float("inf")
        else:
            middle = view.rotation[i] @ ((low + high) / 2) + view.origin[i]
            radius = b.shape.radius if isinstance(b.shape, Sphere) else float(np.linalg.norm(high - low) / 2)
        origin = view.origin[i].astype(np.float32)[:, None]
        out.append(Caster(i, b.shape, view.rotation[i].astype(np.float32), origin, middle.astype(np.float32), radius, b.fixed))
    return out


def sun_seen(points: F32, owner: np.ndarray, things: list[Caster], sun: F64, softness: float) -> F32:
    """Return the share (n,) of the sun seen from points (3, n) in camera coordinates, each on the body `owner` (n,).

    `sun` (3,) points at it, `softness` is its radius in radians.
    """
    seen = np.ones(points.shape[1], np.float32)
    if len(seen) == 0:
        return seen
    a = max(softness, 2e-3)
    e1 = np.cross(sun, [1.0, 0, 0] if abs(sun[0]) < 0.6 else [0, 1.0, 0])
    e1 /= np.linalg.norm(e1)
    axes = np.stack([e1, np.cross(sun, e1), sun]).astype(np.float32)
    u, v, s = axes @ points
    toward = sun.astype(np.float32)
    for c in things:
        if isinstance(c.shape, Ground):
            continue
        uc, vc, sc = axes @ c.middle
        du, dv, ds = u - uc, v - vc, sc - s
        reach = np.float32(a) * (ds + np.float32(c.radius)) + np.float32(c.radius)
        near = (ds > -c.radius) & (du * du + dv * dv < reach * reach)
        hollow = opening(c.shape)
        if hollow is None:
            near &= owner != c.body
        at = np.flatnonzero(near)
        if len(at) == 0:
            continue
        p = c.rotation.T @ (points[:, at] - c.origin)
        along = c.rotation.T @ toward
        if hollow is None:
            seen[at] *= _past_hull(c, p, along, ds[at], a)
            continue
        inner = within(c.shape, p, SLACK)
        share = np.ones(len(at), np.float32)
        share[inner] = _through_opening(p[:, inner], along, hollow, a)
        outer = np.flatnonzero(~inner & (owner[at] != c.body))
        share[outer] = _past_hull(c, p[:, outer], along, ds[at[outer]], a)
        seen[at] *= share
    return seen


def _past_hull(c: Caster, p: F32, along: F32, middle: F32, a: float) -> F32:
    """Search the least distance / t for points (3, n) in the caster's coordinates."""
    if p.shape[1] == 0:
        return np.ones(0, np.float32)
    low = np.maximum(middle - np.float32(c.radius), np.float32(1e-4))
    high = np.maximum(middle + np.float32(c.radius), np.float32(2e-4))
    step = along[:, None]

    def ratio(t: F32) -> F32:
        return distance(c.shape, p + step * t, filled=True) / t

    if isinstance(c.shape, Sphere):
        t = np.clip(middle, low, high)
        return _cover(ratio(t), a)
    width = high - low
    t1, t2 = high - np.float32(GOLDEN) * width, low + np.float32(GOLDEN) * width
    f1, f2 = ratio(t1), ratio(t2)
    best = np.minimum(f1, f2)
    for _ in range(STEPS - 2):
        left = f1 < f2
        width = width * np.float32(GOLDEN)
        low = np.where(left, low, t1)
        kept, value = np.where(left, t1, t2), np.where(left, f1, f2)
        fresh = np.where(left, low + (1 - np.float32(GOLDEN)) * width, low + np.float32(GOLDEN) * width)
        f = ratio(fresh)
        best = np.minimum(best, f)
        t1, t2 = np.where(left, fresh, kept), np.where(left, kept, fresh)
        f1, f2 = np.where(left, f, value), np.where(left, value, f)
    return _cover(best, a)


def _through_opening(p: F32, along: F32, hollow: tuple[float, float], a: float) -> F32:
    height, radius = hollow
    if along[2] <= 1e-3:
        return np.zeros(p.shape[1], np.float32)
    t = np.maximum((height - p[2]) / along[2], np.float32(1e-4))
    x, y = p[0] + t * along[0], p[1] + t * along[1]
    return _cover((np.float32(radius) - np.sqrt(x * x + y * y)) * along[2] / t, a)


def _cover(ratio: F32, a: float) -> F32:
    x = np.clip(ratio * np.float32(0.5 / a) + np.float32(0.5), 0, 1)
    return x * x * (3 - 2 * x)


def sky_seen(points: F32, normals: F32, owner: np.ndarray, things: list[Caster], scale: float) -> F32:
    """Return the share (n,) of the sky seen from points (3, n) facing (3, n), with steps of up to `scale` metres."""
    seen = np.ones(points.shape[1], np.float32)
    for c in things:
        hollow = opening(c.shape) is not None
        if c.radius < np.inf:
            away = [points[i] - c.middle[i] for i in range(3)]
            near = away[0] * away[0] + away[1] * away[1] + away[2] * away[2] < (c.radius + 1.2 * scale) ** 2
        else:
            near = np.ones(len(seen), bool)
        if not hollow:
            near &= owner != c.body
        at = np.flatnonzero(near)
        if len(at) == 0:
            continue
        p = c.rotation.T @ (points[:, at] - c.origin)
        n = c.rotation.T @ normals[:, at]
        if isinstance(c.shape, Ground | RoundedBox):
            close = np.flatnonzero(distance(c.shape, p) < scale * 1.2)
            at, p, n = at[close], p[:, close], n[:, close]
        hidden = np.zeros(len(at), np.float32)
        for step, weight in ((0.12, 0.35), (0.4, 0.35), (1.0, 0.3)):
            h = np.float32(step * scale)
            hidden += np.float32(weight) * np.clip(1 - distance(c.shape, p + n * h) / h, 0, np.float32(1.6))
        seen[at] *= 1 - np.float32(0.58) * hidden
    return seen


class SheetShadow:
    """A sheet as the sun sees it: a small map of how far it is, and softened copies of its outline.

    Looked up as outline(u, v) at a softness that grows with the way from the sheet to the point.
    """

    SIDE = 64

    def __init__(self, body: int, sheet: Sheet, points: F64, sun: F64):
        """Take the points (rows, columns, 3) in camera coordinates."""
        self.body = body
        e1 = np.cross(sun, [1.0, 0, 0] if abs(sun[0]) < 0.6 else [0, 1.0, 0])
        e1 /= np.linalg.norm(e1)
        self.axes = np.stack([e1, np.cross(sun, e1), sun])
        placed = points.reshape(-1, 3) @ self.axes.T
        middle, extent = (placed.max(0) + placed.min(0)) / 2, np.ptp(placed, axis=0)
        self.span = float(max(extent[0], extent[1])) * 2.0 + 1e-6
        self.low = middle[:2] - self.span / 2
        side = self.SIDE
        self.texel = self.span / side
        self.top = np.full((side, side), -np.inf)
        y, x = np.mgrid[:side, :side] + 0.5
        grid = np.stack([x.ravel(), y.ravel()], 1) * self.texel + self.low
        corner = placed[triangles(*points.shape[:2])]
        for a, b, c in corner:
            edge = np.stack([b - a, c - a])[:, :2]
            area = np.linalg.det(edge)
            if abs(area) < 1e-14:
                continue
            low, high = ((f([a[:2], b[:2], c[:2]], axis=0) - self.low) / self.texel for f in (np.min, np.max))
            x0, y0 = np.maximum(np.floor(low).astype(int) - 1, 0)
            x1, y1 = np.minimum(np.ceil(high).astype(int) + 1, side)
            cells = grid.reshape(side, side, 2)[y0:y1, x0:x1]
            share = (cells - a[:2]) @ np.linalg.inv(edge)
            inside = (share[..., 0] >= -0.02) & (share[..., 1] >= -0.02) & (share.sum(-1) <= 1.02)
            height = a[2] + share[..., 0] * (b - a)[2] + share[..., 1] * (c - a)[2]
            part = self.top[y0:y1, x0:x1]
            np.maximum(part, np.where(inside, height, -np.inf), out=part)
        outline = (self.top > -np.inf).astype(np.float32)
        self.lowest = float(placed[:, 2].min())
        self.levels = [outline]
        for _ in range(4):
            self.levels.append(_spread(self.levels[-1], len(self.levels)))
        self.filled = np.where(outline > 0, self.top, placed[:, 2].mean())
        self.flat = flat_places(sheet)

    def seen(self, points: F32, owner: np.ndarray, a: float) -> F32:
        """Return the share (n,) of the sun that the sheet leaves to points (3, n)."""
        u, v, s = self.axes.astype(np.float32) @ points
        x, y = (u - np.float32(self.low[0])) / np.float32(self.texel), (v - np.float32(self.low[1])) / np.float32(self.texel)
        out = np.ones(len(u), np.float32)
        at = np.flatnonzero((x > 1) & (y > 1) & (x < self.SIDE - 1) & (y < self.SIDE - 1))
        if len(at) == 0:
            return out
        x, y, s = x[at], y[at], s[at]
        height = _bilinear(self.filled.astype(np.float32), x, y) - s
        slack = np.where(owner[at] == self.body, np.float32(1.5 * self.texel), np.float32(1e-3))
        below = np.clip((height - slack) / np.float32(0.002), 0, 1)
        radius = np.maximum(height, 0) * np.float32(max(a, 2e-3) / self.texel)
        level = np.clip(np.log2(np.maximum(radius, np.float32(0.5))) + 1, 0, len(self.levels) - 1.01)
        low = level.astype(np.int64)
        stack = np.stack(self.levels)
        near, far = _bilinear(stack, x, y, low), _bilinear(stack, x, y, low + 1)
        out[at] = 1 - below * (near + (far - near) * (level - low))
        return out


def _spread(picture: F32, step: int) -> F32:
    """Blur a little more: a box of 3 at a distance that doubles."""
    gap = 2 ** max(step - 2, 0)
    for axis in (0, 1):
        picture = (picture + np.roll(picture, gap, axis) + np.roll(picture, -gap, axis)) / np.float32(3)
    return picture


def _bilinear(picture: F32, x: F32, y: F32, level: I64 | None = None) -> F32:
    x, y = np.clip(x - np.float32(0.5), 0, 62.999), np.clip(y - np.float32(0.5), 0, 62.999)
    i, j = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - i, y - j
    flat, base = picture.ravel(), j * 64 + i + (0 if level is None else level * 4096)
    top = flat[base] * (1 - fx) + flat[base + 1] * fx
    low = flat[base + 64] * (1 - fx) + flat[base + 65] * fx
    return top * (1 - fy) + low * fy


__all__ = ["Bool", "Caster", "SheetShadow", "casters", "sky_seen", "sun_seen"]
