"""Shapes as clipped quadrics, float64: the ground truth's own face equations, independent of the renderer's (`trace`).

Every surface consists of pieces {p : (p, 1) Q (p, 1) = 0} with Q symmetric, clipped by a box and a ring around the z axis. A
ball, a cylinder's side, a cone's side and a plane differ only in Q, so one solver handles them all. Sheets are triangles,
intersected by Möller and Trumbore's test (Fast, minimum storage ray/triangle intersection, 1997).
"""

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from tapetum.tracks.facets.types import F64, I64
from tapetum_world.bodies.shapes import Shape, Sheet
from tapetum_world.bodies.shapes.base import BoxSides, Cap, Disc, Face, Lateral, Oval

FREE = np.full(3, np.inf)
ROUNDING = 1e-12
"""Metres by which a hit may lie outside its piece's box, so that rays don't slip between pieces."""


@dataclass(frozen=True, eq=False)
class QuadricPatch:
    """A part of a quadric."""

    quadric: F64
    """(4, 4), its upper left 3 x 3 diagonal: all axes lie along the body's."""
    low: F64 = field(default_factory=lambda: -FREE)
    high: F64 = field(default_factory=lambda: FREE)
    ring: tuple[float, float] = (0.0, np.inf)
    """Least and largest distance from the z axis."""
    outward: float = 1.0
    """1 where the quadric grows towards the outside of the body, -1 where it falls."""


def quadric_patches(shape: Shape) -> list[QuadricPatch]:
    """List the patches of a shape's surface, in its own coordinates; a sheet has none."""
    return [patch for face in shape.faces for patch in _patches(face)]


def _patches(face: Face) -> list[QuadricPatch]:
    match face:
        case Lateral(radius=r, slope=m):
            return [QuadricPatch(_cone(r, m), _z(face.low, -np.inf), _z(face.high), outward=-1.0 if face.inner else 1.0)]
        case Cap(radius=r, centre=z):
            return [QuadricPatch(_ball(r, z), _z(face.low, -np.inf), _z(face.high), outward=-1.0 if face.inner else 1.0)]
        case Disc(height=z):
            return [QuadricPatch(_plane(2, z), ring=(face.inner_radius, face.radius), outward=1.0 if face.up else -1.0)]
        case Oval(radii=radii):
            return [QuadricPatch(np.diag([*(1 / np.array(radii) ** 2), -1.0]))]
        case BoxSides():
            return _box(np.array(face.half), face.rounding)


def meet(surface: list[QuadricPatch], start: F64, rays: F64, near: float) -> tuple[F64, I64]:
    """Intersect rays start (3,) + t rays (n, 3) with a surface: first t > near (n,), inf for none, and piece numbers (n,)."""
    best = np.full(len(rays), np.inf)
    which = np.zeros(len(rays), np.int64)
    squares = rays * rays
    for number, piece in enumerate(surface):
        square, line = np.diag(piece.quadric)[:3], piece.quadric[:3, 3]
        b = rays @ (square * start + line)
        c = float(square @ (start * start) + 2 * line @ start + piece.quadric[3, 3])
        if square.any():
            a = squares @ square
            at = np.flatnonzero(b * b >= a * c)
            met = [(at, t) for t in _roots(a[at], b[at], c)]
        else:
            at = np.flatnonzero(b * c < 0)
            met = [(at, -c / (2 * b[at]))]
        for rows, t in met:
            ahead = np.flatnonzero((t > near) & (t < best[rows]))
            rows, t = rows[ahead], t[ahead]
            p = start + t[:, None] * rays[rows]
            away = p[:, 0] ** 2 + p[:, 1] ** 2
            on = (away >= piece.ring[0] ** 2) & (away <= piece.ring[1] ** 2)
            on &= ((p >= piece.low - ROUNDING) & (p <= piece.high + ROUNDING)).all(-1)
            best[rows[on]], which[rows[on]] = t[on], number
    return best, which


def normals(surface: list[QuadricPatch], which: I64, p: F64) -> F64:
    """Compute the outward directions (n, 3), unit length, at points (n, 3) of the pieces (n,)."""
    quadric = np.stack([piece.quadric for piece in surface])[which]
    outward = np.array([piece.outward for piece in surface])[which]
    slope = (np.einsum("nij,nj->ni", quadric[:, :3, :3], p) + quadric[:, :3, 3]) * outward[:, None]
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-300)


