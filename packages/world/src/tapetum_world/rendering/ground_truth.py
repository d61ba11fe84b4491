"""Exact ground truth of an episode: the surface point at a pixel, positions of surface points, their occluders, masks, boxes.

Everything is computed in float64 from the shapes as clipped quadrics (`quadrics`), not read from images, so renderer and ground
truth check each other. A surface point is *visible* in a frame if it projects into the image, faces the camera, and nothing
occludes it.
"""

from dataclasses import dataclass

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.ground_truth import choose_by_instance
from tapetum.tracks.facets.types import F32, F64, I64, Bool
from tapetum_world.bodies.episode import Episode
from tapetum_world.bodies.shapes import Ground, Sheet, triangles
from tapetum_world.rendering import quadrics
from tapetum_world.rendering.camera import NEAR, CameraView, view_at, window

SEEN, OCCLUDED, OUTSIDE, CONTAINED = range(4)
"""States of a point: seen; in the image but hidden; outside of the image or behind the camera; hidden and its body inside
another one (a cup, a box) at that moment."""
TOLERANCE = 1e-6
"""Fraction of its depth by which another surface must be nearer to hide a point."""


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """n points fixed to bodies."""

    body: I64
    """(n,)"""
    place: F64
    """(n, 3) in the body's coordinates; of sheets: (x, y, 0) on the flat sheet."""
    normal: F64
    """(n, 3) outward in the body's coordinates; of sheets: (0, 0, 1) or (0, 0, -1), the side."""

    def __len__(self) -> int:
        return len(self.body)


@dataclass(frozen=True, eq=False)
class PointTracks:
    """Tracks of n points over t frames, in the terms of TAP-Vid and TAPVid-3D."""

    xy: F32
    """(n, t, 2) raster pixels; may lie outside of the image."""
    xyz: F32
    """(n, t, 3) metres, in camera coordinates."""
    state: I64
    """(n, t) SEEN, OCCLUDED, OUTSIDE or CONTAINED."""
    instance: I64
    """(n,) id in masks."""

    @property
    def visible(self) -> Bool:
        """Check which points are visible in which frames, (n, t)."""
        return self.state == SEEN


@dataclass(frozen=True, eq=False)
class InstanceMasks:
    """Pixels that each of m instances covers in one frame."""

    ids: I64
    """(m,) of `Episode.instance`, without 0."""
    visible: Bool
    """(m, h, w)"""
    amodal: Bool
    """(m, h, w) as if nothing stood before it."""
    depth: F64
    """(h, w) metres of whatever is seen; inf for the open sky."""
    bodies: I64
    """(h, w) numbers of bodies, -1 for the sky."""


@dataclass(frozen=True, eq=False)
class InstanceBoxes:
    """Boxes of m instances in one frame, x1, y1, x2, y2 in raster pixels; nan where there is nothing."""

    ids: I64
    visible: F64
    """(m, 4) around what is seen."""
    amodal: F64
    """(m, 4) around all of it that lies in the image, hidden or not."""


