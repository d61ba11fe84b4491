"""`tapetum.track_live`: tracks points through frames as they arrive, until the source ends or Ctrl-C."""

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tapetum.app.track.live_run import LiveEvent, LiveFrame, LiveRun
from tapetum.app.track.point_tasks import needs_network, open_reference, requested_points
from tapetum.app.track.track import SHOWN_BY, TrackSettings, make_tracker
from tapetum.app.track.track_files import OVERLAY, TABLE, TRACKS, file_lines, no_overlay, one_file, save
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput, hide_secrets
from tapetum.core.files import Results, results
from tapetum.core.provenance import check
from tapetum.tracks.points import PointRequest

if TYPE_CHECKING:
    import numpy as np

    from tapetum.types import Tracks
    from tapetum.video import LiveVideo

MODEL = "causal-tapir-nano"
"""Tracker of those who ask for none."""
Viewer = Callable[["np.ndarray"], bool]
"""Takes a painted frame; False once nobody looks any more."""


@dataclass(frozen=True, kw_only=True)
class TrackLiveOptions(TrackSettings):
    """Options of `track_live`."""

    source: str = field(kw_only=False)
    """Number of a camera, an address such as rtsp://..., - for standard input, or a file."""
    out: File | None = None
    """Folder for overlay.mp4, tracks.npz and tracks.csv; None writes nothing."""
    viewer: Viewer | None = None
    """Is given each painted frame, uint8 (h, w, 3), and ends the run by giving False."""
    each: Callable[[LiveFrame], None] | None = None
    """Is given the points of each frame as soon as they are known, before anything is painted."""
    event: Callable[[LiveEvent], None] | None = None
    """Is told when most points are lost, and when they are back; by default the listener gets a remark."""
    drop: bool = False
    """Drop frames of a pipe that are late, and count them."""
    lag: float = 0.1
    """Seconds by which a frame is late, by the source's own times."""

    def check(self) -> None:
        super().check()
        for option, given, advice in (
            ("--correct", self.correct, "leave --online out"),
            ("--3d", self.three_d, "leave --online out"),
            (f"--view {self.view}", self.view != "tracks", "without it, or with tapetum show afterwards"),
            ("--visible-above", self.visible_above is not None, "leave --online out, or give it to tapetum show afterwards"),
            ("--doubt", self.doubt, "leave --online out"),
            ("--support", self.support, "leave --online out"),
        ):
            if given:
                raise BadInput(f"{option} needs the whole video; {advice}")
        if self.timing:
            raise BadInput("--timing is of a whole video; --online prints the latency of its frames; leave one out")
        if self.drop and Path(self.source).is_file():
            raise BadInput(f"--drop is for frames that come by themselves, and the file {self.source} waits; leave it out")
        if not 0 <= self.lag < float("inf"):
            raise BadInput(f"--lag is {self.lag:g}; give seconds, 0 or more")
        from tapetum.video.live import is_live

        if self.lag != TrackLiveOptions.lag and not self.drop and not is_live(self.source):
            raise BadInput(f"--lag says which frames are dropped, and none of {self.source} is; give --drop as well")
        if self.cuts:
            raise BadInput("--start, --end and --stride need the whole video; leave --online out")
        if self.fps is not None:
            raise BadInput("--fps needs the whole video; leave --online out, or draw again with tapetum show --fps")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedLive(Result):
    """Points through frames as they came."""

    came_in_parts = True

    source: str
    width: int
    height: int
    frame_rate: float
    model: str
    tracks: "Tracks"
    """All that was followed; before its frame a point stands at its place, unseen."""
    frames_dropped: int
    seconds: float
    """From the first frame to the last."""
    latency: tuple[float, ...]
    """Seconds from the moment when each frame had been decoded, or was taken up from a pipe or a file, until its points were
    known."""
    out: Path | None
    """Folder of overlay.mp4, tracks.npz and tracks.csv, if written, as `overlay` itself."""
    overlay: Path | None

    def as_json(self) -> dict[str, Any]:
        import numpy as np

        milliseconds = np.array(self.latency) * 1000
        content = {
            "video": self.source,
            "width": self.width,
            "height": self.height,
            "rate": self.frame_rate,
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
        if self.out is not None:
            content["overlay"] = self.overlay and str(self.overlay)
            content |= {"tracks": str(self.out / TRACKS), "table": str(self.out / TABLE)}
        return content

    def as_text(self) -> str:
        content = self.as_json()
        median, most_of_them, most = (f"{content[f'latency_ms_{name}']:.0f}" for name in ("median", "95", "max"))
        lines = [
            f"followed {content['points']} points through {content['frames']} frames of {self.source}"
            f" ({self.width}x{self.height}) with {self.model}: {content['frames_per_second']:.1f} frames/s,"
            f" {self.frames_dropped} dropped",
            f"latency  {median} ms (median), {most_of_them} (95 %), {most} (most)",
        ]
        return "\n".join([*lines, *file_lines(content)])


@verb(TrackLiveOptions, data=SHOWN_BY)
def track_live(options: TrackLiveOptions, listener: Listener) -> TrackedLive:
    """Track points through frames as they arrive, with a causal model; frames that are late are dropped.

    It ends with the source, when `viewer` returns False, or with Ctrl-C, SIGTERM or SIGHUP. If the overlay cannot be written,
    for example on a full disk, this is reported to the listener and tracking continues. If the source fails, the tracks so far
    are written before the error is raised.

    Raises BadInput for a model that needs the future, and for a source that cannot be opened or fails.
    """
    from tapetum.video import LiveVideo

    options.check()
    model, out = options.model or MODEL, None if options.out is None else Path(options.out)
    if (file := one_file(out)) is not None:
        raise BadInput(f"--out {file} is one file, and following a source writes several; give a folder")
    start = getattr(tracker := make_tracker(options, MODEL), "start", None)
    network = getattr(tracker, "model", None)
    if start is None or (network is not None and not network.config.causal):
        raise BadInput(f"{model} needs the future; --online takes a causal model, such as {MODEL}")
    with ExitStack() as cleanup:
        written = None if out is None else cleanup.enter_context(results(out, (OVERLAY, TRACKS, TABLE)))
        live = cleanup.enter_context(LiveVideo(options.source, drop=options.drop or None, lag=options.lag))
        if live.drop and live.size is not None and network is not None:
            _warm_up(tracker, live.size, options.resize)
        shown = None if options.reference is None else _shown(options, tracker, cleanup, listener)
        run = LiveRun(live, tracker, options, listener, shown)  # type: ignore[arg-type]
        begin = time.perf_counter()
        try:
            with stopped_by_signals(live, listener):
                overlay = _follow(run, written, live, listener)
        except BaseException as error:
            if run.frame_results and written is not None:
                save(run.tracks(), written.folder)
                written.commit(instead_of=(OVERLAY,))
                error.add_note(f"what was followed until then, {len(run.frame_results)} frames, is in {out}")
            raise
        seconds = time.perf_counter() - begin
        if not run.frame_results:
            raise BadInput(f"{options.source} gave no frame; is anything sent there?")
        if never := run.never():
            listener.note(
                f"{len(never)} of {len(run.queries)} points were not followed: frame {never[0][0]:g} never came "
                f"({len(run.frame_results)} frames did)"
            )
        if len(never) == len(run.queries):
            raise BadInput(f"no point was followed: {options.source} ended before the frame of any point; give earlier frames")
        tracks = run.tracks()
        if written is not None:
            save(tracks, written.folder)
            written.commit(instead_of=(OVERLAY,))
        return TrackedLive(
            source=hide_secrets(options.source),
            width=run.size[0],
            height=run.size[1],
            frame_rate=live.frame_rate,
            model=model,
            tracks=tracks,
            frames_dropped=live.dropped,
            seconds=seconds,
            latency=tuple(run.latency),
            out=out,
            overlay=None if out is None or overlay is None else out / overlay,
        )


def _warm_up(tracker: Any, size: tuple[int, int], resize: str | None) -> None:
    """Track a point through two black frames: the first frames of a size cost several times as much as others."""
    import numpy as np

    from tapetum.video.types import parse_size

    height, width = size
    if resize is not None:
        width, height = parse_size(resize, width, height)
    frame = np.zeros((height, width, 3), np.uint8)
    stream = tracker.start(frame, np.array([[width / 2, height / 2]], np.float32))
    for _ in range(2):
        stream, _ = tracker.step(stream, frame)


def _follow(run: LiveRun, written: "Results | None", live: "LiveVideo", listener: Listener) -> str | None:
    """Tracks to the end; returns the name of the overlay, or None if there is none."""
    from tapetum.video import write_video

    painted, own = run.painted(), []

    def frames() -> Iterator["np.ndarray"]:
        try:
            yield from painted
        except Exception as error:
            own.append(error)
            raise

    if written is not None and not run.options.no_overlay:
        try:
            write_video(written.folder / OVERLAY, frames(), live.frame_rate)
            return OVERLAY
        except Exception as error:
            if own or not run.frame_results:  # it is not the overlay that failed
                raise
            listener.note(f"{no_overlay(error)}; following goes on without")
    for _ in painted:
        pass
    return None


def _shown(
    options: TrackLiveOptions, tracker: object, cleanup: ExitStack, listener: Listener
) -> "tuple[np.ndarray, PointRequest]":
    """The image that shows the points, and its points."""
    needs_network(tracker)
    video = open_reference(options, cleanup, listener)
    request = requested_points(options, video.width, video.height, len(video))
    frames = {point[0] for point in request.points}
    if len(frames) > 1 or (frame := frames.pop()) != round(frame):
        raise BadInput("points are on several frames of --reference; with --online give those of one frame, or an image")
    if request.ids is not None:
        raise BadInput("a point is clicked twice in --reference; with --online give one place for each")
    return video[round(frame)], request


@contextmanager
def stopped_by_signals(live: "LiveVideo", listener: Listener) -> Iterator[None]:
    """End `live` at the first Ctrl-C, SIGTERM or SIGHUP as if its source had ended, so that the tracks are written.

    A second interrupts.
    """
    if threading.current_thread() is not threading.main_thread():  # others hear of no signals
        yield
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

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


def preview(to: str | None, cleanup: ExitStack) -> Viewer | None:
    """Open the preview of drawn frames: none, a window, or a stream of JPEG images into a file, a pipe, or "-" (stdout)."""
    if to is None:
        return None
    if to == "window":
        return _window(cleanup)

    @cache
    def opened() -> BinaryIO:  # when the first frame arrives
        if to == "-":
            return sys.stdout.buffer
        try:
            if os.path.isfile(to):  # a pipe or a device is written into
                check(to)
            return cleanup.enter_context(open(to, "wb"))
        except OSError as error:
            raise BadInput(f"cannot write the preview to {to} ({error.strerror}); give a file, - or window") from error

    def show(frame: "np.ndarray") -> bool:
        from PIL import Image

        data = io.BytesIO()
        Image.fromarray(frame).save(data, "JPEG", quality=80)
        file = opened()
        try:
            file.write(data.getvalue())
            file.flush()
        except BrokenPipeError:
            return False
        return True

    return show


def _window(cleanup: ExitStack) -> Viewer:
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise BadInput("there is no display for a window; give --preview a file, or - and pipe it: ... | ffplay -")
    try:
        import tkinter

        root = tkinter.Tk()
    except Exception as error:  # a python without Tk, or a display that refuses
        raise BadInput(f"a window cannot be opened ({error}); give --preview a file, or - and pipe it") from error
    root.title("tapetum")
    label = tkinter.Label(root)
    label.pack()
    closed = threading.Event()
    root.protocol("WM_DELETE_WINDOW", closed.set)
    cleanup.callback(root.destroy)

    def show(frame: "np.ndarray") -> bool:
        height, width = frame.shape[:2]
        image = tkinter.PhotoImage(data=b"P6 %d %d 255 " % (width, height) + frame.tobytes(), format="PPM")
        label.configure(image=image)
        label.image = image  # type: ignore[attr-defined]  # Tk keeps no reference of its own
        root.update()
        return not closed.is_set()

    return show