def meet_triangles(corners: F64, rays: F64, near: float) -> tuple[F64, I64, F64]:
    """Intersect triangles (m, 3, 3) with rays (n, 3) from the origin: t (n,), triangle (n,), weights of its corners (n, 3)."""
    best, which, fraction = np.full(len(rays), np.inf), np.zeros(len(rays), np.int64), np.zeros((len(rays), 3))
    flat = rays[:, :2] / rays[:, 2:]
    for number, (a, b, c) in enumerate(corners):
        z = np.array([a[2], b[2], c[2]])
        if z.min() > near:
            projected = np.stack([a[:2] / a[2], b[:2] / b[2], c[:2] / c[2]])
            inside = (flat >= projected.min(0) - 1e-9) & (flat <= projected.max(0) + 1e-9)
            at = np.flatnonzero(inside.all(1))
        else:
            at = np.arange(len(rays)) if z.max() > near else np.zeros(0, np.int64)
        if len(at) == 0:
            continue
        d, first, second = rays[at], b - a, c - a
        cross = np.cross(d, second)
        size = cross @ first
        with np.errstate(divide="ignore", invalid="ignore"):
            u = -(cross @ a) / size
            other = np.cross(-a, first)
            v = d @ other / size
            t = second @ other / size
            on = (u >= -1e-12) & (v >= -1e-12) & (u + v <= 1 + 1e-12) & (t > near) & (t < best[at])
        hit = at[on]
        best[hit], which[hit] = t[on], number
        fraction[hit] = np.stack([1 - u - v, u, v], 1)[on]
    return best, which, fraction


def _roots(a: F64, b: F64, c: float) -> tuple[F64, F64]:
    """Both roots of a t² + 2 b t + c where b² >= a c, inf for a root at infinity."""
    q = -(b + np.copysign(np.sqrt(np.maximum(b * b - a * c, 0)), b))
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(abs(a) > 1e-14 * abs(b), q / a, np.inf)
        second = np.where(q != 0, c / q, np.inf)
    return first, second


def _z(value: float, rest: float = np.inf) -> F64:
    return np.array([rest, rest, value])


def _ball(r: float, centre: float) -> F64:
    """x² + y² + (z - centre)² = r²."""
    q = np.eye(4)
    q[2, 3] = q[3, 2] = -centre
    q[3, 3] = centre * centre - r * r
    return q


def _cone(r: float, m: float) -> F64:
    """x² + y² = (r + m z)²."""
    q = np.diag([1.0, 1.0, -m * m, -r * r])
    q[2, 3] = q[3, 2] = -m * r
    return q


def _plane(axis: int, height: float) -> F64:
    q = np.zeros((4, 4))
    q[axis, 3] = q[3, axis] = 0.5
    q[3, 3] = -height
    return q


def _box(half: F64, rounding: float) -> list[QuadricPatch]:
    """Six sides; with rounding also twelve quarter cylinders and eight eighths of balls."""
    core = half - rounding
    made = []
    for signs in product((-1, 0, 1), repeat=3):
        out = [i for i in range(3) if signs[i]]
        if not out or (rounding == 0 and len(out) > 1):
            continue
        s = np.array(signs, float)
        low = np.where(s > 0, core, np.where(s < 0, -np.inf, -core))
        high = np.where(s < 0, -core, np.where(s > 0, np.inf, core))
        if len(out) == 1:
            axis = out[0]
            low[axis], high[axis] = -np.inf, np.inf
            made.append(QuadricPatch(_plane(axis, s[axis] * half[axis]), low=low, high=high, outward=s[axis]))
            continue
        centre = s * core
        q = np.diag([*abs(s), 0.0])
        q[:3, 3] = q[3, :3] = -centre
        q[3, 3] = centre @ centre - rounding**2
        made.append(QuadricPatch(q, low=low, high=high))
    return made


def on_sheet(sheet: Sheet, points: F64, flat: F64) -> tuple[F64, F64]:
    """Compute places and directions (n, 3) of the upper side at places (n, 2) on the flat sheet; points (rows, columns, 3)."""
    rows, columns = sheet.grid
    x = np.clip((flat[:, 0] / sheet.size[0] + 0.5) * (columns - 1), 0, columns - 1)
    y = np.clip((flat[:, 1] / sheet.size[1] + 0.5) * (rows - 1), 0, rows - 1)
    j, i = np.minimum(x.astype(int), columns - 2), np.minimum(y.astype(int), rows - 2)
    x, y = (x - j)[:, None], (y - i)[:, None]
    a, b, c, d = points[i, j], points[i, j + 1], points[i + 1, j + 1], points[i + 1, j]
    right = x >= y
    place = np.where(right, a + x * (b - a) + y * (c - b), a + y * (d - a) + x * (c - d))
    upper = np.where(right, np.cross(b - a, c - a), np.cross(c - a, d - a))
    return place, upper / np.maximum(np.linalg.norm(upper, axis=1, keepdims=True), 1e-300)
