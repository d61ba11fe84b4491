"""3D tracks from 2D tracks alone: camera motion and static points, by structure from motion.

Source: TAPVid-3D (arXiv 2407.05921) lifts 2D trackers with COLMAP; here the tracks themselves are the matches (`mapping`).

    still points          where they are in the world, in every frame, hidden or not
    moving points         count as hidden; as a guess, where they are in the image, at the depth of still points around

How well a still point's depth is known follows from its views. Where these say little (a far point, or one seen from one place
only) the depths of the points beside it count, each by its certainty. Nothing tells how far away a thing is that moves by
itself, so its points count as hidden in space, as those without a COLMAP point do in the paper. The unit is unknown: the median
depth of what stands still is set to 1. Intrinsics that are not given have their principal point in the middle and one focal
length, which is adjusted with all else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.baselines import Camera, Depths, Frames, Queries
from tapetum.systems.tapvid3d.geometry import F64, project, transform, unproject
from tapetum.systems.tapvid3d.mapping import LEAST, Mapping, map_cameras
from tapetum.types import Tracks, Tracks3D

FOCAL = 0.87
"""Expected focal length, in lengths of the image's longer side: a view of 60 degrees."""
TOLERANCE = 0.003
"""Share of the image's diagonal by which a tracker may be off."""
PARALLAX = 3.0
"""Minimum ratio of parallax to error from which depth is known."""
CERTAIN = 0.25
"""Maximum standard deviation of the logarithm of a certain depth."""
AROUND = 8
"""Number of still points that give a point its depth where its own views say little."""
GRID, EVERY = 10, 24
"""Points per side of the support grids, and frames between them; there are three to nine grids."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    mapping: Mapping
    error: float
    """Median error of still points in pixels."""
    depth_deviation: F64
    """(n,) standard deviation of the logarithm of each point's depth in the frame of its query."""


def adjusted(
    tracks: Tracks,
    size: tuple[int, int],
    intrinsics: Num[np.ndarray, "4"] | None = None,
    seed: int = 0,
    *,
    support: Tracks | None = None,
) -> Tracks3D:
    """Lift tracks of a video of `size` (height, width) into space, with camera poses, in an unknown unit.

    `intrinsics` are fx, fy, cx, cy in pixels; None estimates the focal length, which stays near `FOCAL` where the motion does
    not tell it. `support` are further points of the same video that help to find the camera, see `support_queries`. Raises
    BadInput for too few points, a camera that does not move, and tracks that nothing explains.
    """
    names, both = ("xy", "visible", "confidence", "queries"), (tracks, *([] if support is None else [support]))
    joined: Any = {name: np.concatenate([getattr(each, name) for each in both]) for name in names}
    result = reconstruct(Tracks(**joined), size, intrinsics, seed)
    n, mapping = tracks.points, result.mapping
    poses = mapping.poses.copy()
    anchor = _anchors(tracks)
    depth = _depths(result, anchor, tracks.queries[:, 1:].astype(np.float64))
    start = unproject(tracks.queries[:, 1:], depth, mapping.intrinsics)
    world = transform(np.linalg.inv(poses[anchor]), start[:, None])[:, 0]
    standing = transform(poses, np.repeat(world[None], tracks.frames, 0)).transpose(1, 0, 2)
    moving = unproject(tracks.xy, np.broadcast_to(depth[:, None], tracks.visible.shape), mapping.intrinsics)
    still = mapping.still[:n]
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
        intrinsics=mapping.intrinsics,
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
    xy = tracks.xy.astype(np.float64)
    shift = _parallax(xy, visible, camera)
    if shift < PARALLAX * 0.05 * within:
        raise _stands(shift, 0.0)
    try:
        mapping = map_cameras(xy, visible, size, camera, intrinsics is not None, within, seed)
    except BadInput as error:
        if shift < PARALLAX * within:
            raise _stands(shift, within) from error
        raise
    counted = visible & mapping.still[:, None]
    if counted.sum() < LEAST:
        raise BadInput(f"fewer than {LEAST} points stand still; adjustment needs them: track more of the background")
    error = float(np.median(mapping.errors[counted]))
    shift = _parallax(xy, counted, mapping.intrinsics)
    if shift < PARALLAX * max(error, 0.05 * within):
        raise _stands(shift, error)
    depth_deviation = _depth_deviation(mapping, visible, _anchors(tracks), error, within)
    if (vague := float(np.mean(depth_deviation[mapping.still] > CERTAIN))) > 0.5:
        raise BadInput(
            f"{100 * vague:.0f} % of the points that stand still are seen too shortly to tell how far away they are; track "
            "more of the background (--grid), or give --depth maps or a network"
        )
    return Reconstruction(mapping, error, depth_deviation)


