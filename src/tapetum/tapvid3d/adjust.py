"""3D tracks without depth maps: bundle adjustment over the tracks themselves, the classical row of TAPVid-3D's table.

`incremental` finds cameras and points that stand still, `bundle` makes them exact, and here every tracked point gets a place in
space from them:

- A point that stands still is where its views say. How well they say it follows from the Jacobian; where they say little (far
  points, points seen from one place only) the depths of the points beside it count, each by its certainty.
- A point that moves by itself has no depth that a single camera could tell. It gets the depth of the still points beside it
  in the frame of its query, and keeps that depth while it moves in the picture. This is a guess, and wrong by as much as the
  thing floats in front of what is behind it.

Unlike COLMAP, which the paper used, it needs no features, only tracks; it estimates no distortion, and one camera for all
frames. The unit is unknown unless the median depth is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from tapetum.errors import BadInput
from tapetum.tap.tracks import Tracks
from tapetum.tapvid3d.bundle import Bundle, by_rays, tangents_at
from tapetum.tapvid3d.geometry import F64, project, unproject
from tapetum.tapvid3d.growing import LEAST, Growing, Views, crowding
from tapetum.tapvid3d.incremental import first_reconstruction, turn_errors, unplaced
from tapetum.tapvid3d.tracks3d import Tracks3D
from tapetum.tapvid3d.twoview import camera_points

VIEW_ANGLE = 60.0
"""Degrees that a camera is expected to see along the longer side of its picture, where its intrinsics are not given."""
KEYS = 48
"""Frames, evenly over the video, that are adjusted; the others are placed among them."""
TOLERANCE = 0.003
"""Share of the picture's diagonal by which a tracker may miss."""
ROUNDS = 8
"""Times, at most, that still points are chosen anew, within what the errors turned out to be, and adjusted."""
SETTLED = 0.01
"""Share by which the errors and the focal length may still change when the rounds end."""
PARALLAX = 3.0
"""Times that the camera's way must move points by more than the tracks are off, for their depth to be told."""
CERTAIN = 0.25
"""A depth is certain if the standard deviation of its logarithm is below this."""
BESIDE = 8
"""Still points from which a point takes its depth where its own views say little."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Cameras of all frames and points, in a unit of its own."""

    bundle: Bundle
    still: Bool[np.ndarray, " n"]
    """Points that stand still, as far as their views tell."""
    error: float
    """Median distance in pixels of still points from where they are seen."""
    spread: F64
    """(n,) standard deviation of the logarithm of the depth that the errors leave, where the point was asked for."""


def expected_intrinsics(size: tuple[int, int]) -> F64:
    """fx, fy, cx, cy of a picture of (width, height) pixels with square pixels, its centre in the middle and `VIEW_ANGLE`.

    >>> expected_intrinsics((640, 480)).round(1).tolist()
    [554.3, 554.3, 320.0, 240.0]
    """
    focal = max(size) / 2 / np.tan(np.radians(VIEW_ANGLE) / 2)
    return np.array([focal, focal, size[0] / 2, size[1] / 2])


