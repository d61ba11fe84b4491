"""3D tracks from any 2D tracker and depth maps: the paper's simplest family of baselines (arXiv 2407.05921).

    video --2D tracker--> xy, visible  --+--> depth of the map under each visible point --unproject--> xyz
    depth maps ---------------------------+

Visibility is the 2D tracker's alone. A hidden point keeps its place in the image as the tracker guesses it, and its depth
goes evenly, in 1 / Z, from where it was last seen to where it is seen again, since the map there shows what hides it.

Differs from the paper: a point whose depth is not known (a hole in the map) stays visible, with depth as for a hidden one.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.baselines import query_depth
from tapetum.systems.tapvid3d.depth import DepthSource, sample_depth
from tapetum.systems.tapvid3d.geometry import unproject
from tapetum.types import Tracks, Tracks3D


class Tracker2D(Protocol):
    """What is lifted: a tracker in the image, such as `tapetum.load` gives."""

    def track(self, video: Any, queries: Num[np.ndarray, "n 3"], /) -> Tracks:
        """Track tracks of queries (frame, x, y)."""
        ...


def lift(
    tracks: Tracks,
    maps: Iterable[Float[np.ndarray, "h2 w2"]],
    size: tuple[int, int],
    intrinsics: Num[np.ndarray, "4"],
) -> Tracks3D:
    """Lift tracks in a video of `size` (height, width), put where its depth maps (metres, one a frame) say that they are.

    Raises BadInput where no visible point has a known depth.
    """
    seen = np.stack([sample_depth(depth, tracks.xy[:, t], size) for t, depth in enumerate(maps)], 1)
    if seen.shape != tracks.visible.shape:
        raise BadInput(f"there are {seen.shape[1]} depth maps for tracks of {tracks.frames} frames; there must be one for each")
    z = through_time(seen, tracks.visible & np.isfinite(seen))
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
    """Lift the static baseline: each query stays where it is before the camera and is always visible.

    Its depth is that of the map of its frame, or the median of all queries' where that has none; 1 without maps.
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


def through_time(z: Float[np.ndarray, "n t"], known: Bool[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
    """Return depth with what is not known filled in: even in 1 / Z between known frames, as the nearest one before and after
    them.

    A point that is never known has the median depth of all that are. Raises BadInput where nothing is known.

    >>> through_time(np.array([[9.0, 2.0, 0.0, 1.0]]), np.array([[False, True, False, True]])).round(3).tolist()
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
    """A 3D tracker made of a 2D one and depth."""

    def __init__(self, tracker: Tracker2D, depth: DepthSource | None = None):
        """`depth` may be left out where maps are given with every video."""
        self.tracker, self.depth = tracker, depth

    def track(
        self,
        video: UInt8[np.ndarray, "t h w 3"],
        queries_xyt: Num[np.ndarray, "n 3"],
        intrinsics: Num[np.ndarray, "4"],
        depth: Float[np.ndarray, "t h2 w2"] | None = None,
    ) -> Tracks3D:
        """Track points through all frames, before the query's as after it.

        Args:
            video: the frames.
            queries_xyt: x, y in raster pixels and the frame of each point.
            intrinsics: fx, fy, cx, cy in pixels of the video.
            depth: maps in metres, in place of the tracker's own source.

        Raises:
            BadInput: there is neither `depth` nor a source, or it has nothing where points are seen.
        """
        if depth is None and self.depth is None:
            raise BadInput("lifting to 3D needs depth; give maps (--depth true, a file or a folder) or a network's name")
        maps = self.depth.maps(video) if depth is None and self.depth is not None else depth
        tracks = self.tracker.track(video, np.asarray(queries_xyt, np.float32)[:, [2, 0, 1]])
        return lift(tracks, maps if maps is not None else (), video.shape[1:3], intrinsics)