def _stands(shift: float, error: float) -> BadInput:
    return BadInput(
        f"the camera stands still or only turns (points shift by {shift:.2g} pixels against one another, and the tracks "
        f"are off by {error:.2g}), so nothing tells how far away they are; give --depth maps or a network"
    )


def _anchors(tracks: Tracks) -> np.ndarray:
    return np.rint(tracks.queries[:, 0]).astype(int)


def _parallax(xy: F64, visible: np.ndarray, camera: F64) -> float:
    """Largest shift between two frames, in pixels, of the median point that is left after the best rotation of the camera."""
    rays = unproject(xy, np.ones(visible.shape), camera)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    frames, most = np.unique(np.linspace(0, xy.shape[1] - 1, 12).round().astype(int)), 0.0
    for k, i in enumerate(frames):
        for j in frames[k + 1 :]:
            both = visible[:, i] & visible[:, j]
            if both.sum() < LEAST:
                continue
            a, b = rays[both, i], rays[both, j]
            weight, left = np.ones(len(a)), np.zeros(len(a))
            for _ in range(8):
                u, _, v = np.linalg.svd((b * weight[:, None]).T @ a)
                left = np.linalg.norm(a @ (u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v).T - b, axis=1)
                weight = 1 / (1 + (left * camera[0] / 10) ** 2)
            most = max(most, float(np.median(left)) * float(camera[0]))
    return most


def _depth_deviation(mapping: Mapping, visible: np.ndarray, anchor: np.ndarray, error: float, within: float) -> F64:
    """(n,) standard deviation of the logarithm of each point's depth in its frame `anchor`; cameras are taken as known."""
    camera = transform(mapping.poses, np.repeat(mapping.points[None], len(mapping.poses), 0)).transpose(1, 0, 2)
    x, y, z = np.moveaxis(camera, -1, 0)
    z = np.where(abs(z) < 1e-9, 1e-9, z)
    fx, fy = mapping.intrinsics[:2]
    zero = np.zeros_like(z)
    slopes = np.stack([np.stack([fx / z, zero, -fx * x / z**2], -1), np.stack([zero, fy / z, -fy * y / z**2], -1)], -2)
    slopes = slopes @ mapping.poses[None, :, :3, :3]  # (n, t, 2, 3): pixels by place in the world
    weight = visible / (1 + (np.minimum(mapping.errors, 1e6) / within) ** 2)
    normal = np.einsum("nt,ntai,ntaj->nij", weight, slopes, slopes, optimize=True)
    normal += (1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-30) * np.eye(3)
    forward = mapping.poses[anchor, 2, :3]
    variance = np.einsum("ni,nij,nj->n", forward, np.linalg.inv(normal), forward)
    depth = camera[np.arange(len(anchor)), anchor, 2]
    sigma = max(error, 1e-3) / 1.18  # the median of the length of two normal errors is 1.18 of their deviations
    return np.where(depth > 0, sigma * np.sqrt(np.maximum(variance, 0)) / np.maximum(depth, 1e-9), np.inf)


def _depths(result: Reconstruction, anchor: np.ndarray, places: F64) -> F64:
    """Depth (n,) of the first n points in their frames `anchor`, where they are at `places` (n, 2) in pixels."""
    mapping, depths = result.mapping, np.zeros(len(anchor))
    certain = mapping.still & (result.depth_deviation < CERTAIN)
    for n, (frame, place) in enumerate(zip(anchor, places, strict=True)):
        camera = transform(mapping.poses[frame], mapping.points)
        known = np.flatnonzero(certain & (camera[:, 2] > 0))
        away = np.linalg.norm(project(camera[known], mapping.intrinsics) - place, axis=1)
        near = np.argsort(away)[:AROUND]
        weight, logs = 1 / (away[near] + 1), np.log(camera[known[near], 2])
        mean = float(logs @ weight / weight.sum())
        variance = float((logs - mean) ** 2 @ weight / weight.sum()) + 0.05**2
        if mapping.still[n] and camera[n, 2] > 0 and np.isfinite(result.depth_deviation[n]):
            own = 1 / max(float(result.depth_deviation[n]) ** 2, 1e-12)
            mean = (own * np.log(camera[n, 2]) + mean / variance) / (own + 1 / variance)
        depths[n] = np.exp(mean)
    return depths
