"""A world: painted planar facets that move, a moving camera, a light.

Camera coordinates: x right, y down, z forward; a point projects to raster pixels (fx * x/z + cx, fy * y/z + cy). FacetWorld
coordinates are the camera's of a camera at rest at the origin.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tapetum.scenes.config import SceneConfig
from tapetum.scenes.motion import Path, bezier
from tapetum.scenes.shapes import Facets
from tapetum.scenes.types import F32, F64, I64, U8


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
    """Everything that is needed to draw a clip and to know the truth about it."""

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
        """(f, 4) u0, u1, v0, v1 of all facets."""
        return np.concatenate([thing.facets.bounds for thing in self.things])

    @cached_property
    def owner(self) -> I64:
        """(f,) index of the thing that a facet belongs to."""
        return np.repeat(np.arange(len(self.things)), [len(t.facets.bounds) for t in self.things])

    @cached_property
    def instance(self) -> I64:
        """(f,) instance id: 0 for the background, then 1, 2, ..."""
        wall = np.array([t.wall for t in self.things])
        return np.where(wall, 0, np.cumsum(~wall))[self.owner]

    def intrinsics(self, times: F64) -> F64:
        """Return (t, 4) fx, fy, cx, cy in pixels."""
        h, w = self.config.size
        f = bezier(self.focal, times)
        return np.concatenate([f, f, np.full_like(f, w / 2), np.full_like(f, h / 2)], axis=1)

    def world_to_camera(self, times: F64) -> tuple[F64, F64]:
        """Return rotations (t, 3, 3) and translations (t, 3): x_camera = R @ x_world + d."""
        turn, position = self.camera(times)
        back = np.swapaxes(turn, 1, 2)
        return back, -np.einsum("tij,tj->ti", back, position)

    def view(self, times: F64) -> FacetView:
        """Return the facets at `times` (t,) in 0..1."""
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
