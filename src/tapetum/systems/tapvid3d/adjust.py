"""3D tracks from 2D tracks alone: camera motion and static points, by bundle adjustment.

Source: TAPVid-3D (arXiv 2407.05921) lifts 2D trackers with COLMAP; here the tracks themselves are the matches.

    tracks ──► first reconstruction ──► still points chosen again within what the errors ──► a place in space
               (`incremental`)          turned out to be, adjusted (`bundle`), again        for every point
      still points          where they are in the world, in every frame, hidden or not
      moving points         count as hidden; as a guess, where they are in the image, at the depth of still points around

How well a still point's depth is known follows from the Jacobian. Where its views say little (a far point, or one seen from
one place only) the depths of the points beside it count, each by its certainty. Nothing tells how far away a thing is that
moves by itself, so its points count as hidden in space, as those without a COLMAP point do in the paper. The unit is unknown:
the median depth of what stands still is set to 1. Intrinsics that are not given have their principal point in the middle and
one focal length, which is adjusted with all else.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.baselines import Camera, Depths, Frames, Queries
from tapetum.systems.tapvid3d.bundle import Bundle, by_rays, camera_points, tangents_at
from tapetum.systems.tapvid3d.geometry import F64, project, transform, unproject
from tapetum.systems.tapvid3d.incremental import (
    LEAST,
    Observations,
    PartialReconstruction,
    crowding,
    first_reconstruction,
    rotation_errors,
    unplaced,
)
from tapetum.types import Tracks, Tracks3D

FOCAL = 0.87
"""Focal length that is expected where none is given, in lengths of the image's longer side: that of a view of 60 degrees."""
KEYS = 48
"""Frames, evenly over the video, that are adjusted; the others are placed among them."""
TOLERANCE = 0.003
"""Fraction of the image's diagonal by which a tracker may miss."""
ROUNDS, SETTLED = 8, 0.01
"""Rounds of choosing and adjusting, at most, and fraction by which error and focal length may change in the last."""
PARALLAX = 3.0
"""Times that the camera's way must move points by more than the tracks are off, for their depth to be told."""
CERTAIN = 0.25
"""A depth is certain if the standard deviation of its logarithm is below this."""
AROUND = 8
"""Still points from which a point takes its depth where its own views say little."""
GRID, EVERY = 10, 24
"""Points a side of the grids that are tracked for the camera's sake, and frames between them; there are three to nine."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Cameras of all frames and points, in a unit of their own."""

    bundle: Bundle
    still: Bool[np.ndarray, " n"]
    """Points that stand still, as far as their views tell."""
    error: float
    """Median distance in pixels of still points from where they are seen."""
    depth_deviation: F64
    """(n,) standard deviation of the logarithm of the depth that the errors leave, where the point was asked for."""


def adjusted(
    tracks: Tracks,
    size: tuple[int, int],
    intrinsics: Num[np.ndarray, "4"] | None = None,
    seed: int = 0,
    *,
    support: Tracks | None = None,
) -> Tracks3D:
    """Lift tracks of a video of `size` (height, width) into space, with camera poses, in an unknown unit.

    Args:
        tracks: the requested points.
        size: height and width of the image in pixels.
        intrinsics: fx, fy, cx, cy in pixels; None estimates the focal length. Where the motion does not tell it (as when the
            camera moves without turning), it stays near `FOCAL`.
        seed: of the random samples; the same seed gives the same result.
        support: further points of the same video that help to find the camera, see `support_queries`.

    Raises:
        BadInput: too few points, a camera that does not move, or tracks that nothing explains.
    """
    result = reconstruct(tracks if support is None else _beside(tracks, support), size, intrinsics, seed)
    n, bundle = tracks.points, result.bundle
    poses = np.concatenate([bundle.poses, np.tile([[[0, 0, 0, 1.0]]], (tracks.frames, 1, 1))], 1)
    anchor = _anchors(tracks)
    depth = _depths(result, anchor, tracks.queries[:, 1:].astype(np.float64))
    start = unproject(tracks.queries[:, 1:], depth, bundle.intrinsics)
    world = transform(np.linalg.inv(poses[anchor]), start[:, None])[:, 0]
    standing = transform(poses, np.repeat(world[None], tracks.frames, 0)).transpose(1, 0, 2)
    moving = unproject(tracks.xy, np.broadcast_to(depth[:, None], tracks.visible.shape), bundle.intrinsics)
    still = result.still[:n]
    xyz = np.where(still[:, None, None], standing, moving)
    visible = tracks.visible & still[:, None]
    unit = float(np.median(xyz[visible if visible.any() else tracks.visible | True, 2]))
    poses[:, :3, 3] /= unit
    return Tracks3D(
        xyz=xyz / unit,
        xy=tracks.xy,
        visible=visible,
        confidence=np.where(still[:, None], tracks.confidence, np.minimum(tracks.confidence, 0.5)),
        queries=tracks.queries,
        intrinsics=bundle.intrinsics,
        metric=False,
        extrinsics_w2c=poses,
    )


