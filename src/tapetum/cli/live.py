"""`tapetum track SOURCE --online`: points through frames as they come, until the source ends or Ctrl-C."""

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tapetum.cli.output import note
from tapetum.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from tapetum.tap.tracking.tracker import Tracker
    from tapetum.types import Tracks
    from tapetum.video import LiveVideo

Points = list[tuple[float, float, float]]
"""frame, x, y of each point."""
Show = Callable[["np.ndarray"], bool]
"""Takes a painted frame; False once nobody looks any more."""

WINDOW = "window"


class Run:
    """One run over a live video: what was seen, and how long it took."""

    def __init__(self, live: "LiveVideo", tracker: "Tracker", choose: Callable[[int, int], Points], show: Show | None):
        """`choose` gives the points for frames of some width and height."""
        self.live, self.tracker, self.choose, self.show = live, tracker, choose, show
        self.queries: Points = []
        self.seen: list[Any] = []
        self.latency: list[float] = []
        self.size = (0, 0)

    def frames(self) -> Iterator["np.ndarray"]:
        """Painted frames, while points are followed."""
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
            painted = painter.paint(moment.frame, xy, confidence > 0.5)
            self.latency.append(time.perf_counter() - moment.arrived)
            yield painted
            if self.show is not None and not self.show(painted):
                break

    def tracks(self) -> "Tracks":
        """All that was followed; before its frame a point stands at its place, unseen."""
        import numpy as np

        from tapetum.types import Tracks

        confidence = np.stack([seen[1] for seen in self.seen], 1)
        return Tracks(
            xy=np.stack([seen[0] for seen in self.seen], 1),
            visible=confidence > 0.5,
            confidence=confidence,
            queries=np.array(self.queries, np.float32),
        )

    def report(self, seconds: float) -> dict[str, Any]:
        """Figures of the run."""
        import numpy as np

        milliseconds = np.array(self.latency) * 1000
        return {
            "frames": len(self.seen),
            "frames_dropped": self.live.dropped,
            "frames_per_second": len(self.seen) / seconds,
            "latency_ms_median": float(np.median(milliseconds)),
            "latency_ms_95": float(np.percentile(milliseconds, 95)),
            "latency_ms_max": float(milliseconds.max()),
        }


@contextmanager
def interruptible(live: "LiveVideo") -> Iterator[None]:
    """The first Ctrl-C ends `live` as the end of its source does, so that what was followed is written; a second interrupts."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        live.stop()
        note("interrupted; writing what was followed")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def preview(to: str | None, cleanup: ExitStack) -> Show | None:
    """What shows painted frames: nothing, a window, or a stream of JPEG pictures into a file, a pipe, or "-" (stdout)."""
    if to is None:
        return None
    if to == WINDOW:
        return _window(cleanup)

    @cache
    def opened() -> BinaryIO:
        """The file, once there is a frame for it."""
        if to == "-":
            return sys.stdout.buffer
        try:
            return cleanup.enter_context(open(to, "wb"))
        except OSError as error:
            raise BadInput(f"cannot write the preview to {to} ({error.strerror}); give a file, - or {WINDOW}") from error

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


def _window(cleanup: ExitStack) -> Show:
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
    state = {"open": True}

    def close() -> None:
        state["open"] = False

    root.protocol("WM_DELETE_WINDOW", close)
    cleanup.callback(root.destroy)

    def show(frame: "np.ndarray") -> bool:
        height, width = frame.shape[:2]
        picture = tkinter.PhotoImage(data=b"P6 %d %d 255 " % (width, height) + frame.tobytes(), format="PPM")
        label.configure(image=picture)
        label.image = picture  # type: ignore[attr-defined]  # Tk keeps no reference of its own
        root.update()
        return state["open"]

    return show


def default_folder(source: str) -> Path:
    """Where results go if nothing else is asked for."""
    name = Path(source).stem if "://" not in source and source not in ("-",) and not source.isdecimal() else "live"
    return Path(f"{name or 'live'}-tracks")
