"""Baselines of TAPVid-3D (arXiv 2407.05921): the static one, and any 2D tracker lifted into space by depth maps.

A 3D tracker is a class with one method (`Tracker3D`); `tapetum.bench.tapvid3d` scores any. It gives positions for all frames:
frames before a query count like those after it.

    video --2D tracker--> xy, visible  --+--> depth of the map under each visible point --unproject--> xyz     (`Lifted`)
    depth maps ---------------------------+

A lifted track's visibility is the 2D tracker's. A hidden point keeps the tracker's image position, and its depth is
interpolated in 1 / Z between the frames where it is visible, since the depth map there shows the occluder.

Differs from the paper: a point of unknown depth (a hole in the map) stays visible, with depth as for a hidden one.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.depth import DepthSource, sample_depth
from tapetum.systems.tapvid3d.geometry import unproject
from tapetum.tracks.tracker import Tracker
from tapetum.types import Tracks, Tracks3D

Frames = UInt8[np.ndarray, "t h w 3"]
Queries = Num[np.ndarray, "n 3"]
"""x, y in raster pixels, and frame."""
Camera = Num[np.ndarray, "4"]
"""fx, fy, cx, cy in pixels of the video."""
Depths = Float[np.ndarray, "t h2 w2"] | None
"""Depth maps in metres."""


class Points3D(Protocol):
    """Result of a 3D tracker, such as a `Tracks3D`."""

    @property
    def xyz(self) -> np.ndarray:
        """Get the positions (n, t, 3): X, Y, Z in the camera of each frame, in metres or in a scale of the tracker's own."""
        ...

    @property
    def visible(self) -> np.ndarray:
        """Get the visibility, bool (n, t): True where the point can be seen."""
        ...


class Tracker3D(Protocol):
    """A tracker of points in space: positions in every frame, before and after the query's."""

    def track(self, video: Frames, queries_xyt: Queries, intrinsics: Camera, depth: Depths = None) -> Points3D:
        """Track queries (x, y in raster pixels, frame) with known intrinsics (fx, fy, cx, cy) and optional depth in metres."""
        ...


class PointArrays(NamedTuple):
    """Positions and visibility as arrays, the least that a 3D tracker may return."""

    xyz: Num[np.ndarray, "n t 3"]
    visible: Bool[np.ndarray, "n t"]


class Static3D:
    """Every point keeps its position relative to the camera and is always visible: the paper's static baseline.

    Its depth is that of the depth map at the query, see `query_depth`; 1 without maps, or if they are empty.

    >>> video, query = np.zeros((2, 48, 64, 3), np.uint8), np.array([[42, 24, 0]])
    >>> Static3D().track(video, query, np.array([100, 100, 32, 24])).xyz.tolist()
    [[[0.1, 0.0, 1.0], [0.1, 0.0, 1.0]]]
    """

    def track(self, video: Frames, queries_xyt: Queries, intrinsics: Camera, depth: Depths = None) -> PointArrays:
        """Repeat the same point for each frame; only the number of frames matters."""
        z = np.ones(len(queries_xyt)) if depth is None else query_depth(queries_xyt, depth, video.shape[1:3])
        xyz = unproject(queries_xyt[:, :2], np.nan_to_num(z, nan=1.0), intrinsics)
        shape = len(queries_xyt), len(video)
        return PointArrays(np.broadcast_to(xyz[:, None], (*shape, 3)), np.ones(shape, bool))


def query_depth(
    queries_xyt: Num[np.ndarray, "n 3"], maps: Iterable[Float[np.ndarray, "h2 w2"]], size: tuple[int, int]
) -> Float[np.ndarray, " n"]:
    """Look up the depth of queries in a video of `size` (height, width), from one map per frame.

    If a map has none, it is the median of the other queries'; NaN for all if none is known.

    >>> maps = [np.full((3, 4), 6.0), np.full((3, 4), 2.0)]
    >>> query_depth(np.array([[2.9, 1.1, 0], [1.2, 1, 1], [9, 9, 1]]), maps, (3, 4)).round(6).tolist()
    [6.0, 2.0, 4.0]
    """
    query_frame = np.round(queries_xyt[:, 2]).astype(int)
    z = np.full(len(query_frame), np.nan)
    for frame, depth in enumerate(maps):
        here = query_frame == frame
        z[here] = sample_depth(depth, queries_xyt[here, :2], size)
    known = z[np.isfinite(z)]
    return np.where(np.isfinite(z), z, np.median(known) if len(known) else np.nan)


