"""Building blocks of objects: outlines (alpha masks), sheets, bending sheets, boxes and prisms made of planar facets.

A facet is a rectangle of its own plane,

    X(u, v) = origin + u * u_axis + v * v_axis        u0 <= u <= u1, v0 <= v <= v1

with orthonormal axes, so that u and v are lengths. It shows part of a painted sheet: texel = paint @ (u, v, 1). Facets show one
painting on the side that their normal (u_axis x v_axis) points away from, and another on the back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tapetum.world.types import F64

Frames = tuple[F64, F64, F64]
"""Origins, u axes and v axes of the facets of an object over time, each (f, t, 3)."""


@dataclass(frozen=True)
class Facets:
    """The facets of one object in its own coordinates."""

    bounds: F64
    """(f, 4) as u0, u1, v0, v1."""
    paint: F64
    """(f, 2, 3) from (u, v, 1) to texels (x, y)."""
    sheet: list[int]
    """Which of the object's painted sheets each facet wears."""
    frames: Callable[[F64], Frames]
    """Frames at given times (t,) in 0..1, in the object's coordinates."""


def _fixed(origins: list[list[float]], u_axes: list[list[float]], v_axes: list[list[float]]) -> Callable[[F64], Frames]:
    parts = [np.asarray(p, dtype=np.float64)[:, None] for p in (origins, u_axes, v_axes)]

    def frames(times: F64) -> Frames:
        o, u, v = (np.repeat(p, len(times), axis=1) for p in parts)
        return o, u, v

    return frames


def _spread(bounds: list[float], texels: int) -> F64:
    """Paint that spreads a square sheet of `texels` over a rectangle."""
    u0, u1, v0, v1 = bounds
    sx, sy = texels / (u1 - u0), texels / (v1 - v0)
    return np.array([[sx, 0, -u0 * sx], [0, sy, -v0 * sy]])


def sheet(width: float, height: float, texels: int) -> Facets:
    """Make one flat sheet around the origin, facing -z."""
    bounds = [-width / 2, width / 2, -height / 2, height / 2]
    return Facets(np.array([bounds]), _spread(bounds, texels)[None], [0], _fixed([[0, 0, 0]], [[1, 0, 0]], [[0, 1, 0]]))


def bending_sheet(width: float, texels: int, strips: int, turn: float, bend: Callable[[F64], F64]) -> Facets:
    """Make a square sheet that bends like a card about one axis of its plane.

    `strips` planar strips are joined along their long edges; `bend(times)` (t,) is the angle in radians between its two ends;
    `turn` rotates the painting against the axis.
    """
    w = width / strips
    half = width / 2
    c, s = np.cos(turn), np.sin(turn)
    rotate = np.array([[c, -s], [s, c]])
    whole = _spread([-half, half, -half, half], texels)
    paint = np.zeros((strips, 2, 3))
    for i in range(strips):
        start = np.array([i * w - half, 0.0])
        paint[i, :, :2] = whole[:, :2] @ rotate
        paint[i, :, 2] = whole[:, :2] @ rotate @ start + whole[:, 2]

    def frames(times: F64) -> Frames:
        angle = bend(times)[None] * (np.arange(strips) - (strips - 1) / 2)[:, None] / max(strips - 1, 1)
        u = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=-1)
        ends = np.cumsum(u * w, axis=0)
        o = ends - u * w - ends[-1:] / 2
        return o, u, np.broadcast_to(np.array([0.0, 1.0, 0.0]), u.shape)

    bounds = np.tile(np.array([0, w, -half, half]), (strips, 1))
    return Facets(bounds, paint, [0] * strips, frames)


def box(size: F64, texels: int) -> Facets:
    """Make a closed box around the origin with edges `size` (3,); each pair of opposite sides has its own sheet."""
    half = size / 2
    origins, u_axes, v_axes, bounds, paints = [], [], [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            a, b = (axis + 1) % 3, (axis + 2) % 3
            if sign < 0:
                a, b = b, a
            o, u, v = np.zeros(3), np.zeros(3), np.zeros(3)
            o[axis], u[b], v[a] = sign * half[axis], 1.0, 1.0
            limits = [-half[b], half[b], -half[a], half[a]]
            for collected, value in zip((origins, u_axes, v_axes), (o, u, v), strict=True):
                collected.append(value.tolist())
            bounds.append(limits)
            paints.append(_spread(limits, texels))
    return Facets(np.array(bounds), np.array(paints), [0, 0, 1, 1, 2, 2], _fixed(origins, u_axes, v_axes))


def prism(radius: float, height: float, texels: int, sides: int) -> Facets:
    """Make an open tube of `sides` planar sides around the y axis, wrapped in one sheet; it can roll."""
    angles = 2 * np.pi * np.arange(sides) / sides
    side = 2 * radius * np.sin(np.pi / sides)
    apothem = radius * np.cos(np.pi / sides)
    u = np.stack([np.cos(angles), 0 * angles, np.sin(angles)], axis=1)
    out = np.stack([np.sin(angles), 0 * angles, -np.cos(angles)], axis=1)
    origin = apothem * out - u * side / 2
    paint = np.zeros((sides, 2, 3))
    for i in range(sides):
        paint[i] = [[texels / (side * sides), 0, i * texels / sides], [0, texels / height, texels / 2]]
    bounds = np.tile(np.array([0, side, -height / 2, height / 2]), (sides, 1))
    v = np.tile([0.0, 1.0, 0.0], (sides, 1))
    return Facets(bounds, paint, [0] * sides, _fixed(origin.tolist(), u.tolist(), v.tolist()))
