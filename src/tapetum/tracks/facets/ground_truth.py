"""Exact ground truth of a facet world, in float64 from the facets' geometry: the surface point at a pixel, positions of surface
points, and their visibility.

A surface point is (facet, side, u, v). It is *visible* at a moment if it projects into the frame, shows the side on which it
was picked, and no other facet is in front of it. Points that are not visible keep their coordinates.
"""

from dataclasses import dataclass

import numpy as np

from tapetum.tracks.facets.render import EDGE, NEAR
from tapetum.tracks.facets.types import F32, F64, I64, Bool
from tapetum.tracks.facets.world import FacetView, FacetWorld

DEPTH_TOLERANCE = 1e-3
"""Share of its depth by which another facet must be nearer to hide a point; facets that meet do not hide their edges."""


@dataclass(frozen=True)
class FacetPoints:
    """n points fixed to facets."""

    facet: I64
    front: Bool
    """(n,) picked on the painted side."""
    uv: F64
    """(n, 2) in world units on the facet."""

    def __len__(self) -> int:
        return len(self.facet)


@dataclass(frozen=True)
class FacetTracks:
    """Tracks of n points over t frames, in the terms of TAP-Vid and TAPVid-3D."""

    xy: F32
    """(n, t, 2) raster pixels; may lie outside the frame."""
    xyz: F32
    """(n, t, 3) camera coordinates in world units (taken as metres)."""
    visible: Bool
    """(n, t) in the frame and not hidden."""
    in_frame: Bool
    """(n, t) projects into the image, hidden or not."""
    instance: I64
    """(n,) id of the object, 0 for the background."""


def frame_times(frames: int) -> F64:
    """Compute the moments of a clip's frames, evenly over 0..1."""
    return np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)


