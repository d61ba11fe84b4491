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
from tapetum.files import Results, results
from tapetum.verbs.asked import asked_of, needs_network, open_reference
from tapetum.verbs.points import Asked
from tapetum.verbs.track import OVERLAY, TABLE, TRACKS, TrackSettings, make_tracker, no_overlay, save
from tapetum.verbs.verb import File, Listener, verb

if TYPE_CHECKING:
    import numpy as np

    from tapetum.tap.tracking.tracker import Stream, Tracker
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
        if self.correct:
            raise BadInput("--correct needs the whole video; leave --online out")
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
    overlay: Path | None
    """The painted frames; None where nothing is written, or they could not be."""

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
        files = {"tracks": TRACKS, "table": TABLE}
        content["overlay"] = self.overlay and str(self.overlay)
        return content | {name: str(self.out / file) for name, file in files.items()}


@verb(TrackLiveOptions)
def track_live(options: TrackLiveOptions, listener: Listener) -> TrackedLive:
    """Follow points through frames as they come, with a causal model; what comes too fast is dropped.

    It ends with the source, when `viewer` gives False, or with Ctrl-C, SIGTERM or SIGHUP. Where the overlay cannot be written,
    such as on a full disk, the listener hears of it and points are followed without. Where the source fails, what was followed
    until then is written before that is raised.

    Raises BadInput for a model that needs the future, and for a source that cannot be opened or fails.
    """
    from tapetum.video import LiveVideo

    options.check()
    model, out = options.model or MODEL, None if options.out is None else Path(options.out)
    start = getattr(tracker := make_tracker(options, MODEL), "start", None)
    network = getattr(tracker, "model", None)
    if start is None or (network is not None and not network.config.causal):
        raise BadInput(f"{model} needs the future; --online takes a causal model, such as {MODEL}")
    with ExitStack() as cleanup:
        written = None if out is None else cleanup.enter_context(results(out, (OVERLAY, TRACKS, TABLE)))
        live = cleanup.enter_context(LiveVideo(options.source))
        shown = None if options.reference is None else _shown(options, tracker, cleanup, listener)
        run = _Run(live, tracker, lambda width, height: _asked(options, width, height), options.viewer, shown)  # type: ignore[arg-type]
        begin = time.perf_counter()
        try:
            with _stopped_by_signals(live, listener):
                overlay = _follow(run, written, live, listener)
        except BaseException as error:
            if run.seen and written is not None:
                save(run.tracks(), written.folder)
                written.commit(instead_of=(OVERLAY,))
                error.add_note(f"what was followed until then, {len(run.seen)} frames, is in {out}")
            raise
        seconds = time.perf_counter() - begin
        if not run.seen:
            raise BadInput(f"{options.source} gave no frame; is anything sent there?")
        if never := run.never():
            listener.note(
                f"{len(never)} of {len(run.queries)} points were not followed: frame {never[0][0]:g} never came "
                f"({len(run.seen)} frames did)"
            )
        if len(never) == len(run.queries):
            raise BadInput(
                f"no point was followed: {options.source} ended after {len(run.seen)} frames, before the frame of any point; "
                "give points on earlier frames"
            )
        tracks = run.tracks()
        if written is not None:
            save(tracks, written.folder)
            written.commit(instead_of=(OVERLAY,))
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
            overlay=None if out is None or overlay is None else out / overlay,
        )


def _follow(run: "_Run", written: "Results | None", live: "LiveVideo", listener: Listener) -> str | None:
    """Follows to the end; gives the name of the overlay, or None where there is none."""
    from tapetum.video import write_video

    painted, own = run.painted(), []

    def frames() -> Iterator["np.ndarray"]:
        try:
            yield from painted
        except Exception as error:
            own.append(error)
            raise

    if written is not None:
        try:
            write_video(written.folder / OVERLAY, frames(), live.rate)
            return OVERLAY
        except Exception as error:
            if own or not run.seen:  # it is not the overlay that failed
                raise
            listener.note(f"{no_overlay(error)}; following goes on without")
    for _ in painted:
        pass
    return None