def reconstruct(
    tracks: Tracks, size: tuple[int, int], intrinsics: Sequence[float] | F64 | None = None, *, seed: int = 0
) -> Reconstruction:
    """Where the camera was in each frame, and where the points are that stand still.

    Args:
        tracks: some hundred points or more; those of the background should fill the picture.
        size: width and height of the picture in pixels.
        intrinsics: fx, fy, cx, cy in pixels; None finds the focal length too, from `expected_intrinsics` on. Where the motion
            does not tell it (as when the camera moves without turning), it stays near there.
        seed: of the random samples; the same gives the same result.

    Raises:
        BadInput: the points are too few, nothing explains them, or the camera only turned, so that no depth can be told.
        MissingExtra: scipy is not installed.
    """
    n, t = tracks.visible.shape
    if n < LEAST or t < 2:
        raise BadInput(
            f"{n} points in {t} frames do not tell where a camera was; track {LEAST} or more through 2 or more frames"
        )
    within = TOLERANCE * float(np.hypot(*size))
    views = Views(
        tracks.xy.astype(np.float64),
        tracks.visible,
        crowding(tracks.queries[:, 1:], size),
        expected_intrinsics(size) if intrinsics is None else np.asarray(intrinsics, np.float64),
        within,
    )
    keys = np.unique(np.linspace(0, t - 1, min(t, KEYS)).round().astype(int)).tolist()
    grown = first_reconstruction(views, keys, np.random.default_rng(seed))
    grown.expected = views.focal if intrinsics is None else None
    before = np.inf, views.focal
    for _ in range(ROUNDS):
        grown.views = replace(grown.views, within=float(np.clip(2 * _error(grown), 0.05 * within, within)))
        grown.triangulate(3)
        grown.adjust()
        after = max(_error(grown), 0.01 * within), grown.views.focal
        if np.allclose(after, before, rtol=SETTLED):
            break
        before = after
    if (lost := grown.place_all(range(t))) is not None:
        raise unplaced(lost)
    grown.poses = {k: grown.poses[k] for k in range(t)}
    grown.triangulate(3)
    error = _error(grown)
    spread = _spread(grown.bundle, grown.views, _anchors(tracks), error)
    parallax = _parallax(grown)
    if parallax < PARALLAX * error or np.median(spread[grown.still]) > CERTAIN:
        raise BadInput(
            f"the camera hardly travelled: that moves the points by {parallax:.2f} pixels, the tracks are off by {error:.2f}; "
            "no depth can be told; give --depth maps or a network, or a video whose camera moves to the side"
        )
    return Reconstruction(grown.bundle, grown.still, error, spread)


def _parallax(grown: Growing) -> float:
    """Pixels by which the camera's way, beyond its turning, moved the median still point between two frames, at most."""
    frames = np.unique(np.linspace(0, len(grown.poses) - 1, 12).round().astype(int))
    places, seen = grown.views.places, grown.views.seen & grown.still[:, None]
    most = 0.0
    for k, i in enumerate(frames):
        for j in frames[k + 1 :]:
            both = seen[:, i] & seen[:, j]
            if both.sum() >= LEAST:
                error = turn_errors(places[both, i], places[both, j], grown.views.weight[both], 10 / grown.views.focal)
                most = max(most, float(np.median(error)) * grown.views.focal)
    return most


def _error(grown: Growing) -> float:
    here = grown.views.of(list(grown.poses))
    return float(np.median(grown.bundle.errors(here.xy)[here.seen & grown.still[:, None]]))


def _anchors(tracks: Tracks) -> np.ndarray:
    """(n,) the frame nearest to each query."""
    return np.rint(tracks.queries[:, 0]).astype(int)


