"""3D tracking that works today: any 2D tracker, and depth from wherever there is some.

    video, queries ──► 2D tracker ──► xy, visible ──┬── depth maps: depth at each place, unprojected
                                                    └── "adjust":   bundle adjustment over the tracks (`adjust`)

The baselines of TAPVid-3D (section 5): a 2D tracker with monocular depth or with structure from motion, and `Static3D`, a
point that stays where it was in the camera. Visibility is the 2D tracker's alone. Positions are asked for in every frame:
where a point is hidden, or its depth unknown, the depth is interpolated in time between the frames where it is known, and
before the first and after the last it is theirs.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Num

from tapetum.errors import BadInput
from tapetum.tap.tracks import Tracks
from tapetum.tapvid3d.adjust import expected_intrinsics, lift_by_adjustment
from tapetum.tapvid3d.depth import Depth, DepthMaps, Flat, load_depth, sample_depth
from tapetum.tapvid3d.geometry import F64, unproject
from tapetum.tapvid3d.tracks3d import Tracks3D
from tapetum.video import Video, open_video

Progress = Callable[[int, int], None] | None
"""Is called with the number of frames seen and the number of all frames."""
ADJUST = "adjust"
"""The source of depth that needs none: bundle adjustment."""
GRID = 10
"""Points a side of the grids that are tracked beside what was asked for, for the camera's sake."""
EVERY = 24
"""Frames between these grids, of which there are three to nine."""


class Tracker2D(Protocol):
    """What lifting needs of a tracker."""

    def track(self, video: Any, queries: Num[np.ndarray, "n 3"], /, *, progress: Progress = None) -> Tracks:
        """Track queries (frame, x, y in raster pixels) through a whole video or array of frames (t, h, w, 3)."""
        ...


class Tracker3D(Protocol):
    """What a benchmark needs of a 3D tracker."""

    def track(
        self,
        video: Any,
        queries_xyt: Num[np.ndarray, "n 3"],
        intrinsics: Num[np.ndarray, "4"] | None = None,
        depth: Any = None,
        *,
        progress: Progress = None,
    ) -> Tracks3D:
        """Track queries (x, y in raster pixels, frame) through a whole video, in space."""
        ...


class Lifter:
    """A 2D tracker with a source of depth."""

    def __init__(self, tracker: Tracker2D, depth: Any = ADJUST, *, median_depth: float | None = None, seed: int = 0):
        """`depth` is "adjust" or anything that `load_depth` takes; the rest is for "adjust", see `lift_by_adjustment`."""
        self.tracker, self.median_depth, self.seed = tracker, median_depth, seed
        self.depth = _source(depth)

    def track(
        self,
        video: Any,
        queries_xyt: Num[np.ndarray, "n 3"],
        intrinsics: Num[np.ndarray, "4"] | None = None,
        depth: Any = None,
        *,
        progress: Progress = None,
    ) -> Tracks3D:
        """Track points through a video, before and after the frame on which each was asked for, in space.

        Args:
            video: anything that `tapetum.video.open_video` takes.
            queries_xyt: (x, y, t) of each point, as in the files of TAPVid-3D: raster pixels and frame number.
            intrinsics: fx, fy, cx, cy in pixels; None lets bundle adjustment find them, and takes `expected_intrinsics` with
                maps.
            depth: in place of the tracker's own source, as there.
            progress: is called with the number of frames seen and of all frames, while tracking and again while reading depth.

        Raises:
            BadInput: the video cannot be read, a query is outside of it, depth maps do not fit it, or see `lift_by_adjustment`.
            MissingExtra: scipy is not installed, which "adjust" needs.
        """
        video = open_video(video)
        source = self.depth if depth is None else _source(depth)
        queries = _checked(queries_xyt)[:, [2, 0, 1]]
        size = video.width, video.height
        if source == ADJUST:
            grid = support_queries(len(video), size)
            both = self.tracker.track(video, np.concatenate([queries, grid]), progress=progress)
            wanted, support = _split(both, len(queries))
            return lift_by_adjustment(wanted, size, intrinsics, support=support, median_depth=self.median_depth, seed=self.seed)
        return lift(self.tracker.track(video, queries, progress=progress), video, source, intrinsics, progress=progress)


