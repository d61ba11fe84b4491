"""Ray tracing of a frame: the body, face and depth at each pixel, with four finer rays in pixels where surfaces meet."""

from dataclasses import dataclass

import numpy as np

from tapetum.world.bodies.episode import Body
from tapetum.world.bodies.shapes import Sheet
from tapetum.world.rendering import sheets
from tapetum.world.rendering.camera import CameraView, window
from tapetum.world.rendering.rays import hit
from tapetum.world.types import F32, I64

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
