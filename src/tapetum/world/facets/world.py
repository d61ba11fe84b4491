"""A world of painted planar facets: its settings, smooth paths (Bezier curves), objects, camera and light.

Camera coordinates: x right, y down, z forward; a point projects to raster pixels (fx * x/z + cx, fy * y/z + cy). World
coordinates are those of a camera at rest at the origin.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.world.facets.shapes import Facets
from tapetum.world.types import F32, F64, I64, U8

_LATER_FIELDS = "cover_share", "turn_share", "repeat_share"
"""Fields of `SceneConfig` that came later."""


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """Config of the world to draw and its camera."""

    size: tuple[int, int] = (256, 256)
    """Height and width of a frame in pixels."""
    frames: int = 24
    """Frames of a clip."""
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
    """Share of clips in which the focal length changes."""
    blur_share: float = 0.25
    """Share of clips with motion blur."""
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
    """Share of images on surfaces in which a piece repeats (`tapetum.world.repeating`)."""

    def __post_init__(self) -> None:
        shares = dict.fromkeys(_LATER_FIELDS, "[0, 1]")
        check_fields(self, size="[16, inf)", frames="[1, inf)", **shares)
        if not 0 <= self.objects[0] <= self.objects[1]:
            raise BadInput(f"objects is {self.objects}; wanted the fewest and the most, such as (2, 7)")


def describe_config(config: SceneConfig) -> dict[str, Any]:
    """Collect the fields of a config, without newer ones that are 0, so that caches keep their earlier labels."""
    return {name: value for name, value in asdict(config).items() if value or name not in _LATER_FIELDS}


def bezier(points: F64, times: F64) -> F64:
    """Compute the Bezier curve through the first and last of `points` (k, d) at `times` (t,) in 0..1 -> (t, d).

    >>> bezier(np.array([[0.0], [1.0]]), np.array([0.0, 0.5])).tolist()
    [[0.0], [0.5]]
    """
    degree = len(points) - 1
    basis = [comb(degree, k) * times**k * (1 - times) ** (degree - k) for k in range(degree + 1)]
    return np.stack(basis, axis=1) @ points


def elevate_degree(points: F64, count: int) -> F64:
    """Compute `count` control points of the Bezier curve that `points` (k, d) describe, k <= count.

    >>> elevate_degree(np.array([[0.0], [1.0]]), 3).tolist()
    [[0.0], [0.5], [1.0]]
    """
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
"""No tremor."""


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
    """(f, t) brightness."""
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
    """Seed of the sensor's noise."""

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
