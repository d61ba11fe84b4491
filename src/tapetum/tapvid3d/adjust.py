"""3D tracks from 2D tracks alone: the camera's way and the points that stand still, by bundle adjustment.

Source: TAPVid-3D (arXiv 2407.05921) lifts 2D trackers with COLMAP; here the tracks themselves are the matches.

    tracks --first reconstruction (incremental.py)--> some frames' poses --every frame--> bundle adjustment (bundle.py)
      still points          where they are in the world, in every frame, hidden or not
      moving points         count as hidden; as a guess, where they are in the picture, at the depth of still points around

Nothing tells how far away a thing is that moves by itself, so its points count as hidden in space, as those without a COLMAP
point do in the paper. The unit is unknown, since a small world near by looks like a large one far away: the median depth of
what stands still is set to 1. Intrinsics that are not given have their principal point in the middle and one focal length,
which is estimated: the best of a few is taken, and then adjusted with all else.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8

from tapetum.errors import BadInput
from tapetum.tap.tracks import Tracks
from tapetum.tapvid3d.bundle import Bundle, adjust
from tapetum.tapvid3d.geometry import F64, transform, unproject
from tapetum.tapvid3d.incremental import (
    LEAST,
    Growing,
    Views,
    agreement,
    centres,
    crowding,
    first_reconstruction,
    turn_errors,
    unplaced,
)
from tapetum.tapvid3d.tracks3d import Tracks3D

KEYS = 24
"""Frames of the first reconstruction, at most; the others are placed between them."""
FOCALS = (0.7, 1.0, 1.5)
"""Focal lengths that are tried where none is given, in lengths of the picture's longer side."""
FOCAL_PRIOR = 2.0
"""Weight that holds an estimated focal length near where it began; see `bundle.Problem`."""
PARALLAX = 1.0
"""Pixels of a 256-pixel picture by which points must differ at least, in the median, beyond what a turn explains."""
AROUND = 8
"""Still points that tell the depth of a moving one."""


