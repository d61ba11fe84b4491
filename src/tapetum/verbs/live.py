"""`tapetum.track_live`: points through frames as they come, until the source ends or Ctrl-C."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.errors import BadInput
from tapetum.files import whole_folder
from tapetum.verbs.track import OVERLAY, TABLE, TRACKS, TrackSettings, chosen, make_tracker, save
from tapetum.verbs.verb import File, Listener, verb

if TYPE_CHECKING:
    import numpy as np

    from tapetum.tap.tracking.tracker import Tracker
    from tapetum.types import Tracks
    from tapetum.verbs.points import Point
    from tapetum.video import LiveVideo

Viewer = Callable[["np.ndarray"], bool]
"""Takes a painted frame; False once nobody looks any more."""

MODEL = "causal-tapir-nano"
"""Tracker of those who ask for none."""


@dataclass(frozen=True, kw_only=True)
class TrackLiveOptions(TrackSettings):
    """What may be asked of `track_live`."""

    source: str = field(kw_only=False)
    """Number of a camera, an address such as rtsp://..., - for standard input, or a file."""
    out: File | None = None
    """Folder for overlay.mp4, tracks.npz and tracks.csv; None writes nothing."""
    viewer: Viewer | None = None
    """Is given each painted frame, uint8 (h, w, 3), and ends the run by giving False."""

    def check(self) -> None:
        """Raise `BadInput` for options that do not fit together, or need the whole video."""
        super().check()
        if self.three_d:
            raise BadInput("--3d needs the whole video; leave --online out")
        if self.view != "tracks":
            raise BadInput(f"--view {self.view} needs the whole video; without it, or with tapetum show afterwards")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedLive:
    """Points through frames as they came."""

    source: str
    """What was given."""
    width: int
    """Width of the frames in pixels."""
    height: int
    rate: float
    """Frames per second, as the source says."""
    model: str
    """Name or file of the tracker."""
    tracks: "Tracks"
    """All that was followed; before its frame a point stands at its place, unseen."""
    frames_dropped: int
    """Frames that came too fast."""
    seconds: float
    """From the first frame to the last."""
    latency: tuple[float, ...]
    """Seconds from the moment when each frame had been decoded until it was painted."""
    out: Path | None
    """Folder of overlay.mp4, tracks.npz and tracks.csv; None where nothing is written."""

    def as_json(self) -> dict[str, Any]:
        """Summarise."""
        import numpy as np

        milliseconds = np.array(self.latency) * 1000
        content = {
            "video": self.source,
            "width": self.width,
            "height": self.height,
            "rate": self.rate,
            "model": self.model,
            "points": self.tracks.points,
            "visible_share": float(self.tracks.visible.mean()),
            "frames": self.tracks.frames,
            "frames_dropped": self.frames_dropped,
            "frames_per_second": self.tracks.frames / self.seconds,
            "latency_ms_median": float(np.median(milliseconds)),
            "latency_ms_95": float(np.percentile(milliseconds, 95)),
            "latency_ms_max": float(milliseconds.max()),
        }
        if self.out is None:
            return content
        files = {"overlay": OVERLAY, "tracks": TRACKS, "table": TABLE}
        return content | {name: str(self.out / file) for name, file in files.items()}


@verb(TrackLiveOptions)
def track_live(options: TrackLiveOptions, listener: Listener) -> TrackedLive:
    """Follow points through frames as they come, with a causal model; what comes too fast is dropped.

    It ends with the source, when `viewer` gives False, or with Ctrl-C. Raises BadInput for a model that needs the future, and
    for a source that cannot be opened.
    """
    from tapetum.video import LiveVideo, write_video

    options.check()
    model, out = options.model or MODEL, None if options.out is None else Path(options.out)
    start = getattr(tracker := make_tracker(options, MODEL), "start", None)
    if start is None or not tracker.model.config.causal:  # type: ignore[attr-defined]
        raise BadInput(f"{model} needs the future; --online takes a causal model, such as {MODEL}")
    with ExitStack() as cleanup:
        folder = None if out is None else cleanup.enter_context(whole_folder(out))
        live = cleanup.enter_context(LiveVideo(options.source))
        run = _Run(live, tracker, lambda width, height: chosen(options, width, height, None), options.viewer)  # type: ignore[arg-type]
        begin = time.perf_counter()
        with _stopped_by_ctrl_c(live, listener):
            if folder is None:
                for _ in run.painted():
                    pass
            else:
                write_video(folder / OVERLAY, run.painted(), live.rate)
        seconds = time.perf_counter() - begin
        if not run.seen:
            raise BadInput(f"{options.source} gave no frame; is anything sent there?")
        tracks = run.tracks()
        if folder is not None:
            save(tracks, folder)
        return TrackedLive(
            source=options.source,
            width=run.size[0],
            height=run.size[1],
            rate=live.rate,
            model=model,
            tracks=tracks,
            frames_dropped=live.dropped,
            seconds=seconds,
            latency=tuple(run.latency),
            out=out,
        )


class _Run:
    """One run over a live video: what was seen, and how long it took."""

    def __init__(
        self, live: "LiveVideo", tracker: "Tracker", choose: "Callable[[int, int], list[Point]]", viewer: Viewer | None
    ):
        """`choose` gives the points for frames of some width and height."""
        self.live, self.tracker, self.choose, self.viewer = live, tracker, choose, viewer
        self.queries: list[Point] = []
        self.seen: list[Any] = []
        self.latency: list[float] = []
        self.size = (0, 0)

    def painted(self) -> Iterator["np.ndarray"]:
        """Yield painted frames, while points are followed."""
        import numpy as np

        from tapetum.video import TrackPainter, position_colours

        stream = painter = None
        for moment in self.live:
            height, width = moment.frame.shape[:2]
            if painter is None:
                self.size = (width, height)
                # earliest first, as the stream takes them up
                self.queries = sorted(self.choose(width, height), key=lambda query: query[0])
                places = np.array([query[1:] for query in self.queries], np.float32)
                painter = TrackPainter(height, width, position_colours(places, width, height))
            due = sum(query[0] <= moment.number for query in self.queries)
            known = 0 if stream is None else len(stream)
            if stream is None and due:
                stream = self.tracker.start(moment.frame, places[:due])
            elif stream is not None and due > known:
                stream = self.tracker.add(stream, moment.frame, places[known:due])
            xy, confidence = places.copy(), np.zeros(len(places), np.float32)
            if stream is not None:
                stream, now = self.tracker.step(stream, moment.frame)
                xy[:due], confidence[:due] = now.xy, now.confidence
            self.seen.append((xy, confidence))
            frame = painter.paint(moment.frame, xy, confidence > 0.5)
            self.latency.append(time.perf_counter() - moment.arrived)
            yield frame
            if self.viewer is not None and not self.viewer(frame):
                break

    def tracks(self) -> "Tracks":
        """Return all that was followed; before its frame a point stands at its place, unseen."""
        import numpy as np

        from tapetum.types import Tracks

        confidence = np.stack([seen[1] for seen in self.seen], 1)
        return Tracks(
            xy=np.stack([seen[0] for seen in self.seen], 1),
            visible=confidence > 0.5,
            confidence=confidence,
            queries=np.array(self.queries, np.float32),
        )


@contextmanager
def _stopped_by_ctrl_c(live: "LiveVideo", listener: Listener) -> Iterator[None]:
    """The first Ctrl-C ends `live` as the end of its source does, so that what was followed is written; a second interrupts."""
    if threading.current_thread() is not threading.main_thread():  # others hear of no signals
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        live.stop()
        listener.note("interrupted; writing what was followed")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