def lift(
    tracks: Tracks, maps: Iterable[Float[np.ndarray, "h2 w2"]], size: tuple[int, int], intrinsics: Num[np.ndarray, "4"]
) -> Tracks3D:
    """Lift tracks in a video of `size` (height, width) into space by its depth maps (metres, one per frame).

    Raises BadInput if no visible point has a known depth.
    """
    depth_under = np.stack([sample_depth(depth, tracks.xy[:, t], size) for t, depth in enumerate(maps)], 1)
    if depth_under.shape != tracks.visible.shape:
        raise BadInput(f"there are {depth_under.shape[1]} depth maps for tracks of {tracks.frames} frames; give one for each")
    z = interpolate_depth(depth_under, tracks.visible & np.isfinite(depth_under))
    return Tracks3D(
        xyz=unproject(tracks.xy, z, intrinsics),
        xy=tracks.xy,
        visible=tracks.visible,
        confidence=tracks.confidence,
        queries=tracks.queries,
        intrinsics=np.asarray(intrinsics, np.float64),
        metric=True,
    )


def lift_static(
    tracks: Tracks, maps: Iterable[Float[np.ndarray, "h2 w2"]] | None, size: tuple[int, int], intrinsics: Num[np.ndarray, "4"]
) -> Tracks3D:
    """Lift the static baseline: each query keeps its position relative to the camera and is always visible.

    Its depth is that of its frame's map, or the median of all queries' if that has none; 1 without maps.
    """
    n, t = tracks.visible.shape
    z = np.ones(n) if maps is None else query_depth(tracks.queries[:, [1, 2, 0]], maps, size)
    if not np.isfinite(z).all():
        raise BadInput("no query has a known depth; are these the depth maps of this video?")
    return Tracks3D(
        xyz=np.repeat(unproject(tracks.queries[:, 1:], z, intrinsics)[:, None], t, 1),
        xy=np.repeat(tracks.queries[:, None, 1:], t, 1),
        visible=np.ones((n, t), bool),
        confidence=np.ones((n, t), np.float32),
        queries=tracks.queries,
        intrinsics=np.asarray(intrinsics, np.float64),
        metric=maps is not None,
    )


def interpolate_depth(z: Float[np.ndarray, "n t"], known: Bool[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
    """Fill in unknown depth: linear in 1 / Z between known frames, constant before the first and after the last.

    A point whose depth is never known gets the median of all known depths. Raises BadInput if nothing is known.

    >>> interpolate_depth(np.array([[9.0, 2.0, 0.0, 1.0]]), np.array([[False, True, False, True]])).round(3).tolist()
    [[2.0, 2.0, 1.333, 1.0]]
    """
    if not known.any():
        raise BadInput("no visible point has a known depth; are these the depth maps of this video?")
    frames, filled = np.arange(z.shape[1]), np.full(z.shape, np.median(z[known]))
    for row, (own, at) in enumerate(zip(z, known, strict=True)):
        if at.any():
            filled[row] = 1 / np.interp(frames, frames[at], 1 / own[at])
    return filled


class Lifted:
    """A 3D tracker built from a 2D tracker and depth."""

    def __init__(self, tracker: Tracker, depth: DepthSource | None = None):
        """`depth` may be left out if maps are given with every video."""
        self.tracker, self.depth = tracker, depth

    def track(self, video: Frames, queries_xyt: Queries, intrinsics: Camera, depth: Depths = None) -> Tracks3D:
        """Track points through all frames, before and after the query's; `depth` takes the place of the tracker's own source.

        Raises BadInput if there is neither, or no depth where points are visible.
        """
        if depth is None and self.depth is None:
            raise BadInput("lifting to 3D needs depth; give maps (--depth true, a file or a folder) or a network's name")
        maps = self.depth.maps(video) if depth is None and self.depth is not None else depth
        tracks = self.tracker.track(video, np.asarray(queries_xyt, np.float32)[:, [2, 0, 1]])
        return lift(tracks, maps if maps is not None else (), video.shape[1:3], intrinsics)
