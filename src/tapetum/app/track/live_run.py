"""One run of point tracking on a live source: its queries, tracks, progress reports and drawing."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tapetum.app.track.point_tasks import requested_points, sizes_of
from tapetum.app.verb import Listener, Result
from tapetum.core.errors import BadInput
from tapetum.tracks.live import Velocities
from tapetum.tracks.points import PointRequest
from tapetum.video.types import parse_size, resize_frame

if TYPE_CHECKING:
    import numpy as np

    from tapetum.app.track.live import TrackLiveOptions
    from tapetum.systems.tap.tracking.tracker import TapirTracker
    from tapetum.tracks.points import Point
    from tapetum.types import Tracks
    from tapetum.video import LiveVideo
    from tapetum.video.live import CapturedFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveFrame(Result):
    """Points in one frame of a live source."""

    frame: int
    """Number of the frame in the source, dropped ones counted."""
    time_s: float
    """Seconds, as the source states them; by number and rate where it states none."""
    ids: "np.ndarray"
    """int (n,): of the points that are followed by now, as in the tables."""
    xy: "np.ndarray"
    """float32 (n, 2): raster pixels."""
    confidence: "np.ndarray"
    """float32 (n,): above 0.5 a point is visible."""
    names: tuple[str, ...] | None = None
    velocity: "np.ndarray | None" = None
    """float32 (n, 2): pixels a second, through the last five frames; NaN where a point is hidden, and in its first frame."""
    covariance: "np.ndarray | None" = None
    """float32 (n, 2, 2): of the error of a visible point, in square pixels; None where a tracker has none."""
    chance_wrong: "np.ndarray | None" = None
    """float32 (n,): the chance that a visible point is off by more than 8 pixels of 256; None where it is not predicted."""

    def as_json(self) -> dict[str, Any]:
        import numpy as np

        points = []
        for row, (number, (x, y), sure) in enumerate(zip(self.ids, self.xy, self.confidence, strict=True)):
            point = {"id": int(number), "x": round(float(x), 3), "y": round(float(y), 3)}
            point |= {"visible": bool(sure > 0.5), "confidence": round(float(sure), 4)}
            for name in ("velocity", "covariance", "chance_wrong"):
                values = getattr(self, name)
                numbers = None if values is None or sure <= 0.5 else values[row].astype(float)
                point[name] = np.round(numbers, 4).tolist() if numbers is not None and np.isfinite(numbers).all() else None
            points.append(point if self.names is None else {**point, "name": self.names[row]})
        return {"type": "frame", "frame": self.frame, "time_s": round(self.time_s, 6), "points": points}

    def as_text(self) -> str:
        return ""


LOST_SHARE, LOST_FRAMES = 0.5, 5
"""Most points are lost where less than this share is visible in so many frames in a row, and back where it is in as many."""


@dataclass(frozen=True, kw_only=True)
class LiveEvent(Result):
    """Most points of a live source were lost, or are back."""

    event: Literal["lost", "back"]
    frame: int
    time_s: float
    visible: int
    points: int
    """Points that are followed by now."""
    advice: str
    """What would help; empty where nothing need be done."""

    def as_json(self) -> dict[str, Any]:
        return {"type": "event", **super().as_json()}

    def as_text(self) -> str:
        if self.event == "back":
            return f"frame {self.frame}: {self.visible} of {self.points} points are visible again"
        return f"frame {self.frame}: {self.points - self.visible} of {self.points} points are lost; {self.advice}"


class LiveRun:
    """One run on a live video."""

    def __init__(
        self,
        live: "LiveVideo",
        tracker: "TapirTracker",
        options: "TrackLiveOptions",
        listener: Listener,
        shown: "tuple[np.ndarray, PointRequest] | None" = None,
    ):
        """`shown` is another image, with points in it."""
        self.live, self.tracker, self.options, self.listener, self.shown = live, tracker, options, listener, shown
        self.paints = options.viewer is not None or (options.out is not None and not options.no_overlay)
        self.queries: list[Point] = []
        self.names: tuple[str, ...] | None = None
        self.frame_results: list[Any] = []
        self.times: list[float] = []
        self.numbers: list[int] = []
        self.latency: list[float] = []
        self.size = (0, 0)
        self.last = -1
        self._velocities = Velocities()
        self._lost: bool | None = None
        self._turned, self._choice = 0, None

    def painted(self) -> Iterator["np.ndarray"]:
        """Yield painted frames while points are tracked; unpainted frames if nobody views them."""
        import numpy as np

        from tapetum.video import TrackPainter, point_colours

        painter, options = None, self.options
        for xy, confidence, moment in self.followed():
            frame = moment.frame
            if self.paints:
                width, height = options.scaled(*self.size)
                if painter is None:
                    colours, labels = point_colours(self.places, *self.size), options.labels(len(self.places), self.names)
                    style = {"trail": options.trail, "radius": options.radius, "rings": options.rings == "yes"}
                    painter = TrackPainter(height, width, colours, labels=labels, **style)
                scale = np.divide((width, height), self.size, dtype=np.float32)
                frame = painter.paint(resize_frame(frame, width, height), xy * scale, confidence > 0.5)
            yield frame
            if self.options.viewer is not None and not self.options.viewer(frame):
                break
        self.listener.status("")

    def followed(self) -> Iterator[tuple["np.ndarray", "np.ndarray", "CapturedFrame"]]:
        """Yield positions and confidence of all points in each frame, and the frame."""
        import numpy as np

        begin = stream = None
        for moment in self.live:
            begun = time.perf_counter()
            begin = begin or begun
            self.last = moment.number
            if not self.numbers:
                self._begin(moment.frame)
            frame = resize_frame(moment.frame, *self.small)
            due = sum(query[0] <= moment.number for query in self.queries)
            known = 0 if stream is None else len(stream)
            if stream is None and due:
                sizes = sizes_of(self.tracker, self.small, self.size)
                if self.shown is None:
                    stream = self.tracker.start(frame, self.places[:due] * self.scale, **sizes)
                else:
                    image, request = self.shown
                    stream = self.tracker.start(frame, [p[1:] for p in request.points], reference=image, **sizes)
            elif stream is not None and due > known:
                stream = self.tracker.add(stream, frame, self.places[known:due] * self.scale)
            xy, confidence = self.places.copy(), np.zeros(len(self.places), np.float32)
            covariance = chance_wrong = None
            if stream is not None:
                stream, now = self.tracker.step(stream, frame)
                if (choice := getattr(self.tracker, "choice", None)) != self._choice:
                    self._choice = choice
                    self.listener.note(f"--every auto: {choice}")
                xy[:due], confidence[:due] = now.xy / self.scale, now.confidence
                chance_wrong = now.chance_wrong
                if now.covariance is not None:
                    covariance = now.covariance / np.outer(self.scale, self.scale)
            self.frame_results.append((xy, confidence))
            self.times.append(moment.time_s)
            self.numbers.append(moment.number)
            if self.options.each is not None:
                names = None if self.names is None else self.names[:due]
                velocity = self._velocities.update(range(due), xy[:due], confidence[:due] > 0.5, moment.time_s)
                points = {"ids": np.arange(due), "xy": xy[:due], "confidence": confidence[:due], "names": names}
                points |= {"velocity": velocity, "covariance": covariance, "chance_wrong": chance_wrong}
                self.options.each(LiveFrame(frame=moment.number, time_s=moment.time_s, **points))
            visible = int((confidence > 0.5).sum())
            self._watch(moment, visible, due)
            done = time.perf_counter()
            self.latency.append(done - (moment.arrived if self.live.drop else begun))
            pace = f"{len(self.numbers) / (done - begin):.1f} frames/s, " if done - begin > 0.2 else ""
            self.listener.status(
                f"frame {self.last}: {visible} of {due} points visible, {pace}latency {1000 * self.latency[-1]:.0f} ms"
                f"{f', {self.live.dropped} frames dropped' if self.live.dropped else ''}"
            )
            yield xy, confidence, moment

    def _begin(self, frame: "np.ndarray") -> None:
        """Choose the input's size, and the points, earliest first; those of another image are searched for at once."""
        import numpy as np

        height, width = frame.shape[:2]
        self.size = (width, height)
        self.small = parse_size(self.options.resize, width, height) if self.options.resize else self.size
        self.scale = np.array(self.small, np.float32) / np.array(self.size, np.float32)
        request = requested_points(self.options, width, height, None) if self.shown is None else self.shown[1]
        if request.ids is not None:
            raise BadInput("a point is clicked twice, which needs the whole video; leave --online out, or give each its own id")
        order = sorted(range(len(request.points)), key=lambda number: request.points[number][0])
        self.queries = [request.points[number] for number in order]
        if self.shown is not None:
            down, across = height / self.shown[0].shape[0], width / self.shown[0].shape[1]
            self.queries = [(0.0, x * across, y * down) for _, x, y in self.queries]
        self.names = None if request.names is None else tuple(request.names[number] for number in order)
        self.places = np.array([query[1:] for query in self.queries], np.float32)

    def _watch(self, moment: "CapturedFrame", visible: int, due: int) -> None:
        """Say when most points are lost that were seen before, and when they are back."""
        lost = visible < LOST_SHARE * due
        if self._lost is None:  # until most have been seen once
            self._lost = False if due and not lost else None
            return
        self._turned = self._turned + 1 if lost != self._lost else 0
        if self._turned < LOST_FRAMES:
            return
        self._lost, self._turned = lost, 0
        advice = []
        if lost and self.live.dropped > len(self.frame_results):
            advice.append("more frames are dropped than tracked; fewer points are faster, and --dtype bfloat16 may be")
        event = LiveEvent(
            event="lost" if lost else "back",
            frame=moment.number,
            time_s=round(moment.time_s, 6),
            visible=visible,
            points=due,
            advice="; ".join([*advice, "if they do not come back, begin again with points that are in sight"]) if lost else "",
        )
        if self.options.event is None:
            self.listener.note(event.as_text())
        else:
            self.options.event(event)

    def never(self) -> "list[Point]":
        """List the points whose frame never came, earliest first."""
        return [query for query in self.queries if query[0] > self.last]

    def tracks(self) -> "Tracks":
        """Collect all tracks so far; before its query frame, a point stays at its position, not visible."""
        import numpy as np

        from tapetum.types import Tracks

        count = len(self.queries) - len(self.never())
        numbers, queries = np.array(self.numbers), np.array(self.queries[:count], np.float32)
        if (numbers != np.arange(len(numbers))).any():  # frames were dropped: those on which points were taken up count
            queries[:, 0] = np.searchsorted(numbers, queries[:, 0])
        confidence = np.stack([result[1][:count] for result in self.frame_results], 1)
        xy = np.stack([result[0][:count] for result in self.frame_results], 1)
        if self.shown is not None:  # where each point is seen best
            best = confidence.argmax(1)
            queries = np.column_stack([best, xy[np.arange(count), best]])
        return Tracks(
            xy=xy,
            visible=confidence > 0.5,
            confidence=confidence,
            queries=queries,
            names=None if self.names is None else self.names[:count],
            clicked=None if self.shown is None else np.zeros(confidence.shape, np.bool_),
            times=np.round(self.times, 9),
            numbers=numbers,
        )