class Static3D:
    """Every point stays where it was in the camera when it was asked for, and is always visible: the floor of the benchmark."""

    def __init__(self, depth: Any = None):
        """`depth` is anything that `load_depth` takes; None is the same everywhere."""
        self.depth = Flat() if depth is None else _source(depth)

    def track(
        self,
        video: Any,
        queries_xyt: Num[np.ndarray, "n 3"],
        intrinsics: Num[np.ndarray, "4"] | None = None,
        depth: Any = None,
        *,
        progress: Progress = None,
    ) -> Tracks3D:
        """As `Lifter.track`; only the depth of the frames with a query is looked at."""
        video = open_video(video)
        source = self.depth if depth is None else _source(depth)
        queries = _checked(queries_xyt)[:, [2, 0, 1]]
        shape = len(queries), len(video)
        flat = Tracks(
            xy=np.broadcast_to(queries[:, None, 1:], (*shape, 2)),
            visible=np.ones(shape, bool),
            confidence=np.ones(shape, np.float32),
            queries=queries,
        )
        if source == ADJUST:
            raise BadInput(
                "points that stand still in the picture cannot be adjusted; give the static tracker depth maps or none"
            )
        camera = _intrinsics(intrinsics, video)
        depths = _query_depths(queries, video, source)
        xyz = np.broadcast_to(unproject(queries[:, 1:], depths, camera)[:, None], (*shape, 3))
        return _together(flat, xyz, camera, source.metric)


def load_tracker3d(name: str, depth: Any = ADJUST, device: str | None = None) -> Tracker3D:
    """A 3D tracker by name: that of a 2D tracker (`tapetum.load`), or "static", with depth from "adjust" or `load_depth`.

    Of "static" with "adjust" the depth is the same everywhere. Raises BadInput and MissingExtra as these do.

    >>> tracker = load_tracker3d("static", depth=np.full((2, 8, 8), 3.0))
    >>> video = np.zeros((2, 8, 8, 3), np.uint8)
    >>> tracker.track(video, np.array([[6.0, 4.0, 1.0]]), np.array([10.0, 10.0, 4.0, 4.0])).xyz[0, 0].round(6).tolist()
    [0.6000000238418579, 0.0, 3.0]
    """
    if name == "static":
        return Static3D(None if isinstance(depth, str) and depth == ADJUST else depth)
    import tapetum

    return Lifter(tapetum.load(name, device=device), depth)


def lift(
    tracks: Tracks, video: Any, depth: Depth, intrinsics: Num[np.ndarray, "4"] | None = None, *, progress: Progress = None
) -> Tracks3D:
    """Tracks with the depth of maps at their places, in the camera of each frame.

    The depth of a frame counts where the point is visible in it, or was asked for on it. Points whose depth no frame tells
    get the median of the others. Raises BadInput where there is none at all, or the maps do not fit the video.
    """
    video = open_video(video)
    size = video.width, video.height
    _fit(depth, video)
    found = np.full(tracks.visible.shape, np.nan)
    for number, picture in enumerate(video):
        if number < tracks.frames:
            found[:, number] = sample_depth(depth.depth(number, picture), tracks.xy[:, number], size)
        if progress:
            progress(number + 1, len(video))
    if len(video) != tracks.frames:
        raise BadInput(
            f"the tracks have {tracks.frames} frames but the video has {len(video)}; lift tracks with their own video"
        )
    counts = tracks.visible.copy()
    counts[np.arange(tracks.points), np.rint(tracks.queries[:, 0]).astype(int)] = True
    filled = interpolated(found, counts & np.isfinite(found))
    camera = _intrinsics(intrinsics, video)
    return _together(tracks, unproject(tracks.xy, filled, camera), camera, depth.metric)


