"""3D trackers without learning, which are floors that a model must clear, and a helper for those that only see forward.

A 3D tracker has `track(video, queries_xyt, intrinsics, depth)` as `Static` has. It takes a clip's frames, queries (x, y, frame)
in raster pixels, intrinsics and, where there are any, depth maps; it gives an object with `xyz` (n, t, 3) in each frame's
camera and `visible` (n, t) for all frames: those before a query count as those after it (arXiv 2407.05921).
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8

from tapetum.systems.tapvid3d.depth import sample_depth
from tapetum.systems.tapvid3d.geometry import unproject


class Points3D(NamedTuple):
    """Where points are in space, and which can be seen."""

    xyz: Num[np.ndarray, "n t 3"]
    """X, Y, Z in the camera of each frame, in metres or in a scale of the tracker's own."""
    visible: Bool[np.ndarray, "n t"]
    """True where the point can be seen."""


class Static:
    """Every point keeps its place before the camera and is always visible: the paper's static baseline.

    Its depth is that of the depth map at the query, see `query_depth`; 1 without maps, or where these hold nothing at all.

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
        """Track the same point in each of the frames, of which only the number is looked at."""
        z = np.ones(len(queries_xyt)) if depth is None else query_depth(queries_xyt, depth, video.shape[1:3])
        xyz = unproject(queries_xyt[:, :2], np.nan_to_num(z, nan=1.0), intrinsics)
        shape = len(queries_xyt), len(video)
        return Points3D(np.broadcast_to(xyz[:, None], (*shape, 3)), np.ones(shape, bool))


def query_depth(
    queries_xyt: Num[np.ndarray, "n 3"], maps: Iterable[Float[np.ndarray, "h2 w2"]], size: tuple[int, int]
) -> Float[np.ndarray, " n"]:
    """Return depth of queries in a video of `size` (height, width), from maps, one a frame.

    Where a map has none it is the median of the other queries'; NaN for all where none is known.

    >>> maps = [np.full((3, 4), 6.0), np.full((3, 4), 2.0)]
    >>> query_depth(np.array([[2.9, 1.1, 0], [1.2, 1, 1], [9, 9, 1]]), maps, (3, 4)).round(6).tolist()
    [6.0, 2.0, 4.0]
    """
    asked = np.round(queries_xyt[:, 2]).astype(int)
    z = np.full(len(asked), np.nan)
    for frame, depth in enumerate(maps):
        here = asked == frame
        z[here] = sample_depth(depth, queries_xyt[here, :2], size)
    known = z[np.isfinite(z)]
    return np.where(np.isfinite(z), z, np.median(known) if len(known) else np.nan)


def both_ways(track_forward: Callable[..., Any]) -> Callable[..., Points3D]:
    """Return `track` of a tracker that is right only from the query on: run on the clip and on the clip reversed, and joined.

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