class GroundTruth:
    """Answers about one episode, frame by frame."""

    def __init__(self, episode: Episode):
        """Prepare the shapes."""
        self.episode = episode
        self._pieces = [None if isinstance(b.shape, Sheet) else quadrics.quadric_patches(b.shape) for b in episode.bodies]

    def pick(self, frame: I64, xy: F64) -> tuple[SurfacePoints, Bool]:
        """Find the surface points seen at raster `xy` (n, 2) of frames (n,), and which rays hit anything (n,)."""
        frame, xy = np.asarray(frame, np.int64), np.asarray(xy, np.float64)
        self._check(frame)
        body, place, normal = np.zeros(len(xy), np.int64), np.zeros((len(xy), 3)), np.zeros((len(xy), 3))
        met = np.zeros(len(xy), bool)
        for f in np.unique(frame):
            at = np.flatnonzero(frame == f)
            view = self._view(int(f))
            depth, body[at], place[at], normal[at] = self._first(view, _rays(view, xy[at]))
            met[at] = np.isfinite(depth)
        return SurfacePoints(body, place, normal), met

    def follow(self, points: SurfacePoints, frames: range | None = None) -> PointTracks:
        """Find the positions of the points in every frame (or the given ones) and what occludes them."""
        chosen = range(self.episode.frames) if frames is None else frames
        self._check(np.array(chosen))
        n, t = len(points), len(chosen)
        xy, xyz = np.zeros((n, t, 2), np.float32), np.zeros((n, t, 3), np.float32)
        state = np.zeros((n, t), np.int64)
        for k, f in enumerate(chosen):
            view = self._view(f)
            place, normal = self._place(view, points)
            at, inside = self._project(view, place)
            facing = inside & ((place * normal).sum(-1) < 0)
            rows = np.flatnonzero(facing)
            nearest = self._first(view, place[rows] / place[rows, 2:], plain=True)[0]
            open_view = np.zeros(n, bool)
            open_view[rows] = nearest >= place[rows, 2] * (1 - TOLERANCE)
            contained = self.episode.inside[self.episode.moment(f), points.body] >= 0
            state[:, k] = np.where(open_view, SEEN, np.where(~inside, OUTSIDE, np.where(contained, CONTAINED, OCCLUDED)))
            xy[:, k], xyz[:, k] = at, place
        return PointTracks(xy, xyz, state, self.episode.instance[points.body])

    def masks(self, frame: int) -> InstanceMasks:
        """Cast a ray through the centre of every pixel."""
        self._check(np.array([frame]))
        h, w = self.episode.size
        view = self._view(frame)
        instance = self.episode.instance
        ids = np.unique(instance[instance > 0])
        depth, bodies = np.full((h, w), np.inf), np.full((h, w), -1)
        whole = np.zeros((len(ids), h, w), bool)
        for i, b in enumerate(self.episode.bodies):
            x0, x1, y0, y1 = window(view, i, b.shape, (h, w))
            if x0 >= x1:
                continue
            y, x = np.mgrid[y0:y1, x0:x1] + 0.5
            t = self._meet(view, i, _rays(view, np.stack([x.ravel(), y.ravel()], 1)))[0].reshape(x.shape)
            part = np.s_[y0:y1, x0:x1]
            nearer = t < depth[part]
            depth[part] = np.where(nearer, t, depth[part])
            bodies[part] = np.where(nearer, i, bodies[part])
            if instance[i]:
                whole[np.searchsorted(ids, instance[i])][part] |= np.isfinite(t)
        shown = np.append(instance, 0)[bodies]
        return InstanceMasks(ids, shown == ids[:, None, None], whole, depth, bodies)

    def depth(self, frame: int) -> F64:
        """Compute depth (h, w) in metres at the centres of pixels, inf for the open sky."""
        return self.masks(frame).depth

    def boxes(self, frame: int) -> InstanceBoxes:
        """Compute boxes around the visible parts, and around what would be visible without occlusion."""
        masks = self.masks(frame)
        return InstanceBoxes(masks.ids, _boxes(masks.visible), _boxes(masks.amodal))

    def sample(
        self, rng: np.random.Generator, n: int, frames: int = 16, within: range | None = None
    ) -> tuple[SurfacePoints, I64, F64]:
        """Sample n points to track, with the frame (n,) and raster position (n, 2) where each was picked, among those `within`.

        As for facets: candidates are drawn uniformly over some frames and the image, then taken instance by instance, from the
        fewest candidates to the most. Raises BadInput if the camera sees no surface.
        """
        h, w = self.episode.size
        within = within or range(self.episode.frames)
        shown = within.start + rng.choice(len(within), min(frames, len(within)), replace=False)
        frame, xy = rng.choice(shown, 16 * n), rng.uniform(0, 1, (16 * n, 2)) * [w, h]
        points, met = self.pick(frame, xy)
        instance = np.where(met, np.append(self.episode.instance, 0)[points.body], -1)
        if not met.any():
            raise BadInput("the camera sees no surface in the frames looked at; wanted some; turn it to a body or lay a ground")
        rows = choose_by_instance(rng, instance, n)
        return SurfacePoints(points.body[rows], points.place[rows], points.normal[rows]), frame[rows], xy[rows]

    def _check(self, frames: I64) -> None:
        last = self.episode.frames - 1
        if len(frames) and (frames.min() < 0 or frames.max() > last):
            raise BadInput(f"frames {frames.min()} to {frames.max()} of an episode of {last + 1}; wanted 0 to {last}")

    def _view(self, frame: int) -> CameraView:
        return view_at(self.episode, self.episode.moment(frame))

    def _meet(self, view: CameraView, i: int, rays: F64) -> tuple[F64, I64, F64]:
        """Depth (n,), piece or triangle (n,), and for sheets the shares (n, 3) of its corners."""
        surface = self._pieces[i]
        if surface is None:
            points = view.sheets[i]
            return quadrics.meet_triangles(points.reshape(-1, 3)[triangles(*points.shape[:2])], rays, NEAR)
        start = view.centre(i)
        none = np.zeros((len(rays), 0))
        if isinstance(self.episode.bodies[i].shape, Ground) and start[2] <= 0:
            return np.full(len(rays), np.inf), np.zeros(len(rays), np.int64), none
        return *quadrics.meet(surface, start, rays @ view.rotation[i], NEAR), none

    def _first(self, view: CameraView, rays: F64, plain: bool = False) -> tuple[F64, I64, F64, F64]:
        """Depth (n,) and body (n,) of the first surface on rays (n, 3) with z = 1, its place and normal (n, 3) on the body.

        `plain` leaves out the last two.
        """
        n = len(rays)
        depth, body = np.full(n, np.inf), np.zeros(n, np.int64)
        place, normal = np.zeros((n, 3)), np.zeros((n, 3))
        for i in range(len(self.episode.bodies)) if n else ():
            t, which, fraction = self._meet(view, i, rays)
            at = np.flatnonzero(t < depth)
            depth[at], body[at] = t[at], i
            if len(at) and not plain:
                place[at], normal[at] = self._describe(view, i, rays[at], t[at], which[at], fraction[at])
        return depth, body, place, normal

    def _describe(self, view: CameraView, i: int, rays: F64, t: F64, which: I64, fraction: F64) -> tuple[F64, F64]:
        body, surface = self.episode.bodies[i], self._pieces[i]
        if surface is not None:
            place = view.centre(i) + t[:, None] * (rays @ view.rotation[i])
            return place, quadrics.normals(surface, which, place)
        assert isinstance(body.shape, Sheet)
        corner = triangles(*body.shape.grid)[which]
        place, normal = np.zeros((len(t), 3)), np.zeros((len(t), 3))
        place[:, :2] = np.einsum("nk,nkj->nj", fraction, body.shape.flat_places.reshape(-1, 2)[corner])
        a, b, c = np.moveaxis(view.sheets[i].reshape(-1, 3)[corner], 1, 0)
        normal[:, 2] = -np.sign((np.cross(b - a, c - a) * rays).sum(-1))
        return place, normal

    def _place(self, view: CameraView, points: SurfacePoints) -> tuple[F64, F64]:
        """Places and outward normals (n, 3) of points in camera coordinates."""
        rotation = view.rotation[points.body]
        place = np.einsum("nij,nj->ni", rotation, points.place) + view.origin[points.body]
        normal = np.einsum("nij,nj->ni", rotation, points.normal)
        for i in view.sheets:
            at = np.flatnonzero(points.body == i)
            shape = self.episode.bodies[i].shape
            assert isinstance(shape, Sheet)
            place[at], upper = quadrics.on_sheet(shape, view.sheets[i], points.place[at, :2])
            normal[at] = upper * points.normal[at, 2:]
        return place, normal

    def _project(self, view: CameraView, place: F64) -> tuple[F64, Bool]:
        """Raster places (n, 2) and which are in the image (n,)."""
        h, w = self.episode.size
        fx, fy, cx, cy = view.intrinsics
        z = np.where(abs(place[:, 2]) < 1e-9, 1e-9, place[:, 2])
        xy = np.stack([fx * place[:, 0] / z + cx, fy * place[:, 1] / z + cy], 1)
        inside = (place[:, 2] > NEAR) & (xy >= 0).all(1) & (xy[:, 0] < w) & (xy[:, 1] < h)
        return xy, inside


def _rays(view: CameraView, xy: F64) -> F64:
    """Directions (n, 3) with z = 1 through raster places (n, 2)."""
    fx, fy, cx, cy = view.intrinsics
    return np.stack([(xy[:, 0] - cx) / fx, (xy[:, 1] - cy) / fy, np.ones(len(xy))], 1)


def _boxes(masks: Bool) -> F64:
    """Find boxes (m, 4) around masks (m, h, w)."""
    out = np.full((len(masks), 4), np.nan)
    for box, mask in zip(out, masks, strict=True):
        x, y = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        if len(x):
            box[:] = x[0], y[0], x[-1] + 1, y[-1] + 1
    return out