def adjusted(tracks: Tracks, size: tuple[int, int], intrinsics: Num[np.ndarray, "4"] | None = None, seed: int = 0) -> Tracks3D:
    """Tracks of a video of `size` (height, width) in space, with the poses of the camera; in an unknown unit.

    Raises:
        BadInput: too few points, a camera that does not travel, or nothing that explains the tracks.
        MissingExtra: scipy is not installed.
    """
    h, w = size
    within = max(size) / 256
    seen = tracks.visible & ((tracks.xy >= 0) & (tracks.xy <= [w, h])).all(-1)
    usable = seen.sum(1) >= 2
    if usable.sum() < LEAST or tracks.frames < 2:
        raise BadInput(
            f"{int(usable.sum())} points are seen in two or more of {tracks.frames} frames; adjustment needs {LEAST}: "
            "track more points (--grid), or give --depth maps or a network"
        )
    xy, weight = tracks.xy.astype(np.float64), crowding(tracks.queries[:, 1:], (w, h)) * usable
    keys = np.unique(np.linspace(0, tracks.frames - 1, min(KEYS, tracks.frames)).round().astype(int)).tolist()
    guesses = [np.array([f * max(size), f * max(size), w / 2, h / 2]) for f in FOCALS]
    cameras = guesses if intrinsics is None else [np.asarray(intrinsics, np.float64)]
    views = Views(xy, seen, weight, cameras[len(cameras) // 2], within)
    _check_parallax(views, keys)
    best = _best([replace(views, intrinsics=camera) for camera in cameras], keys, seed)
    _place_all(best, tracks.frames)
    bundle = _refined(best, focal_prior=None if intrinsics is not None else FOCAL_PRIOR)
    return _in_space(tracks, seen, bundle, best.still)


class AdjustedTracker:
    """A 3D tracker made of a 2D one and nothing else."""

    def __init__(self, tracker: Any):
        self.tracker = tracker

    def track(
        self,
        video: UInt8[np.ndarray, "t h w 3"],
        queries_xyt: Num[np.ndarray, "n 3"],
        intrinsics: Num[np.ndarray, "4"],
        depth: Float[np.ndarray, "t h2 w2"] | None = None,
    ) -> Tracks3D:
        """Points through all frames, in an unknown unit; see `tapetum.tapvid3d.lift.Lifted.track`. Depth is not looked at."""
        tracks = self.tracker.track(video, np.asarray(queries_xyt, np.float32)[:, [2, 0, 1]])
        return adjusted(tracks, video.shape[1:3], intrinsics)


def _check_parallax(views: Views, keys: list[int]) -> None:
    most = 0.0
    for i in keys[:: max(1, len(keys) // 6)]:
        for j in keys[:: max(1, len(keys) // 6)]:
            both = views.seen[:, i] & views.seen[:, j] & (views.weight > 0)
            if i < j and both.sum() >= LEAST:
                left = turn_errors(views.places[both, i], views.places[both, j], views.weight[both], 10 / views.focal)
                most = max(most, float(np.median(left)) * views.focal)
    if most < PARALLAX * views.within:
        raise BadInput(
            f"the camera stands still or only turns (points shift by {most:.2g} pixels against one another), so nothing tells "
            "how far away they are; give --depth maps or a network"
        )


def _best(every: list[Views], keys: list[int], seed: int) -> Growing:
    """The reconstruction that explains most, of those with different focal lengths."""
    found, trouble = [], None
    for views in every:
        try:
            found.append(first_reconstruction(views, keys, np.random.default_rng(seed)))
        except BadInput as error:
            trouble = error
    if not found:
        assert trouble is not None
        raise trouble
    return max(found, key=agreement)


def _place_all(grown: Growing, frames: int) -> None:
    """A pose for every frame, each from its neighbour's."""
    for frame in range(frames):
        if frame not in grown.poses and not grown.place(frame):
            raise unplaced(frame)
    grown.triangulate()


def _refined(grown: Growing, focal_prior: float | None) -> Bundle:
    """All frames, in order, and all points; cameras and still points adjusted together."""
    grown.poses = dict(sorted(grown.poses.items()))
    for within in (grown.views.within, grown.views.within / 2):
        bundle, still = grown.bundle, grown.still
        if still.sum() < LEAST:
            break
        far = int(np.linalg.norm(centres(bundle.poses) - centres(bundle.poses[:1]), axis=1).argmax())
        part = replace(bundle, points=bundle.points[still])
        xy, seen = grown.views.xy[still], grown.views.seen[still]
        better = adjust(part, xy, seen, scale=within, fixed=(0, far), focal_prior=focal_prior)
        grown.views = replace(grown.views, intrinsics=better.intrinsics)
        grown.poses = dict(enumerate(better.poses))
        grown.triangulate()
    return grown.bundle


def _in_space(tracks: Tracks, seen: Bool[np.ndarray, "n t"], bundle: Bundle, still: Bool[np.ndarray, " n"]) -> Tracks3D:
    n, t = tracks.visible.shape
    poses = np.concatenate([bundle.poses, np.tile([[[0, 0, 0, 1.0]]], (t, 1, 1))], 1)
    w = bundle.points[:, 3:]
    world = bundle.points[:, :3] / np.where(abs(w) < 1e-9, 1e-9, w)
    cameras = transform(poses, np.repeat(world[None], t, 0)).transpose(1, 0, 2)
    fixed = still & ((cameras[..., 2] > 0) | ~seen).all(1)
    if fixed.sum() < LEAST:
        raise BadInput(f"only {int(fixed.sum())} points stand still; adjustment needs {LEAST}: track more of the background")
    unit = float(np.median(cameras[fixed][..., 2][seen[fixed]]))
    near = 1e-3 * unit
    xyz = np.where(cameras[..., 2:] > near, cameras, unproject(tracks.xy, np.full((n, t), near), bundle.intrinsics))
    xyz[~fixed] = unproject(tracks.xy[~fixed], _around(tracks.xy, cameras[..., 2], fixed, seen), bundle.intrinsics)
    poses[:, :3, 3] /= unit
    return Tracks3D(
        xyz=xyz / unit,
        xy=tracks.xy,
        visible=tracks.visible & fixed[:, None],
        confidence=np.where(fixed[:, None], tracks.confidence, np.minimum(tracks.confidence, 0.5)),
        queries=tracks.queries,
        intrinsics=bundle.intrinsics,
        metric=False,
        extrinsics_w2c=poses,
    )


def _around(
    xy: Float[np.ndarray, "n t 2"], z: F64, still: Bool[np.ndarray, " n"], seen: Bool[np.ndarray, "n t"]
) -> Float[np.ndarray, "m t"]:
    """Depth of the points that do not stand still: the median of those still ones that are nearest in the picture."""
    found = np.empty(((~still).sum(), xy.shape[1]))
    for frame in range(xy.shape[1]):
        there = still & seen[:, frame] & (z[:, frame] > 0)
        there = there if there.any() else still & (z[:, frame] > 0)
        apart = np.linalg.norm(xy[~still, None, frame] - xy[None, there, frame], axis=-1)
        nearest = np.argsort(apart, 1)[:, :AROUND]
        found[:, frame] = np.median(z[there, frame][nearest], 1) if there.any() else 1.0
    return found
