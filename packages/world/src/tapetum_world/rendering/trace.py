"""Ray tracing of a frame: the body, face and depth at each pixel, with four finer rays in pixels where surfaces meet.

Intersections are float32, in the shape's own coordinates. All rays start at one point, so many tests (can the lid be visible
at all?) are done once rather than for each ray. The discriminant of a quadratic a t² + 2 b t + c is written as a difference of
areas, such as |d|² r² - (o × d)², which loses no precision when the camera is far from a small object. Rounded boxes: Newton
steps from the enclosing sharp box; the distance to a convex body is convex along a ray, so they cannot overshoot.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tapetum.tracks.facets.types import F32, I64
from tapetum_world.bodies.episode import Body
from tapetum_world.bodies.shapes import Shape, Sheet
from tapetum_world.bodies.shapes.base import BoxSides, Cap, Disc, Lateral, Oval
from tapetum_world.rendering import sheets
from tapetum_world.rendering.camera import NEAR, CameraView, window

Point = tuple[float, float, float]
Three = tuple[F32, F32, F32]
Hit = tuple[F32, np.ndarray | int]
INF = np.float32(np.inf)


def hit(shape: Shape, o: Point, d: Three) -> Hit:
    """Find the first t > NEAR at which o + t d is on the shape (inf for a miss), and the part (`bodies.faces`) hit there."""
    best: F32 | None = None
    part: np.ndarray | int = 0
    for t, other in _meet_faces(o, d, shape):
        if best is None:
            best, part = t, other
            continue
        if not (isinstance(part, int) and part == other):
            part = np.where(t < best, np.int8(other), np.asarray(part, np.int8))
        best = np.minimum(t, best)
    return (np.full(np.broadcast_shapes(d[0].shape, d[1].shape), INF) if best is None else best), part


def _meet_faces(o: Point, d: Three, shape: Shape) -> Iterator[Hit]:
    """Intersect the faces that can be visible from the origin of the rays."""
    cavity = shape.shows_cavity(o)
    for face in shape.faces:
        match face:
            case Lateral() if cavity or not face.inner:
                yield _side(o, d, face), face.part
            case Cap():
                yield _cap(o, d, face, hollow=shape.opening is not None), face.part
            case Disc() if (o[2] > face.height if face.up else o[2] < face.height) and (cavity or face.part != 4):
                yield _disc(o, d, face), face.part
            case Oval(radii=(x, y, z)):
                yield _ball((o[0] / x, o[1] / y, o[2] / z), (d[0] / x, d[1] / y, d[2] / z), 1.0), 0
            case BoxSides():
                yield _box(o, d, np.array(face.half), face.rounding)


def _ahead(t: F32) -> F32:
    return np.where(t > NEAR, t, INF)


def _ball(o: Point, d: Three, r: float, keep: slice = slice(0, 1)) -> F32:
    """First root, or with keep = slice(0, 2) both, stacked."""
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    nearest = -b / a
    q = [o[i] + nearest * d[i] for i in range(3)]
    left = r * r - (q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
    half = np.sqrt(np.maximum(left, 0) / a)
    near, far = nearest - half, nearest + half
    if keep.stop == 2:
        miss = left < 0
        return np.stack([np.where(miss, INF, near), np.where(miss, INF, far)])
    inside = o[0] ** 2 + o[1] ** 2 + o[2] ** 2 < r * r
    return np.where((left >= 0) & ((far if inside else near) > NEAR), far if inside else near, INF)


def _cone_roots(o: Point, d: Three, r: float, m: float) -> tuple[F32, F32]:
    """Both t at which a ray is at distance r + m z from the z axis; inf if there are none."""
    radius, grow = r + m * o[2], d[2] * m
    a = d[0] * d[0] + d[1] * d[1] - grow * grow
    a = np.where(abs(a) < 1e-9, np.float32(1e-9), a)
    b = o[0] * d[0] + o[1] * d[1] - radius * grow
    cross = o[0] * d[1] - o[1] * d[0]
    gx, gy = radius * d[0] - grow * o[0], radius * d[1] - grow * o[1]
    left = gx * gx + gy * gy - cross * cross
    root = np.sqrt(np.maximum(left, 0))
    # the root without cancellation first, the other from their product
    c = o[0] * o[0] + o[1] * o[1] - radius * radius
    s = -(b + np.copysign(root, b))
    s = np.where(abs(s) < 1e-12, np.float32(1e-12), s)
    miss = left < 0
    return np.where(miss, INF, s / a), np.where(miss, INF, c / s)


def _side(o: Point, d: Three, side: Lateral) -> F32:
    best = np.full(np.broadcast_shapes(d[0].shape, d[1].shape), INF)
    for t in _cone_roots(o, d, side.radius, side.slope):
        z = o[2] + t * d[2]
        fine = (t > NEAR) & (z >= side.low) & (z <= side.high)
        best = np.where(fine & (t < best), t, best)
    return best


def _cap(o: Point, d: Three, cap: Cap, *, hollow: bool) -> F32:
    """The far side of a hollow ball is visible through its opening."""
    t = _ball((o[0], o[1], o[2] - cap.centre), d, cap.radius, slice(0, 2 if hollow else 1))
    if cap.low == -np.inf and cap.high == np.inf:
        return t
    z = o[2] + t * d[2]
    t = np.where((t > NEAR) & (z >= cap.low) & (z <= cap.high), t, INF)
    return t.min(0) if hollow else t


def _disc(o: Point, d: Three, disc: Disc) -> F32:
    t = (disc.height - o[2]) / d[2]
    if disc.radius == np.inf:
        return _ahead(t)
    x, y = o[0] + t * d[0], o[1] + t * d[1]
    away = x * x + y * y
    on = (t > NEAR) & (away <= disc.radius * disc.radius)
    return np.where(on & (away >= disc.inner_radius * disc.inner_radius) if disc.inner_radius else on, t, INF)


def _box(o: Point, d: Three, half: np.ndarray, rounding: float) -> Hit:
    """Slabs, then Newton steps on the rounded parts."""
    near, far, axis = None, None, None
    for i in range(3):
        inverse = 1 / np.where(d[i] == 0, np.float32(1e-20), d[i])
        a, b = (-half[i] - o[i]) * inverse, (half[i] - o[i]) * inverse
        enter, leave = np.minimum(a, b), np.maximum(a, b)
        if near is None or far is None or axis is None:
            near, far, axis = enter, leave, np.zeros(enter.shape, np.int8)
        else:
            later = enter > near
            axis = np.where(later, np.int8(i), axis)
            near, far = np.maximum(near, enter), np.minimum(far, leave)
    assert near is not None
    assert far is not None
    assert axis is not None
    outside = bool((abs(np.array(o)) > half).any())
    t = np.where((near <= far) & ((near if outside else far) > NEAR), near if outside else far, INF)
    if rounding > 0 and outside:
        _round_off(o, d, half - rounding, rounding, t)
    return t, axis


def _round_off(o: Point, d: Three, core: np.ndarray, r: float, t: F32) -> None:
    """Move the rays that hit the sharp box beside a flat side on to the rounded one, in place."""
    shape = t.shape
    beyond, going = 0, []
    for i in range(3):
        beyond = beyond + (abs(o[i] + t * d[i]) > core[i]).astype(np.int8)
    at = np.nonzero((beyond >= 2) & (t < INF))
    if len(at[0]) == 0:
        return
    going = [np.broadcast_to(v, shape)[at].astype(np.float64) for v in d]
    s = t[at].astype(np.float64)
    for _ in range(6):
        p = [o[i] + s * going[i] for i in range(3)]
        q = [np.maximum(abs(p[i]) - core[i], 0) for i in range(3)]
        length = np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
        slope = sum(q[i] * np.sign(p[i]) * going[i] for i in range(3)) / np.maximum(length, 1e-12)
        off = length - r
        s = np.where((slope < 0) & (s < 1e6), s - off / np.minimum(slope, -1e-12), np.where(off > 1e-9, np.inf, s))
        s = np.where(s < 1e6, s, np.inf)
        s = np.where(np.isfinite(s), s, 1e9)
    t[at] = np.where((s < 1e6) & (off < 1e-4 * r + 1e-6), s, np.inf)


OFFSETS = np.array([(-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125)])
"""Of the finer rays from the pixel's centre: no two in one row or column."""


