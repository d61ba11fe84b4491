"""3D trackers without learning, which are floors that a model must clear, and a helper for those that only see forward.

A 3D tracker has `track(video, queries_xyt, intrinsics, depth)` as `Static` has. It takes a clip's frames, queries (x, y, frame)
in raster pixels, intrinsics and, where there are any, depth maps; it gives an object with `xyz` (n, t, 3) in each frame's
camera and `visible` (n, t) for all frames: those before a query count as those after it (arXiv 2407.05921).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8

from tapetum.tapvid3d.geometry import unproject


class Points3D(NamedTuple):
    """Where points are in space, and which can be seen."""

    xyz: Num[np.ndarray, "n t 3"]
    """X, Y, Z in the camera of each frame, in metres or in a scale of the tracker's own."""
    visible: Bool[np.ndarray, "n t"]
    """True where the point can be seen."""


class Static:
    """Every point keeps its place before the camera and is always visible: the paper's static baseline.

    Its depth is that of the depth map at the query, or 1 where there is no map or it holds nothing there.

    >>> video, query = np.zeros((2, 48, 64, 3), np.uint8), np.array([[42, 24, 0]])
    >>> Static().track(video, query, np.array([100, 100, 32, 24])).xyz.tolist()
    [[[0.1, 0.0, 1.0], [0.1, 0.0, 1.0]]]
    """

    def track(
        self,
        video: UInt8[np.ndarray, "t h w 3"],
        queries_xyt: Num[np.ndarray, "n 3"],
        intrinsics: Num[np.ndarray, "4"],
        depth: Float[np.ndarray, "t h w"] | None = None,
    ) -> Points3D:
        """The same point in each of the frames, of which only the number is looked at."""
        z = np.ones(len(queries_xyt)) if depth is None else depth_at(depth, queries_xyt)
        xyz = unproject(queries_xyt[:, :2], np.where(np.isfinite(z) & (z > 0), z, 1), intrinsics)
        shape = len(queries_xyt), len(video)
        return Points3D(np.broadcast_to(xyz[:, None], (*shape, 3)), np.ones(shape, bool))


def depth_at(depth: Float[np.ndarray, "t h w"], queries_xyt: Num[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Depth of the pixel that each query (x, y, frame) lies in, the nearest one where it lies outside.

    >>> depth_at(np.arange(12.0).reshape(1, 3, 4), np.array([[2.9, 1.1, 0], [4.2, -1, 0]])).tolist()
    [6.0, 3.0]
    """
    frames, h, w = depth.shape
    x, y = np.floor(queries_xyt[:, :2].T).astype(int)
    frame = np.round(queries_xyt[:, 2]).astype(int)
    return depth[frame.clip(0, frames - 1), y.clip(0, h - 1), x.clip(0, w - 1)]


def both_ways(track_forward: Callable[..., Any]) -> Callable[..., Points3D]:
    """`track` of a tracker that is right only from the query on: run on the clip and on the clip reversed, and joined.

    What it says before a query's frame comes from the reversed run; the query's own frame from the forward one. Of the paper's
    baselines, a tracker that was not run so scored 6.3 instead of 10.9 (issue 133 of the public code).
    """

    def track(
        video: UInt8[np.ndarray, "t h w 3"],
        queries_xyt: Num[np.ndarray, "n 3"],
        intrinsics: Num[np.ndarray, "4"],
        depth: Float[np.ndarray, "t h w"] | None = None,
    ) -> Points3D:
        last = len(video) - 1
        turned = np.concatenate([queries_xyt[:, :2], last - queries_xyt[:, 2:]], axis=1)
        after = track_forward(video, queries_xyt, intrinsics, depth)
        turned_depth = None if depth is None else np.ascontiguousarray(depth[::-1])
        before = track_forward(np.ascontiguousarray(video[::-1]), turned, intrinsics, turned_depth)
        early = np.arange(last + 1) < np.round(queries_xyt[:, 2:])
        xyz = np.where(early[..., None], before.xyz[:, ::-1], after.xyz)
        return Points3D(xyz, np.where(early, before.visible[:, ::-1], after.visible))

    return track
