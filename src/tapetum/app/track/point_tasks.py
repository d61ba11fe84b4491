"""Tasks of a point tracker on one video, or on a cut of it: new points, or corrections of saved tracks.

A cut is some of the frames, at another size; tracks are converted back to pixels of the original.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import Listener, count_frames
from tapetum.core.errors import BadInput
from tapetum.tracks.points import Point, PointRequest, request_points, support_points

if TYPE_CHECKING:
    from tapetum.app.track.track import TrackSettings
    from tapetum.systems.tap.tracking.corrections import Clicks
    from tapetum.systems.tap.tracking.feature_file import FeatureFile
    from tapetum.tracks.tracker import Tracker
    from tapetum.types import Tracks
    from tapetum.video import Video

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class CutSettings:
    """Part of a video that is tracked."""

    start: Annotated[str | None, tyro.conf.arg(metavar="FRAME|SECONDSs")] = None
    """First frame to track: its number, as 120, or its time with an s, as 4.5s."""
    end: Annotated[str | None, tyro.conf.arg(metavar="FRAME|SECONDSs")] = None
    """First frame, or time, that is not tracked any more."""
    stride: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Track on every N-th frame only."""
    resize: Annotated[str | None, tyro.conf.arg(metavar="N|WxH")] = None
    """Give the tracker smaller frames: N pixels along the longer side, or W x H. Faster where the video is larger than 256x256,
    the least at which a network looks, and less exact. Points stay in pixels of the video."""

    @property
    def cuts(self) -> bool:
        """Check whether frames are left out."""
        return self.start is not None or self.end is not None or self.stride != 1


@dataclass(frozen=True)
class Cut:
    """A video, or the part of it that is worked on."""

    video: "Video"
    """Its frames, at their own size."""
    small: "Video"

    @property
    def numbers(self) -> list[int]:
        """List the frame numbers in the whole video."""
        known = getattr(self.video, "numbers", None)
        return list(range(len(self.video))) if known is None else known.tolist()

    @property
    def _cut(self) -> bool:
        return hasattr(self.video, "numbers")

    def points(self, points: "list[Point]") -> "list[Point]":
        """Convert points (frame of the whole video, x, y) to frames of the cut. Raises BadInput for frames outside it."""
        if not self._cut:
            return points
        numbers, places = self.numbers, {number: place for place, number in enumerate(self.numbers)}
        whole = numbers[-1] - numbers[0] == len(numbers) - 1
        shifted = []
        for t, x, y in points:
            place = t - numbers[0] if whole and numbers[0] <= t <= numbers[-1] else places.get(t)  # type: ignore[call-overload]
            if place is None:
                near = sorted(sorted(numbers, key=lambda number: abs(number - t))[:2])
                raise BadInput(
                    f"a point is on frame {t:g}, which is not among the frames that are tracked ({numbers[0]} to {numbers[-1]}"
                    f"{'' if whole else ', not all of them'}); put it on frame {' or '.join(map(str, near))}"
                )
            shifted.append((place, x, y))
        return shifted

    def shrunk(self, points: "list[Point]") -> "list[Point]":
        """Scale points to pixels of the tracker's input frames."""
        across, down = self.small.width / self.video.width, self.small.height / self.video.height
        return [(t, min(x * across, self.small.width), min(y * down, self.small.height)) for t, x, y in points]

    def options(self, tracker: "Tracker", features: "FeatureFile | None" = None) -> dict[str, Any]:
        """Choose the sizes at which a tracker refines tracks (`sizes_of`), and its file of features, if it has a network."""
        sizes = sizes_of(tracker, (self.small.width, self.small.height), (self.video.width, self.video.height))
        return sizes if features is None or not hasattr(tracker, "correct") else {**sizes, "features": features}

    def whole(self, tracks: "Tracks", queries: "list[Point]") -> "Tracks":
        """Scale tracks to pixels of the video, and add frame times, and frame numbers if some were left out."""
        import numpy as np

        scale = np.array([self.video.width / self.small.width, self.video.height / self.small.height])
        if (scale != 1).any():
            error = None if tracks.error_px is None else tracks.error_px * scale.min()
            tracks = replace(tracks, xy=tracks.xy * scale, queries=np.array(queries, np.float32), error_px=error)
        times = np.round(self.video.timestamps, 9) if self.video.clocked else None  # 0.3 rather than 3 * 0.1
        return replace(tracks, times=times, numbers=np.array(self.numbers) if self._cut else None)