@dataclass(eq=False)
class RayHits:
    """h * w rays through pixel centres, then 4 for each pixel of `edges`."""

    size: tuple[int, int]
    rx: F32
    """(s,) x/z of each ray."""
    ry: F32
    depth: F32
    """(s,) z of the first surface, inf for none."""
    body: np.ndarray
    """(s,) int16, -1 for none."""
    piece: np.ndarray
    """(s,) int8."""
    triangle: I64 | None
    """(s,) of a sheet; None where there is no sheet."""
    meshes: dict[int, sheets.Mesh]
    edges: I64
    """(e,) pixels."""


def trace(bodies: tuple[Body, ...], view: CameraView, size: tuple[int, int], edges: bool = True) -> RayHits:
    """Cast all rays of a frame."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # rays along a side meet it nowhere: inf or nan
        return _trace(bodies, view, size, edges)


def _trace(bodies: tuple[Body, ...], view: CameraView, size: tuple[int, int], edges: bool) -> RayHits:
    h, w = size
    fx, fy, cx, cy = view.intrinsics
    x = ((np.arange(w) + 0.5 - cx) / fx).astype(np.float32)
    y = ((np.arange(h) + 0.5 - cy) / fy).astype(np.float32)[:, None]
    depth = np.full(size, np.float32(np.inf))
    body = np.full(size, -1, np.int16)
    piece = np.zeros(size, np.int8)
    windows = [window(view, i, b.shape, size) for i, b in enumerate(bodies)]
    meshes = {
        i: sheets.mesh(b.shape, view.sheets[i], view.intrinsics, size)
        for i, b in enumerate(bodies)
        if isinstance(b.shape, Sheet) and windows[i][0] < windows[i][1]
    }
    triangle = np.zeros(size, np.int64) if meshes else None
    for i, b in enumerate(bodies):
        x0, x1, y0, y1 = windows[i]
        if x0 >= x1:
            continue
        part = np.s_[y0:y1, x0:x1]
        if i in meshes:
            number = np.full(size, -1)
            number[part] = np.arange((y1 - y0) * (x1 - x0)).reshape(y1 - y0, x1 - x0)
            rx, ry = np.broadcast_arrays(x[x0:x1], y[y0:y1])
            t, which = sheets.meet(meshes[i], number, rx.reshape(-1, 1), ry.reshape(-1, 1))
            t, which = t.reshape(number[part].shape), which.reshape(number[part].shape)
            side: np.ndarray | int = meshes[i].front[which].astype(np.int8)
        else:
            t, side = hit(b.shape, *_rays(view, i, x[x0:x1], y[y0:y1]))
            which = None
        nearer = t < depth[part]
        np.copyto(depth[part], t, where=nearer)
        np.copyto(body[part], i, where=nearer, casting="unsafe")
        np.copyto(piece[part], side, where=nearer, casting="unsafe")
        if which is not None and triangle is not None:
            np.copyto(triangle[part], which, where=nearer)
    rx, ry = (np.ascontiguousarray(np.broadcast_to(v, size)).ravel() for v in (x, y))
    hits = RayHits(
        size, rx, ry, depth.ravel(), body.ravel(), piece.ravel(), None if triangle is None else triangle.ravel(), meshes,
        np.zeros(0, np.int64),
    )  # fmt: skip
    return _refine(hits, bodies, view, windows, body, piece) if edges else hits


def _rays(view: CameraView, i: int, x: F32, y: F32) -> tuple[tuple[float, float, float], tuple[F32, F32, F32]]:
    """Origin and directions of rays in a body's coordinates; t along them is depth."""
    r = view.rotation[i].astype(np.float32)
    o = view.centre(i)
    d = (r[0, 0] * x + (r[1, 0] * y + r[2, 0]), r[0, 1] * x + (r[1, 1] * y + r[2, 1]), r[0, 2] * x + (r[1, 2] * y + r[2, 2]))
    return (float(o[0]), float(o[1]), float(o[2])), d