def _spread(bundle: Bundle, views: Views, anchor: np.ndarray, error: float) -> F64:
    """(n,) standard deviation of the logarithm of each point's depth in its frame `anchor`; cameras are taken as known."""
    points = bundle.points
    tangents = tangents_at(points)
    slopes = by_rays(camera_points(bundle.poses, points), bundle.intrinsics) @ bundle.poses @ tangents[:, None]
    weight = views.seen / (1 + (np.minimum(bundle.errors(views.xy), 1e6) / views.within) ** 2)
    normal = np.einsum("nt,ntai,ntaj->nij", weight, slopes, slopes, optimize=True)
    forward = bundle.poses[anchor, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        by_point = forward / (forward * points).sum(1, keepdims=True)
        by_point[:, 3] -= 1 / points[:, 3]
    slope = np.einsum("ni,nij->nj", by_point, tangents)
    sigma = max(error, 1e-3) / 1.18  # the median of the length of two normal errors is 1.18 of their deviations
    usable = np.isfinite(slope).all(1)
    normal += 1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(3) + 1e-30 * np.eye(3)
    variance = np.einsum("ni,nij,nj->n", np.where(usable[:, None], slope, 0), np.linalg.inv(normal), slope)
    return np.where(usable, sigma * np.sqrt(np.maximum(variance, 0)), np.inf)


def lift_by_adjustment(
    tracks: Tracks,
    size: tuple[int, int],
    intrinsics: Sequence[float] | F64 | None = None,
    *,
    support: Tracks | None = None,
    median_depth: float | None = None,
    seed: int = 0,
) -> Tracks3D:
    """The tracks in space, by the reconstruction of what stands still.

    Args:
        tracks: the points that are wanted.
        size: width and height of the picture in pixels.
        intrinsics: as for `reconstruct`.
        support: further points of the same video, for the cameras' sake: a grid over the picture in several frames.
        median_depth: metres, the median distance along the axis of view of visible points that stand still; without it this
            is 1, and the result is not metric.
        seed: of the random samples; the same gives the same result.

    Raises:
        BadInput: as `reconstruct`, or a depth that is not above 0.
        MissingExtra: scipy is not installed.
    """
    if median_depth is not None and not (np.isfinite(median_depth) and median_depth > 0):
        raise BadInput(f"the median depth is {median_depth}; give metres above 0")
    found = reconstruct(tracks if support is None else _beside(tracks, support), size, intrinsics, seed=seed)
    n, bundle = tracks.points, found.bundle
    anchor = _anchors(tracks)
    depth = _depths(found, anchor, tracks.queries[:, 1:].astype(np.float64))
    start = unproject(tracks.queries[:, 1:], depth, bundle.intrinsics)
    poses = bundle.poses[anchor]
    world = np.einsum("nji,nj->ni", poses[..., :3], start - poses[..., 3])
    standing = np.einsum("tij,nj->nti", bundle.poses[..., :3], world) + bundle.poses[..., 3]
    moving = unproject(tracks.xy, np.broadcast_to(depth[:, None], tracks.visible.shape), bundle.intrinsics)
    xyz = np.where(found.still[:n, None, None], standing, moving)
    counted = tracks.visible & found.still[:n, None]
    unit = (median_depth or 1.0) / float(np.median(xyz[counted if counted.any() else tracks.visible, 2]))
    extrinsics = np.tile(np.eye(4), (tracks.frames, 1, 1))
    extrinsics[:, :3] = bundle.poses
    extrinsics[:, :3, 3] *= unit
    return Tracks3D(
        xyz=xyz * unit,
        xy=tracks.xy,
        visible=tracks.visible,
        confidence=tracks.confidence,
        queries=tracks.queries,
        intrinsics=bundle.intrinsics,
        metric=median_depth is not None,
        extrinsics_w2c=extrinsics,
    )


def _beside(a: Tracks, b: Tracks) -> Tracks:
    """The points of both."""
    names = ("xy", "visible", "confidence", "queries")
    return Tracks(**{name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in names})


def _depths(found: Reconstruction, anchor: np.ndarray, places: F64) -> F64:
    """Depth (n,) of the first n points in their frames `anchor`, where they are at `places` (n, 2) in pixels."""
    bundle, depths = found.bundle, np.zeros(len(anchor))
    certain = found.still & (found.spread < CERTAIN)
    for n, (frame, place) in enumerate(zip(anchor, places, strict=True)):
        rays = bundle.points @ bundle.poses[frame].T
        with np.errstate(divide="ignore", invalid="ignore"):
            camera = rays / bundle.points[:, 3:]
        known = np.flatnonzero(certain & (camera[:, 2] > 0))
        away = np.linalg.norm(project(camera[known], bundle.intrinsics) - place, axis=1)
        near = np.argsort(away)[:BESIDE]
        weight = 1 / (away[near] + 1)
        logs = np.log(camera[known[near], 2])
        mean = float(logs @ weight / weight.sum())
        variance = float((logs - mean) ** 2 @ weight / weight.sum()) + 0.05**2
        if found.still[n] and camera[n, 2] > 0 and np.isfinite(found.spread[n]):
            own = 1 / max(float(found.spread[n]) ** 2, 1e-12)
            mean = (own * np.log(camera[n, 2]) + mean / variance) / (own + 1 / variance)
        depths[n] = np.exp(mean)
    return depths