def interpolated(depth: Float[np.ndarray, "n t"], known: Bool[np.ndarray, "n t"]) -> F64:
    """Depths with those that are not known interpolated in time; points without any get the median of all that are known.

    Raises BadInput where none is.

    >>> interpolated(np.array([[1.0, 9, 9, 4]]), np.array([[True, False, False, True]])).tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """
    if not known.any():
        raise BadInput("no point has a depth in any frame: the depth maps hold nothing but 0 or NaN there; give other maps")
    time, middle = np.arange(depth.shape[1]), float(np.median(depth[known]))
    rows = [
        np.interp(time, time[k], row[k]) if k.any() else np.full(len(time), middle) for row, k in zip(depth, known, strict=True)
    ]
    return np.array(rows)


def support_queries(frames: int, size: tuple[int, int]) -> Float[np.ndarray, "n 3"]:
    """Queries (t, x, y) of grids over a picture of (width, height), on several frames from the first to the last."""
    count = min(frames, int(np.clip(-(-frames // EVERY) + 1, 3, 9)))
    cells = (np.arange(GRID) + 0.5) / GRID
    moments = np.unique(np.linspace(0, frames - 1, count).round())
    t, y, x = np.meshgrid(moments, cells * size[1], cells * size[0], indexing="ij")
    return np.stack([t, x, y], axis=-1).reshape(-1, 3).astype(np.float32)


def _source(depth: Any) -> Any:
    return depth if isinstance(depth, str) and depth == ADJUST else load_depth(depth)


def _checked(queries: Any) -> Float[np.ndarray, "n 3"]:
    found = np.asarray(queries, np.float32)
    if found.ndim != 2 or found.shape[1] != 3 or not len(found):
        raise BadInput(f"queries have shape {found.shape}; give (n, 3), one or more points: x, y, t of each")
    return found


def _intrinsics(given: Any, video: Video) -> F64:
    if given is None:
        return expected_intrinsics((video.width, video.height))
    camera = np.asarray(given, np.float64)
    if camera.shape != (4,) or not np.isfinite(camera).all() or (camera[:2] <= 0).any():
        raise BadInput(f"intrinsics are {np.asarray(given).tolist()}; give fx, fy above 0, then cx, cy, all in pixels")
    return camera


def _fit(source: Depth, video: Video) -> None:
    if isinstance(source, DepthMaps) and source.frames != len(video):
        raise BadInput(
            f"{source.name} holds {source.frames} depth maps but the video has {len(video)} frames; give one a frame"
        )


def _query_depths(queries: Float[np.ndarray, "n 3"], video: Video, source: Depth) -> F64:
    """Depth (n,) of each query in its frame, the median of the others where it is unknown there."""
    _fit(source, video)
    frames = np.clip(np.rint(queries[:, 0]).astype(int), 0, len(video) - 1)
    depths = np.full(len(queries), np.nan)
    for number in np.unique(frames).tolist():
        here = frames == number
        depths[here] = sample_depth(source.depth(number, video[number]), queries[here, 1:], (video.width, video.height))
    return interpolated(depths[:, None], np.isfinite(depths[:, None]))[:, 0]


def _split(tracks: Tracks, count: int) -> tuple[Tracks, Tracks]:
    names = ("xy", "visible", "confidence", "queries")
    first, last = (
        Tracks(**{name: getattr(tracks, name)[part] for name in names}) for part in (slice(count), slice(count, None))
    )
    return first, last


def _together(tracks: Tracks, xyz: np.ndarray, camera: F64, metric: bool) -> Tracks3D:
    return Tracks3D(
        xyz=xyz,
        xy=tracks.xy,
        visible=tracks.visible,
        confidence=tracks.confidence,
        queries=tracks.queries,
        intrinsics=camera,
        metric=metric,
    )