def _refine(
    hits: RayHits, bodies: tuple[Body, ...], view: CameraView, windows: list, body: np.ndarray, piece: np.ndarray
) -> RayHits:
    """Add the finer rays."""
    h, w = hits.size
    key, depth = body * np.int16(8) + piece, hits.depth.reshape(h, w)
    jump = np.float32(6 / view.intrinsics[0])
    meets = np.zeros(hits.size, bool)
    for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differ = key[a] != key[b]
        for i in hits.meshes:  # a fold hides another part of the same side
            differ |= (body[a] == i) & (body[b] == i) & (abs(depth[a] - depth[b]) > jump * depth[a])
        meets[a] |= differ
        meets[b] |= differ
    edges = np.flatnonzero(meets)
    if len(edges) == 0:
        return hits
    fx, fy, cx, cy = view.intrinsics
    column, row = edges % w, edges // w
    x = ((column[:, None] + 0.5 + OFFSETS[:, 0] - cx) / fx).astype(np.float32)
    y = ((row[:, None] + 0.5 + OFFSETS[:, 1] - cy) / fy).astype(np.float32)
    fine = np.full(x.shape, np.float32(np.inf))
    owner = np.full(x.shape, -1, np.int16)
    part = np.zeros(x.shape, np.int8)
    triangle = np.zeros(x.shape, np.int64)
    for i, b in enumerate(bodies):
        x0, x1, y0, y1 = windows[i]
        if x0 >= x1:
            continue
        at = np.flatnonzero((column >= x0) & (column < x1) & (row >= y0) & (row < y1))
        if len(at) == 0:
            continue
        which = None
        if i in hits.meshes:
            number = np.full(h * w, -1)
            number[edges[at]] = np.arange(len(at))
            t, which = sheets.meet(hits.meshes[i], number.reshape(h, w), x[at], y[at])
            side: np.ndarray | int = hits.meshes[i].front[which].astype(np.int8)
        else:
            t, side = hit(b.shape, *_rays(view, i, x[at], y[at]))
        nearer = t < fine[at]
        fine[at] = np.where(nearer, t, fine[at])
        owner[at] = np.where(nearer, np.int16(i), owner[at])
        part[at] = np.where(nearer, side, part[at])
        if which is not None:
            triangle[at] = np.where(nearer, which, triangle[at])

    def join(coarse: np.ndarray, more: np.ndarray) -> np.ndarray:
        return np.concatenate([coarse, more.ravel()])

    return RayHits(
        hits.size,
        join(hits.rx, x),
        join(hits.ry, y),
        join(hits.depth, fine),
        join(hits.body, owner),
        join(hits.piece, part),
        None if hits.triangle is None else join(hits.triangle, triangle),
        hits.meshes,
        edges,
    )