class _Run:
    """One run over a live video: what was seen, and how long it took."""

    def __init__(
        self,
        live: "LiveVideo",
        tracker: "Tracker",
        choose: Callable[[int, int], Asked],
        viewer: Viewer | None,
        shown: "tuple[np.ndarray, Asked] | None" = None,
    ):
        """`choose` gives the points for frames of some width and height; `shown` is another picture, and points in that."""
        self.live, self.tracker, self.choose, self.viewer, self.shown = live, tracker, choose, viewer, shown
        self.queries: list[Point] = []
        self.names: tuple[str, ...] | None = None
        self.seen: list[Any] = []
        self.latency: list[float] = []
        self.size = (0, 0)
        self.last = -1

    def painted(self) -> Iterator["np.ndarray"]:
        """Yield painted frames, while points are followed."""
        import numpy as np

        from tapetum.video import TrackPainter, position_colours

        stream = painter = None
        for moment in self.live:
            height, width = moment.frame.shape[:2]
            self.last = moment.number
            if painter is None:
                self.size = (width, height)
                self._choose(width, height)
                places = np.array([query[1:] for query in self.queries], np.float32)
                painter = TrackPainter(height, width, position_colours(places, width, height))
            due = sum(query[0] <= moment.number for query in self.queries)
            known = 0 if stream is None else len(stream)
            if stream is None and due:
                stream = self._started(moment.frame, places[:due])
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

    def _choose(self, width: int, height: int) -> None:
        """Choose points, earliest first, as the stream takes them up; those of another picture are sought at once."""
        asked = self.choose(width, height) if self.shown is None else self.shown[1]
        order = sorted(range(len(asked.points)), key=lambda number: asked.points[number][0])
        self.queries = [asked.points[number] for number in order]
        if self.shown is not None:
            down, across = height / self.shown[0].shape[0], width / self.shown[0].shape[1]
            self.queries = [(0.0, x * across, y * down) for _, x, y in self.queries]
        self.names = None if asked.names is None else tuple(asked.names[number] for number in order)

    def _started(self, frame: "np.ndarray", places: "np.ndarray") -> "Stream":
        if self.shown is None:
            return self.tracker.start(frame, places)
        picture, asked = self.shown
        return self.tracker.start(frame, [point[1:] for point in asked.points], reference=picture)

    def never(self) -> "list[Point]":
        """Return the points whose frame never came, earliest first."""
        return [query for query in self.queries if query[0] > self.last]

    def tracks(self) -> "Tracks":
        """Return all that was followed; before its frame a point stands at its place, unseen."""
        import numpy as np

        from tapetum.types import Tracks

        count = len(self.queries) - len(self.never())
        confidence = np.stack([seen[1][:count] for seen in self.seen], 1)
        xy = np.stack([seen[0][:count] for seen in self.seen], 1)
        return Tracks(
            xy=xy,
            visible=confidence > 0.5,
            confidence=confidence,
            queries=np.array(self.queries[:count], np.float32) if self.shown is None else _seen_best(xy, confidence),
            names=None if self.names is None else self.names[:count],
            clicked=None if self.shown is None else np.zeros(confidence.shape, np.bool_),
        )


def _seen_best(xy: "np.ndarray", confidence: "np.ndarray") -> "np.ndarray":
    """(n, 3): frame, x, y of each point where it is seen most surely."""
    import numpy as np

    best = confidence.argmax(1)
    return np.column_stack([best, xy[np.arange(len(xy)), best]])


def _asked(options: TrackLiveOptions, width: int, height: int) -> Asked:
    """The points that are asked for in frames, of which nobody knows how many will come."""
    asked = asked_of(options, width, height, None)
    if asked.ids is not None:
        raise BadInput("a point is clicked twice, which needs the whole video; leave --online out, or give each its own id")
    return asked


def _shown(options: TrackLiveOptions, tracker: "Tracker", cleanup: ExitStack, listener: Listener) -> "tuple[np.ndarray, Asked]":
    """The picture that shows the points, and the points in it."""
    needs_network(tracker)
    video = open_reference(options, cleanup, listener)
    asked = asked_of(options, video.width, video.height, len(video))
    frames = {point[0] for point in asked.points}
    if len(frames) > 1 or (frame := frames.pop()) != round(frame):
        raise BadInput("points are on several frames of --reference; with --online give those of one frame, or a picture")
    if asked.ids is not None:
        raise BadInput("a point is clicked twice in --reference; with --online give one place for each")
    return video[round(frame)], asked


@contextmanager
def _stopped_by_signals(live: "LiveVideo", listener: Listener) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP ends `live` as the end of its source does, so that what was followed is written.

    A second interrupts.
    """
    if threading.current_thread() is not threading.main_thread():  # others hear of no signals
        yield
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        for number in list(before):
            signal.signal(number, before.pop(number))

    def stop(*_: object) -> None:
        restore()
        live.stop()
        listener.note("interrupted; writing what was followed")

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before |= {n: signal.signal(n, stop) for n in numbers if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        restore()