def sizes_of(tracker: Any, small: tuple[int, int], whole: tuple[int, int]) -> dict[str, Any]:
    """Choose the sizes at which a network refines tracks in downscaled frames (width, height): none larger than these, as where
    it upscales small videos (`refine_at_least`), which would cost all that smaller frames save."""
    config = getattr(getattr(tracker, "model", None), "config", None)
    if getattr(config, "refine_at_least", None) is None or small[0] * small[1] >= whole[0] * whole[1]:
        return {}
    from tapetum.systems.tap.model import default_resolutions

    width, height = small
    most = config.refine_at_most or (height, width)  # pyright: ignore[reportOptionalMemberAccess]
    sizes = default_resolutions((min(height, most[0]), min(width, most[1])), config.initial_resolution)  # pyright: ignore[reportOptionalMemberAccess]
    return {"refinement_resolutions": [size for size in sizes if min(size) >= 8 << config.pyramid_level]}  # pyright: ignore[reportOptionalMemberAccess]


def cut(video: "Video", settings: CutSettings) -> Cut:
    """Cut a video whose true number of frames is known. Raises BadInput if nothing is left of it."""
    from tapetum.video.types import ResizedVideo, VideoSubset, parse_frame_range, parse_size

    part = video
    if settings.cuts:
        part = VideoSubset(video, parse_frame_range(video, settings.start, settings.end, settings.stride))
    if settings.resize is None:
        return Cut(part, part)
    width, height = parse_size(settings.resize, video.width, video.height)
    return Cut(part, ResizedVideo(part, width, height))


@dataclass(frozen=True)
class NewPoints:
    """Points to be tracked."""

    part: Cut
    request: PointRequest
    reference: "Video | None" = None
    """What shows the points, if it is not the video."""
    listener: Listener = field(default_factory=Listener)
    """Hears how long many points will take."""
    partial: Callable[[Any, Any], None] | None = None
    """Hears positions and confidences so far from trackers that tell them, in pixels of what these see."""
    around: int = 0
    """Support points around each point, which are left out of the tracks."""

    @property
    def count(self) -> int:
        return len(self.request.firsts)

    def track(
        self, tracker: "Tracker", support: list[Point], progress: Progress, features: "FeatureFile | None" = None
    ) -> "Tracks":
        """Track them. Raises BadInput as the tracker does."""
        import numpy as np

        from tapetum.tracks.tracker import BLOCK, check_memory, in_blocks

        request, part = self.request, self.part
        firsts, count = [request.points[row] for row in request.firsts], self.count + len(support)
        support = support + support_points(firsts, self.around, part.video.width, part.video.height)
        more: dict[str, Any] = part.options(tracker)
        if request.ids is not None:
            more["ids"] = request.ids + [f" support {number}" for number in range(len(support))]
        if self.reference is not None:
            more["reference"] = self.reference
        if request.ids is not None or self.reference is not None:
            needs_network(tracker)
        if self.partial is not None and hasattr(tracker, "correct"):
            more["partial"] = self.partial
        points = request.points + support
        places = points if self.reference is not None else part.shrunk(points)
        queries = np.array(places, np.float32)
        check_memory(len(queries), len(part.small))
        if len(queries) > BLOCK and not {"ids", "reference"} & set(more) and hasattr(tracker, "model"):
            tracks = in_blocks(tracker, part.small, queries, BLOCK, self.listener, **more)
        else:
            tracks = tracker.track(part.small, queries, progress=progress, **{**more, **part.options(tracker, features)})
        tracks = tracks.select(slice(count)) if self.around else tracks
        if self.reference is None:
            queries = (firsts + support)[:count]
        else:
            scale = np.array([1, part.video.width / part.small.width, part.video.height / part.small.height])
            queries = (tracks.queries * scale).tolist()
        tracks = part.whole(tracks, queries)
        if request.ids is not None and self.reference is None:
            xy, order = np.array(tracks.xy), list(dict.fromkeys(request.ids))
            for (t, x, y), known in zip(request.points, request.ids, strict=True):
                if t == round(t):
                    xy[order.index(known), round(t)] = x, y
            tracks = replace(tracks, xy=xy)
        return tracks if request.names is None else replace(tracks, names=(*request.names, *[""] * (count - self.count)))


