"""A world of painted planar facets: its settings, pieces of objects, smooth paths (Bezier curves), objects, camera and light.

A facet is a rectangle of its own plane,

    X(u, v) = origin + u * u_axis + v * v_axis        u0 <= u <= u1, v0 <= v <= v1

with orthonormal axes, so that u and v are lengths. It shows part of a painted sheet: texel = paint @ (u, v, 1). Facets show one
painting on the side that their normal (u_axis x v_axis) points away from, and another on the back.

Camera coordinates: x right, y down, z forward; a point projects to raster pixels (fx * x/z + cx, fy * y/z + cy). World
coordinates are those of a camera at rest at the origin.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.tracks.facets.types import F32, F64, I64, U8

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
    """Make a square sheet of `strips` joined planar strips that bends like a card about one axis of its plane; `bend(times)`
    (t,) is the angle in radians between its two ends; `turn` rotates the painting against the axis."""
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


_LATER_FIELDS = "cover_share", "turn_share", "repeat_share"


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """Config of the world to draw and its camera."""

    size: tuple[int, int] = (256, 256)
    frames: int = 24
    frame_rate: float = 24.0
    """Frames per second written into files; motion is defined per clip, not per second."""
    objects: tuple[int, int] = (2, 7)
    """Fewest and most objects in front of the background."""
    room_share: float = 0.4
    """Share of worlds whose background is a room of several walls; the others have one plane."""
    camera_pan: float = 0.35
    """Largest turn of the camera in radians, to each side."""
    camera_travel: float = 1.2
    """Largest way of the camera in world units (the background is 5 to 8 units away)."""
    zoom_share: float = 0.25
    blur_share: float = 0.25
    blur_samples: int = 4
    """Moments averaged for one blurred frame."""
    noise: float = 0.03
    """Largest standard deviation of the sensor noise, as a fraction of full white."""
    compress_share: float = 0.6
    """Share of clips that pass through a JPEG or MPEG-4 codec."""
    cover_share: float = 0.0
    """Share of worlds in which one more object stays in front of another for about half of the clip."""
    turn_share: float = 0.0
    """Share of objects that turn far in depth: sheets by 0.6 to 2.4 radians about an axis in the image, solids by up to 3."""
    repeat_share: float = 0.0
    """Share of images on surfaces in which a piece repeats (`tapetum.tracks.facets.sampling`)."""

    def __post_init__(self) -> None:
        shares = dict.fromkeys(_LATER_FIELDS, "[0, 1]")
        check_fields(self, size="[16, inf)", frames="[1, inf)", **shares)
        if not 0 <= self.objects[0] <= self.objects[1]:
            raise BadInput(f"objects is {self.objects}; wanted the fewest and the most, such as (2, 7)")


def describe_config(config: SceneConfig) -> dict[str, Any]:
    """Collect the fields of a config, without newer ones that are 0, so that caches keep their earlier labels."""
    return {name: value for name, value in asdict(config).items() if value or name not in _LATER_FIELDS}


def bezier(points: F64, times: F64) -> F64:
    """Compute the Bezier curve through the first and last of `points` (k, d) at `times` (t,) in 0..1 -> (t, d)."""
    degree = len(points) - 1
    basis = [comb(degree, k) * times**k * (1 - times) ** (degree - k) for k in range(degree + 1)]
    return np.stack(basis, axis=1) @ points


def elevate_degree(points: F64, count: int) -> F64:
    """Compute `count` control points of the Bezier curve that `points` (k, d) describe, k <= count."""
    while len(points) < count:
        share = np.arange(1, len(points))[:, None] / len(points)
        points = np.concatenate([points[:1], share * points[:-1] + (1 - share) * points[1:], points[-1:]])
    return points


def rotation(vectors: F64) -> F64:
    """Compute rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    small = angle < 1e-8
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1.0, np.sin(safe) / safe)
    second = np.where(small, 0.5, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * (cross @ cross)


@dataclass(frozen=True)
class Path:
    """Pose over time: x_world = rotation(t) @ x_local + position(t)."""

    positions: F64
    """Bezier control points (k, 3) in world units."""
    rotations: F64
    """Bezier control points (k, 3) of the rotation vector in radians."""
    shake: F64
    """Amplitude, cycles per clip and phase of a tremor (3, 6): rotation vector, then position."""

    def __call__(self, times: F64) -> tuple[F64, F64]:
        """Rotations (t, 3, 3) and positions (t, 3) at `times` (t,) in 0..1."""
        amplitude, cycles, phase = self.shake
        tremor = amplitude * np.sin(2 * np.pi * cycles * times[:, None] + phase)
        vector = bezier(self.rotations, times) + tremor[:, :3]
        return rotation(vector), bezier(self.positions, times) + tremor[:, 3:]


STILL = np.zeros((3, 6))


@dataclass(frozen=True)
class FacetObject:
    """An object: facets, what is painted on them, where it goes."""

    facets: Facets
    sheets: list[U8]
    """Paintings (h, w, 3), mirrored beyond their edges."""
    alpha: F32 | None
    """Cut-out (h, w) of the first painting in 0..1; None is opaque everywhere."""
    path: Path
    wall: bool = False
    """Part of the background: instance id 0, not lit from the side."""


@dataclass(frozen=True)
class FacetView:
    """The facets of a world as one camera sees them at given times."""

    maps: F64
    """(f, t, 3, 3) from raster (x, y, 1) to q with u = q0/q2, v = q1/q2, depth z = 1/q2."""
    front: np.ndarray
    """(f, t) bool: the painted side faces the camera."""
    shade: F64
    frames: F64
    """(f, t, 3, 3) with columns u axis, v axis, origin, in camera coordinates."""


@dataclass(frozen=True)
class FacetWorld:
    """All parts of a clip's world, from which frames and ground truth are computed."""

    config: SceneConfig
    things: list[FacetObject]
    camera: Path
    focal: F64
    """Bezier control values (k, 1) of the focal length in pixels, the same along x and y."""
    light: F64
    """Direction (3,) that the light goes, unit length, and ambient fraction as a fourth number."""
    seed: int

    @cached_property
    def bounds(self) -> F64:
        """Collect u0, u1, v0, v1 of all facets, (f, 4)."""
        return np.concatenate([thing.facets.bounds for thing in self.things])

    @cached_property
    def owner(self) -> I64:
        """Compute the index of the object that each facet belongs to, (f,)."""
        return np.repeat(np.arange(len(self.things)), [len(t.facets.bounds) for t in self.things])

    @cached_property
    def instance(self) -> I64:
        """Compute the instance id of each facet, (f,): 0 for the background, then 1, 2, ..."""
        wall = np.array([t.wall for t in self.things])
        return np.where(wall, 0, np.cumsum(~wall))[self.owner]

    def intrinsics(self, times: F64) -> F64:
        """Compute (t, 4) fx, fy, cx, cy in pixels."""
        h, w = self.config.size
        f = bezier(self.focal, times)
        return np.concatenate([f, f, np.full_like(f, w / 2), np.full_like(f, h / 2)], axis=1)

    def world_to_camera(self, times: F64) -> tuple[F64, F64]:
        """Compute rotations (t, 3, 3) and translations (t, 3): x_camera = R @ x_world + d."""
        turn, position = self.camera(times)
        back = np.swapaxes(turn, 1, 2)
        return back, -np.einsum("tij,tj->ti", back, position)

    def view(self, times: F64) -> FacetView:
        """Compute the facets at `times` (t,) in 0..1."""
        rotate, shift = self.world_to_camera(times)
        columns, lit = [], []
        for thing in self.things:
            turn, position = thing.path(times)
            o, u, v = (np.einsum("tij,ftj->fti", turn, part) for part in thing.facets.frames(times))
            o = o + position
            normal = np.cross(u, v)
            lambert = abs(normal @ self.light[:3])
            lit.append(np.ones_like(lambert) if thing.wall else self.light[3] + (1 - self.light[3]) * lambert)
            axes = [np.einsum("tij,ftj->fti", rotate, part) for part in (u, v, o)]
            axes[2] = axes[2] + shift
            columns.append(np.stack(axes, axis=-1))
        frames = np.concatenate(columns)
        fx, fy, cx, cy = self.intrinsics(times).T
        one, zero = np.ones_like(fx), np.zeros_like(fx)
        to_ray = np.stack([1 / fx, zero, -cx / fx, zero, 1 / fy, -cy / fy, zero, zero, one], axis=1).reshape(-1, 3, 3)
        volume = np.linalg.det(frames)
        edge_on = abs(volume) < 1e-6
        inverse = np.linalg.inv(np.where(edge_on[..., None, None], np.eye(3), frames))
        maps = np.where(edge_on[..., None, None], 0.0, inverse @ to_ray)
        return FacetView(maps, volume > 0, np.concatenate(lit), frames)
