"""Bent sheets as triangle meshes with smoothed normals: intersections with rays, and a shadow map.

With V the three corners of a triangle as columns, V⁻¹ times a ray (x/z, y/z, 1) gives the hit's barycentric coordinates over
its depth: one small inverse per triangle, no clipping, exact perspective. The idea is from Olano and Greer, Triangle scan
conversion using 2D homogeneous coordinates (1997).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tapetum.tracks.facets.types import F32, F64, I64
from tapetum_world.bodies.shapes import Sheet, triangles
from tapetum_world.rendering.camera import NEAR


@dataclass(frozen=True, eq=False)
class Mesh:
    """One sheet at one moment, in camera coordinates."""

    inverse: F32
    """(m, 3, 3) from rays to barycentric coordinates over depth."""
    front: np.ndarray
    """(m,) bool: the upper side faces the camera."""
    normals: F32
    """(m, 3, 3) of the upper side at each triangle's corners, smoothed."""
    flat: F32
    """(m, 3, 2) places of the corners on the flat sheet."""
    box: I64
    """(m, 4) pixels x0, x1, y0, y1 of each triangle; the second of each pair is not in it."""


def mesh(sheet: Sheet, points: F64, intrinsics: F64, size: tuple[int, int]) -> Mesh:
    """Prepare a sheet whose points (rows, columns, 3) are in camera coordinates for images of a size."""
    h, w = size
    corner = triangles(*points.shape[:2])
    vertices = points.reshape(-1, 3)
    v = vertices[corner]
    volume = np.linalg.det(v)
    flat = abs(volume) < 1e-15
    inverse = np.linalg.inv(np.where(flat[:, None, None], np.eye(3), np.swapaxes(v, 1, 2)))
    inverse[flat] = -1.0
    face = np.cross(v[:, 1] - v[:, 0], v[:, 2] - v[:, 0])
    smooth = np.zeros_like(vertices)
    np.add.at(smooth, corner.ravel(), np.repeat(face, 3, axis=0))
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-30)
    z = v[..., 2]
    fx, fy, cx, cy = intrinsics
    safe = np.maximum(z, NEAR)
    x, y = fx * v[..., 0] / safe + cx, fy * v[..., 1] / safe + cy
    whole = np.array([0, w, 0, h])
    box = np.stack([np.floor(x.min(1)) - 1, np.ceil(x.max(1)) + 1, np.floor(y.min(1)) - 1, np.ceil(y.max(1)) + 1], 1)
    box = np.clip(box, 0, [w, w, h, h]).astype(np.int64)
    box[z.min(1) <= NEAR] = whole
    box[z.max(1) <= NEAR] = 0
    places = sheet.flat_places.reshape(-1, 2).astype(np.float32)[corner]
    return Mesh(inverse.astype(np.float32), volume < 0, smooth[corner].astype(np.float32), places, box)


def cells(box: I64) -> tuple[I64, I64, I64]:
    """List every cell of every box (m, 4) of x0, x1, y0, y1: the box's number, x and y, each (k,)."""
    wide, high = np.maximum(box[:, 1] - box[:, 0], 0), np.maximum(box[:, 3] - box[:, 2], 0)
    area = wide * high
    which = np.repeat(np.arange(len(area)), area)
    step = np.arange(len(which)) - np.repeat(np.cumsum(area) - area, area)
    row = step // np.maximum(wide, 1)[which]
    return which, box[which, 0] + step - row * wide[which], box[which, 2] + row


def meet(sheet: Mesh, number: I64, rx: F32, ry: F32) -> tuple[F32, I64]:
    """Cast rays (n, s), s in each of some pixels: return depths (n, s), inf for a miss, and triangles.

    `number` (h, w) is the row in rx and ry of each pixel, or -1.
    """
    triangle, x, y = cells(sheet.box)
    row = number[y, x]
    keep = np.flatnonzero(row >= 0)
    row, triangle = row[keep], triangle[keep]
    depth = np.full(rx.shape, np.float32(np.inf))
    which = np.zeros(rx.shape, np.int64)
    m = sheet.inverse[triangle]
    for s in range(rx.shape[1]):
        x, y = rx[row, s], ry[row, s]
        parts = [m[:, i, 0] * x + m[:, i, 1] * y + m[:, i, 2] for i in range(3)]
        total = parts[0] + parts[1] + parts[2]
        least = np.minimum(np.minimum(parts[0], parts[1]), parts[2])
        hit = np.flatnonzero((least >= -1e-5 * abs(total)) & (total > 0))
        t = 1 / total[hit]
        order = np.argsort(-t, kind="stable")
        depth[row[hit][order], s] = t[order]
        which[row[hit][order], s] = triangle[hit][order]
    return depth, which


def surface(sheet: Mesh, triangle: I64, rx: F32, ry: F32) -> tuple[F32, F32]:
    """Compute places on the flat sheet (3, n) and normals of the upper side (3, n) in camera coordinates."""
    fraction = np.einsum("nij,jn->ni", sheet.inverse[triangle], np.stack([rx, ry, np.ones_like(rx)]))
    fraction /= fraction.sum(1, keepdims=True)
    place = np.zeros((3, len(triangle)), np.float32)
    place[:2] = np.einsum("ni,nij->jn", fraction, sheet.flat[triangle])
    normal = np.einsum("ni,nij->jn", fraction, sheet.normals[triangle])
    return place, normal / np.sqrt((normal**2).sum(0))