@dataclass(frozen=True)
class CorrectedPoints:
    """Saved tracks of which some points are corrected."""

    part: Cut
    tracks: "Tracks"
    clicks: "Clicks"

    @property
    def count(self) -> int:
        return self.tracks.points

    def track(
        self, tracker: "Tracker", support: list[Point], progress: Progress, features: "FeatureFile | None" = None
    ) -> "Tracks":
        """Track the corrected points again; all others stay as they are. Raises BadInput as the tracker does."""
        import numpy as np

        from tapetum.systems.tap.tracking.corrections import put_in_place

        needs_network(tracker)
        points: list[Point] = [(t, x, y) for t, x, y in self.clicks.queries.tolist()]
        places = np.array(self.part.shrunk(points), np.float32)
        more: dict[str, Any] = {"ids": self.clicks.points.tolist(), **self.part.options(tracker, features)}
        corrected = tracker.track(self.part.small, places, progress=progress, **more)
        corrected = self.part.whole(corrected, [points[row] for row in self.clicks.firsts().values()])
        return put_in_place(self.tracks, self.clicks, corrected)


def find_point_task(
    settings: "TrackSettings", video: "Video", cleanup: ExitStack, listener: Listener
) -> NewPoints | CorrectedPoints:
    """Build the task that `settings` request for a video whose true number of frames is known, before the tracker is loaded.
    Raises BadInput for anything that the video lacks."""
    if settings.correct:
        from tapetum.systems.tap.tracking.corrections import corrections_of, gather_clicks
        from tapetum.tracks.exchange import check_video, read_tracks, tracked_part

        assert settings.tracks is not None
        tracks = read_tracks(settings.tracks, video=video)
        part = tracked_part(video, tracks)
        check_video(tracks, part)
        return CorrectedPoints(
            cut(part, settings), tracks, gather_clicks(tracks, corrections_of(settings.correct, tracks, video))
        )
    part = cut(video, settings)
    if settings.reference is not None:
        shown = open_reference(settings, cleanup, listener)
        return NewPoints(part, requested_points(settings, shown.width, shown.height, len(shown)), shown, listener)
    request = requested_points(settings, video.width, video.height, len(video), part.numbers[0])
    return NewPoints(part, replace(request, points=part.points(request.points)), listener=listener, around=settings.support)


def requested_points(settings: "TrackSettings", width: int, height: int, frames: int | None, first: int = 0) -> PointRequest:
    """Build the requested points, see `request_points`; a grid without a frame is placed on the `first`."""
    given = {name: getattr(settings, name) for name in ("grid", "points", "query", "region")}
    return request_points(width, height, frames, frame=first if settings.frame is None else settings.frame, **given)


def open_reference(settings: "TrackSettings", cleanup: ExitStack, listener: Listener) -> "Video":
    """Open the source that shows the points; `cleanup` closes it. Raises BadInput if nothing can be decoded."""
    from tapetum.video import open_video

    source = settings.reference
    if getattr(source, "ndim", 0) == 3 and source.shape[-1] == 3:  # one image
        source = source[None]
    shown = cleanup.enter_context(open_video(source))
    count_frames(shown, settings.reference, listener)
    return shown


def needs_network(tracker: Any) -> None:
    """Raise `BadInput` for a tracker that only takes queries in the video, one per point."""
    if not hasattr(tracker, "correct"):
        reason = "TAPNext knows points by their place alone" if hasattr(tracker, "model") else "static does not look at images"
        raise BadInput(f"{reason}: it takes no --reference, no --correct, and one click a point; choose another --model")