class AdjustedTracker:
    """A 3D tracker built from a 2D tracker alone."""

    def __init__(self, tracker: Any):
        self.tracker = tracker

    def track(self, video: Frames, queries_xyt: Queries, intrinsics: Camera, depth: Depths = None) -> Tracks3D:
        """Track points through all frames, in an unknown unit; see `baselines.Lifted.track`. Depth is ignored."""
        size = video.shape[1:3]
        queries = np.asarray(queries_xyt, np.float32)[:, [2, 0, 1]]
        both = self.tracker.track(video, np.concatenate([queries, support_queries(len(video), size)]))
        tracks, support = split_support(both, len(queries))
        return adjusted(tracks, size, intrinsics, support=support)


def support_queries(frames: int, size: tuple[int, int]) -> Float[np.ndarray, "n 3"]:
    """Make queries (t, x, y) of grids over an image of (height, width), on several frames from the first to the last."""
    count = min(frames, int(np.clip(-(-frames // EVERY) + 1, 3, 9)))
    cells = (np.arange(GRID) + 0.5) / GRID
    moments = np.linspace(0, frames - 1, count).round()
    t, y, x = np.meshgrid(moments, cells * size[0], cells * size[1], indexing="ij")
    return np.stack([t, x, y], axis=-1).reshape(-1, 3).astype(np.float32)


def split_support(tracks: Tracks, count: int) -> tuple[Tracks, Tracks]:
    """Split off the first `count` points from the others."""
    return tracks.select(slice(count)), tracks.select(slice(count, None))


def _beside(a: Tracks, b: Tracks) -> Tracks:
    names = ("xy", "visible", "confidence", "queries")
    joined: dict[str, Any] = {name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in names}
    return Tracks(**joined)


def reconstruct(
    tracks: Tracks, size: tuple[int, int], intrinsics: Num[np.ndarray, "4"] | None = None, seed: int = 0
) -> Reconstruction:
    """Estimate the camera pose in each frame and the positions of static points; arguments and errors as for `adjusted`."""
    h, w = size
    t = tracks.frames
    visible = tracks.visible & ((tracks.xy >= 0) & (tracks.xy <= [w, h])).all(-1)
    if (count := int((visible.sum(1) >= 2).sum())) < LEAST or t < 2:
        raise BadInput(
            f"{count} points are seen in two or more of {t} frames; adjustment needs {LEAST}: track more points (--grid), or "
            "give --depth maps or a network"
        )
    within = TOLERANCE * float(np.hypot(h, w))
    expected = FOCAL * max(size)
    camera = np.array([expected, expected, w / 2, h / 2]) if intrinsics is None else np.asarray(intrinsics, np.float64)
    views = Observations(tracks.xy.astype(np.float64), visible, crowding(tracks.queries[:, 1:], (w, h)), camera, within)
    keys = np.unique(np.linspace(0, t - 1, min(t, KEYS)).round().astype(int)).tolist()
    partial = first_reconstruction(views, keys, np.random.default_rng(seed))
    partial.expected = expected if intrinsics is None else None
    _settle(partial, within)
    if (lost := partial.place_all(range(t))) is not None:
        raise unplaced(lost)
    partial.poses = {k: partial.poses[k] for k in range(t)}
    partial.triangulate(3)
    error = _error(partial)
    depth_deviation = _depth_deviation(partial.bundle, partial.views, _anchors(tracks), error)
    parallax = _parallax(partial)
    if parallax < PARALLAX * max(error, 0.05 * within):
        raise BadInput(
            f"the camera stands still or only turns (points shift by {parallax:.2g} pixels against one another, and the tracks "
            f"are off by {error:.2g}), so nothing tells how far away they are; give --depth maps or a network"
        )
    if (vague := float(np.mean(depth_deviation[partial.still] > CERTAIN))) > 0.5:
        raise BadInput(
            f"{100 * vague:.0f} % of the points that stand still are seen too shortly to tell how far away they are; track "
            "more of the background (--grid), or give --depth maps or a network"
        )
    return Reconstruction(partial.bundle, partial.still, error, depth_deviation)


def _settle(partial: PartialReconstruction, within: float) -> None:
    """Rounds of choosing the still points within what the errors turned out to be, and adjusting.

    Twice the median of normal errors is 1.3 times what 80 % of them are within, as many as a still point must agree with; where
    most views are exact and some are not, the median would shut out all but the exact ones, round by round.
    """
    before = np.inf, partial.views.focal
    for _ in range(ROUNDS):
        partial.views = replace(partial.views, within=float(np.clip(1.3 * _error(partial, 0.8), 0.05 * within, within)))
        partial.triangulate(3)
        partial.adjust()
        after = max(_error(partial), 0.01 * within), partial.views.focal
        if np.allclose(after, before, rtol=SETTLED):
            break
        before = after


def _error(partial: PartialReconstruction, quantile: float = 0.5) -> float:
    """Pixels within which this fraction of the views of still points are of where the points should be seen."""
    here = partial.views.of(list(partial.poses))
    counted = here.visible & partial.still[:, None]
    if not counted.any():
        raise BadInput(f"fewer than {LEAST} points stand still; adjustment needs them: track more of the background")
    return float(np.quantile(partial.bundle.errors(here.xy)[counted], quantile))


def _anchors(tracks: Tracks) -> np.ndarray:
    return np.rint(tracks.queries[:, 0]).astype(int)


def _parallax(partial: PartialReconstruction) -> float:
    """Pixels by which the camera's way, beyond its turning, moved the median still point between two frames, at most."""
    frames = np.unique(np.linspace(0, len(partial.poses) - 1, 12).round().astype(int))
    places, visible = partial.views.places, partial.views.visible & partial.still[:, None]
    most = 0.0
    for k, i in enumerate(frames):
        for j in frames[k + 1 :]:
            both = visible[:, i] & visible[:, j]
            if both.sum() >= LEAST:
                error = rotation_errors(places[both, i], places[both, j], partial.views.weight[both], 10 / partial.views.focal)
                most = max(most, float(np.median(error)) * partial.views.focal)
    return most


def _depth_deviation(bundle: Bundle, views: Observations, anchor: np.ndarray, error: float) -> F64:
    """(n,) standard deviation of the logarithm of each point's depth in its frame `anchor`; cameras are taken as known."""
    points = bundle.points
    tangents = tangents_at(points)
    rays = camera_points(bundle.poses, points)
    rays[..., 2] = np.where(abs(rays[..., 2]) < 1e-9, 1e-9, rays[..., 2])
    slopes = by_rays(rays, bundle.intrinsics) @ bundle.poses @ tangents[:, None]
    weight = views.visible / (1 + (np.minimum(bundle.errors(views.xy), 1e6) / views.within) ** 2)
    normal = np.einsum("nt,ntai,ntaj->nij", weight, slopes, slopes, optimize=True)
    normal += (1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-30) * np.eye(3)
    forward = bundle.poses[anchor, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        by_point = forward / (forward * points).sum(1, keepdims=True)  # derivatives of log(z), z = forward points / w
        by_point[:, 3] -= 1 / points[:, 3]
    usable = np.isfinite(by_point).all(1)
    slope = np.einsum("ni,nij->nj", np.where(usable[:, None], by_point, 0), tangents)
    variance = np.einsum("ni,nij,nj->n", slope, np.linalg.inv(normal), slope)
    sigma = max(error, 1e-3) / 1.18  # the median of the length of two normal errors is 1.18 of their deviations
    return np.where(usable, sigma * np.sqrt(np.maximum(variance, 0)), np.inf)


def _depths(result: Reconstruction, anchor: np.ndarray, places: F64) -> F64:
    """Depth (n,) of the first n points in their frames `anchor`, where they are at `places` (n, 2) in pixels."""
    bundle, depths = result.bundle, np.zeros(len(anchor))
    certain = result.still & (result.depth_deviation < CERTAIN)
    for n, (frame, place) in enumerate(zip(anchor, places, strict=True)):
        with np.errstate(divide="ignore", invalid="ignore"):
            camera = bundle.points @ bundle.poses[frame].T / bundle.points[:, 3:]
        known = np.flatnonzero(certain & (camera[:, 2] > 0))
        away = np.linalg.norm(project(camera[known], bundle.intrinsics) - place, axis=1)
        near = np.argsort(away)[:AROUND]
        weight, logs = 1 / (away[near] + 1), np.log(camera[known[near], 2])
        mean = float(logs @ weight / weight.sum())
        variance = float((logs - mean) ** 2 @ weight / weight.sum()) + 0.05**2
        if result.still[n] and camera[n, 2] > 0 and np.isfinite(result.depth_deviation[n]):
            own = 1 / max(float(result.depth_deviation[n]) ** 2, 1e-12)
            mean = (own * np.log(camera[n, 2]) + mean / variance) / (own + 1 / variance)
        depths[n] = np.exp(mean)
    return depths