class FacetGroundTruth:
    """Answers about one world at the moments of its frames (or at other given times (t,))."""

    def __init__(self, world: FacetWorld, times: F64 | None = None):
        self.world = world
        self.times = frame_times(world.config.frames) if times is None else times
        self.view: FacetView = world.view(self.times)
        self.intrinsics = world.intrinsics(self.times)
        self._alpha = {
            f: (thing.alpha, thing.facets.paint[j])
            for f, (thing, j) in enumerate((t, j) for t in world.things for j in range(len(t.facets.bounds)))
            if thing.alpha is not None
        }

    def hits(self, frame: I64, xy: F64) -> tuple[F64, F64]:
        """Compute depths (f, n) and places (f, n, 2) at which the rays through `xy` (n, 2) meet the facets; inf where they
        miss."""
        rays = np.concatenate([xy, np.ones((len(xy), 1))], axis=1)
        q = np.einsum("fnij,nj->fni", self.view.maps[:, frame], rays)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = 1 / q[..., 2]
            uv = q[..., :2] * z[..., None]
        u0, u1, v0, v1 = self.world.bounds.T[:, :, None]
        ok = (q[..., 2] > 0) & (z > NEAR)
        ok &= (uv[..., 0] >= u0 - EDGE) & (uv[..., 0] <= u1 + EDGE) & (uv[..., 1] >= v0 - EDGE) & (uv[..., 1] <= v1 + EDGE)
        for f, (alpha, paint) in self._alpha.items():
            at = np.flatnonzero(ok[f])
            ok[f, at] = _alpha_at(alpha, uv[f, at] @ paint[:, :2].T + paint[:, 2]) > 0.5
        return np.where(ok, z, np.inf), uv

    def pick(self, frame: I64, xy: F64) -> tuple[FacetPoints, Bool]:
        """Find the surface points seen at raster `xy` (n, 2) of frames (n,), and which rays hit anything at all."""
        z, uv = self.hits(frame, xy)
        facet = z.argmin(0)
        n = np.arange(len(xy))
        return FacetPoints(facet, self.view.front[facet, frame], uv[facet, n]), np.isfinite(z[facet, n])

    def depth(self, frame: int) -> F64:
        """Compute depth (h, w) at the pixel centres of one frame."""
        h, w = self.world.config.size
        y, x = np.mgrid[:h, :w] + 0.5
        xy = np.stack([x.ravel(), y.ravel()], axis=1)
        return self.hits(np.full(len(xy), frame), xy)[0].min(0).reshape(h, w)

    def follow(self, points: FacetPoints) -> FacetTracks:
        """Find the positions of the points in every frame."""
        n = len(points)
        h, w = self.world.config.size
        uv1 = np.concatenate([points.uv, np.ones((n, 1))], axis=1)
        xyz = np.einsum("ntij,nj->nti", self.view.frames[points.facet], uv1)
        z = xyz[..., 2]
        fx, fy, cx, cy = self.intrinsics.T
        safe = np.where(abs(z) < 1e-6, 1e-6, z)
        xy = np.stack([fx * xyz[..., 0] / safe + cx, fy * xyz[..., 1] / safe + cy], axis=-1)
        in_frame = (z > NEAR) & (xy[..., 0] >= 0) & (xy[..., 0] < w) & (xy[..., 1] >= 0) & (xy[..., 1] < h)
        facing = self.view.front[points.facet] == points.front[:, None]
        visible = in_frame & facing & self.view.maps[points.facet].any(axis=(-2, -1))
        rows, frames = np.nonzero(visible)
        nearest = self.hits(frames, xy[rows, frames])[0].min(0)
        visible[rows, frames] = nearest >= z[rows, frames] * (1 - DEPTH_TOLERANCE)
        return FacetTracks(xy.astype(np.float32), xyz.astype(np.float32), visible, in_frame, self.world.instance[points.facet])

    def sample(self, rng: np.random.Generator, n: int) -> tuple[FacetPoints, I64, F64]:
        """Sample n points to track, with the frame (n,) and raster position (n, 2) where each was picked, from candidates drawn
        uniformly over space and time (`choose_by_instance`)."""
        h, w = self.world.config.size
        m = 16 * n
        frame = rng.integers(0, len(self.times), m)
        xy = rng.uniform(0, 1, (m, 2)) * [w, h]
        points, met = self.pick(frame, xy)
        instance = np.where(met, self.world.instance[points.facet], -1)
        if not met.any():
            raise RuntimeError("the camera of this world sees no surface")
        rows = choose_by_instance(rng, instance, n)
        return FacetPoints(points.facet[rows], points.front[rows], points.uv[rows]), frame[rows], xy[rows]


def _alpha_at(alpha: F32, texel: F64) -> F64:
    """Bilinear alpha at texel positions (n, 2), pixel centres at half-integers, mirrored at the edges."""
    h, w = alpha.shape
    x = np.clip(texel[:, 0] - 0.5, 0, w - 1.0)
    y = np.clip(texel[:, 1] - 0.5, 0, h - 1.0)
    x0, y0 = np.minimum(x.astype(int), w - 2), np.minimum(y.astype(int), h - 2)
    fx, fy = x - x0, y - y0
    top = alpha[y0, x0] * (1 - fx) + alpha[y0, x0 + 1] * fx
    low = alpha[y0 + 1, x0] * (1 - fx) + alpha[y0 + 1, x0 + 1] * fx
    return top * (1 - fy) + low * fy


def choose_by_instance(rng: np.random.Generator, instance: I64, n: int) -> I64:
    """Choose n candidates by their instances (m,), where -1 is none; as in Kubric's sampling, from the instance with the fewest
    candidates to the one with the most, so that small ones are over-represented."""
    ids, counts = np.unique(instance[instance >= 0], return_counts=True)
    chosen: list[I64] = []
    for left, k in zip(range(len(ids), 0, -1), np.argsort(counts, kind="stable"), strict=True):
        remaining, available = n - sum(map(len, chosen)), int(counts[k])
        take = min(round(remaining / left), max(1, round(0.25 * available))) if left > 1 else remaining
        chosen.append(rng.choice(np.flatnonzero(instance == ids[k]), take, replace=take > available))
    return rng.permutation(np.concatenate(chosen))
