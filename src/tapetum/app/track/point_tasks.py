"""Tasks of a point tracker on one video: new points, or corrections of saved tracks."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from tapetum.app.track.cut import Cut, cut
from tapetum.app.verb import Listener, count_frames
from tapetum.core.errors import BadInput
from tapetum.tracks.points import Point, PointRequest, request_points

if TYPE_CHECKING:
    from tapetum.app.track.track import TrackSettings
    from tapetum.systems.tap.tracking.corrections import Clicks
    from tapetum.systems.tap.tracking.feature_file import FeatureFile
    from tapetum.tracks.tracker import Tracker
    from tapetum.types import Tracks
    from tapetum.video import Video

Progress = Callable[[int, int | None], None]


class PointTask(Protocol):
    """Task of a tracker; built before the tracker is loaded, so that errors come at once."""

    @property
    def part(self) -> Cut:
        """Get the part of the video to process."""
        ...

    @property
    def count(self) -> int:
        """Count the points in the result, without those of `support`."""
        ...

    def track(
        self, tracker: "Tracker", support: list[Point], progress: Progress, features: "FeatureFile | None" = None
    ) -> "Tracks":
        """Track the points, with additional points, which come last. Raises BadInput as the tracker does."""
        ...


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

    @property
    def count(self) -> int:
        """Count the points."""
        return len(self.request.firsts)

    def track(
        self, tracker: "Tracker", support: list[Point], progress: Progress, features: "FeatureFile | None" = None
    ) -> "Tracks":
        """Track them. Raises BadInput as the tracker does."""
        import numpy as np

        from tapetum.tracks.blocks import BLOCK, check_memory, in_blocks

        request, part = self.request, self.part
        more: dict[str, Any] = part.sizes(tracker)
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
            tracks = tracker.track(part.small, queries, progress=progress, **more, **kept(tracker, features))
        if self.reference is None:
            queries = [request.points[row] for row in request.firsts] + support
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
        return tracks if request.names is None else replace(tracks, names=(*request.names, *[""] * len(support)))


@dataclass(frozen=True)
class CorrectedPoints:
    """Saved tracks of which some points are corrected."""

    part: Cut
    tracks: "Tracks"
    clicks: "Clicks"

    @property
    def count(self) -> int:
        """Count the points."""
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
        more: dict[str, Any] = {"ids": self.clicks.points.tolist(), **self.part.sizes(tracker)}
        corrected = tracker.track(self.part.small, places, progress=progress, **more, **kept(tracker, features))
        corrected = self.part.whole(corrected, [points[row] for row in self.clicks.firsts().values()])
        return put_in_place(self.tracks, self.clicks, corrected)


def kept(tracker: "Tracker", features: "FeatureFile | None") -> dict[str, Any]:
    """Choose the arguments with which a tracker with a network uses a feature file; other trackers have none."""
    return {} if features is None or not hasattr(tracker, "correct") else {"features": features}


def find_point_task(settings: "TrackSettings", video: "Video", cleanup: ExitStack, listener: Listener) -> PointTask:
    """Build the task that `settings` request for a video whose true number of frames is known.

    Raises BadInput for anything that the video lacks.
    """
    if settings.correct:
        from tapetum.systems.tap.tracking.corrections import gather_clicks
        from tapetum.systems.tap.tracking.read_corrections import corrections_of, read_corrected

        assert settings.tracks is not None
        tracks, part = read_corrected(settings.tracks, video)
        return CorrectedPoints(
            cut(part, settings), tracks, gather_clicks(tracks, corrections_of(settings.correct, tracks, video))
        )
    part = cut(video, settings)
    if settings.reference is not None:
        shown = open_reference(settings, cleanup, listener)
        return NewPoints(part, requested_points(settings, shown.width, shown.height, len(shown)), shown, listener)
    request = requested_points(settings, video.width, video.height, len(video), part.numbers[0])
    return NewPoints(part, replace(request, points=part.points(request.points)), listener=listener)


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