class ShadowMap:
    """A sheet seen from the sun: a small depth map, and blurred copies of its outline.

    Looked up as outline(u, v) with a softness that grows with the distance from the sheet to the point.
    """

    SIDE = 96

    def __init__(self, body: int, points: F64, sun: F64):
        """Take the points (rows, columns, 3) in camera coordinates."""
        self.body = body
        e1 = np.cross(sun, [1.0, 0, 0] if abs(sun[0]) < 0.6 else [0, 1.0, 0])
        e1 /= np.linalg.norm(e1)
        self.axes = np.stack([e1, np.cross(sun, e1), sun])
        placed = points.reshape(-1, 3) @ self.axes.T
        middle, extent = (placed.max(0) + placed.min(0)) / 2, np.ptp(placed, axis=0)
        self.span = float(max(extent[0], extent[1])) * 1.6 + 1e-6
        self.low = middle[:2] - self.span / 2
        side = self.SIDE
        self.texel = self.span / side
        self.top = np.full((side, side), -np.inf)
        a, b, c = np.moveaxis(placed[triangles(*points.shape[:2])], 1, 0)
        corners = np.stack([a, b, c])[..., :2]
        low, high = (corners.min(0) - self.low) / self.texel, (corners.max(0) - self.low) / self.texel
        first = np.clip(np.floor(low).astype(np.int64) - 1, 0, side)
        last = np.clip(np.ceil(high).astype(np.int64) + 1, 0, side)
        which, x, y = cells(np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], 1))
        one, two = b - a, c - a
        area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
        area = np.where(abs(area) < 1e-14, np.inf, area)
        px, py = (x + 0.5) * self.texel + self.low[0] - a[which, 0], (y + 0.5) * self.texel + self.low[1] - a[which, 1]
        u = (px * two[which, 1] - py * two[which, 0]) / area[which]
        v = (one[which, 0] * py - one[which, 1] * px) / area[which]
        inside = np.flatnonzero((u >= -0.02) & (v >= -0.02) & (u + v <= 1.02) & np.isfinite(area[which]))
        u, v, which = u[inside], v[inside], which[inside]
        np.maximum.at(self.top, (y[inside], x[inside]), a[which, 2] + u * one[which, 2] + v * two[which, 2])
        outline = (self.top > -np.inf).astype(np.float32)
        self.levels = [outline]
        for _ in range(4):
            self.levels.append(_spread(self.levels[-1], len(self.levels)))
        # beside the outline, where half shadows lie, the height of the nearest part of the sheet
        nearest = np.asarray(ndimage.distance_transform_edt(outline == 0, return_distances=False, return_indices=True))
        self.height = self.top[nearest[0], nearest[1]].astype(np.float32) if outline.any() else outline

    def visibility(self, points: F32, owner: np.ndarray, a: float) -> F32:
        """Compute the fraction (n,) of the sun that the sheet leaves visible from points (3, n)."""
        u, v, s = self.axes.astype(np.float32) @ points
        x, y = (u - np.float32(self.low[0])) / np.float32(self.texel), (v - np.float32(self.low[1])) / np.float32(self.texel)
        out = np.ones(len(u), np.float32)
        at = np.flatnonzero((x > 1) & (y > 1) & (x < self.SIDE - 1) & (y < self.SIDE - 1))
        if len(at) == 0:
            return out
        x, y, s = x[at], y[at], s[at]
        height = _bilinear(self.height, x, y) - s
        own = owner[at] == self.body
        slack, slope = (
            np.where(own, np.float32(3 * self.texel), np.float32(1e-3)),
            np.where(own, np.float32(self.texel), np.float32(2e-3)),
        )
        below = np.clip((height - slack) / slope, 0, 1)
        radius = np.maximum(height, 0) * np.float32(max(a, 2e-3) / self.texel)
        level = np.clip(np.log2(np.maximum(radius, np.float32(0.5))) + 1, 0.7, len(self.levels) - 1.01)
        low = level.astype(np.int64)
        stack = np.stack(self.levels)
        near, far = _bilinear(stack, x, y, low), _bilinear(stack, x, y, low + 1)
        out[at] = 1 - below * (near + (far - near) * (level - low))
        return out


def _spread(image: F32, step: int) -> F32:
    """Blur slightly more: a box of 3 with a doubling spacing."""
    gap = 2 ** max(step - 2, 0)
    for axis in (0, 1):
        image = (image + np.roll(image, gap, axis) + np.roll(image, -gap, axis)) / np.float32(3)
    return image


def _bilinear(image: F32, x: F32, y: F32, level: I64 | None = None) -> F32:
    """Look up positions (n,) in a square image, or in one of a stack."""
    side = image.shape[-1]
    x, y = np.clip(x - np.float32(0.5), 0, side - np.float32(1.001)), np.clip(y - np.float32(0.5), 0, side - np.float32(1.001))
    i, j = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - i, y - j
    flat, base = image.ravel(), j * side + i + (0 if level is None else level * side**2)
    top = flat[base] * (1 - fx) + flat[base + 1] * fx
    low = flat[base + side] * (1 - fx) + flat[base + side + 1] * fx
    return np.asarray(top * (1 - fy) + low * fy, np.float32)
