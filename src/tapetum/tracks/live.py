"""A tracker in its own thread, for a program that cannot wait: a robot, a camera's callback, a window.

    camera thread                     this thread                          any thread
    submit(frame, time_s) --> [newest frame] --> tracker.step --> on_tracks(tracks), latest()

The queue has room for one frame, and the newest wins: a frame that was not started when the next arrives is dropped and
counted. Only frames with new points are never dropped, since the points are positions in them. Works with any tracker that has
`start`, `step`, `add` and `keep`, such as `tapetum.load("causal-tapir-nano")`.

Results do not go stale: `latest` marks all points hidden once no frame has arrived for `stale_after_s`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.tracks.tracker import FrameTracks, check_frame, check_queries

VELOCITY_FRAMES = 5
"""Positions that a velocity is computed from, at most."""


@dataclass(frozen=True, kw_only=True)
class LiveTracks:
    """Points in the frame that was tracked last."""

    time_s: float
    """Of the frame, as it was submitted."""
    frame: int
    """Number of the frame among those that were submitted, dropped ones counted."""
    latency_s: float
    """From `submit` until the points were known."""
    ids: Int64[np.ndarray, " n"]
    """As `submit` gave them."""
    xy: Float[np.ndarray, "n 2"]
    visible: Bool[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    velocity: Float[np.ndarray, "n 2"]
    """Pixels a second: the slope of a line through the last positions; NaN while a point is hidden, and in its first frame."""
    covariance: Float[np.ndarray, "n 2 2"] | None
    """Of the error of `xy`, in square pixels; None where the tracker has none."""
    chance_wrong: Float[np.ndarray, " n"] | None = None


@dataclass(frozen=True)
class LiveState:
    """All that a `LiveTracker` knows after a frame, for another one to go on from (`tracker.save_state`)."""

    stream: Any
    ids: tuple[int, ...]
    next_id: int
    size: tuple[int, int] | None
    """Height and width of the frames."""


@dataclass(frozen=True)
class _Waiting:
    frame: UInt8[np.ndarray, "h w 3"]
    time_s: float
    number: int
    points: np.ndarray | None
    ids: tuple[int, ...]
    """Of the points; those of corrected ones, and then new ones."""
    arrived: float


class Velocities:
    """Velocities of points in frames as they come."""

    def __init__(self, longest_gap_s: float = 0.5):
        """`longest_gap_s`: seconds between two frames above which velocities start over."""
        self._longest_gap_s, self._before_s = longest_gap_s, -np.inf
        self._history: dict[int, deque[tuple[float, float, float]]] = {}

    def forget(self, ids: Sequence[int]) -> None:
        """Start these points over, which were put somewhere else."""
        for number in ids:
            self._history.pop(number, None)

    def update(
        self, ids: Sequence[int], xy: Float[np.ndarray, "n 2"], visible: Bool[np.ndarray, " n"], time_s: float
    ) -> Float[np.ndarray, "n 2"]:
        """Compute pixels a second in the next frame: least-squares slopes through the last positions of each point; NaN for a
        hidden or new one."""
        gap, self._before_s = time_s - self._before_s, time_s
        result = np.full((len(ids), 2), np.nan, np.float32)
        self._history = {number: self._history.get(number, deque(maxlen=VELOCITY_FRAMES)) for number in ids}
        for row, history in enumerate(self._history.values()):
            if gap > self._longest_gap_s or not visible[row]:
                history.clear()
            if visible[row]:
                history.append((time_s, float(xy[row, 0]), float(xy[row, 1])))
            if len(history) > 1:
                moments, *places = np.array(history).T
                off = moments - moments.mean()
                result[row] = [(off * place).sum() / (off * off).sum() for place in places]
        return result


class LiveTracker:
    """Tracks points through submitted frames in its own thread; close it, or use it as a context manager."""

    def __init__(
        self,
        tracker: Any,
        on_tracks: Callable[[LiveTracks], None] | None = None,
        *,
        stale_after_s: float = 1.0,
        longest_gap_s: float = 0.5,
        state: LiveState | None = None,
    ):
        """Start the thread.

        Args:
            tracker: an object with `start`, `step`, `add` and `keep`.
            on_tracks: called in the thread with the points of each frame.
            stale_after_s: seconds after the last frame from which `latest` marks all points hidden.
            longest_gap_s: seconds between two frames above which velocities start over.
            state: that of an earlier `LiveTracker`, to go on from.

        Raises BadInput: the tracker needs the whole video.
        """
        if getattr(tracker, "start", None) is None or getattr(tracker, "step", None) is None:
            kind = type(tracker).__name__
            raise BadInput(f"{kind} needs the whole video; give a tracker for live frames, such as causal-tapir-nano")
        self.dropped = 0
        """Frames that were submitted and not tracked, as a newer one came."""
        self._tracker, self._on_tracks = tracker, on_tracks
        self._stale_after_s = stale_after_s
        self._changed = threading.Condition()
        self._pinned: deque[_Waiting] = deque()
        self._newest: _Waiting | None = None
        self._removed: set[int] = set()
        self._state = state or LiveState(None, (), 0, None)
        self._size, self._next_id = self._state.size, self._state.next_id
        self._time_s, self._submitted = -np.inf, 0
        self._latest: tuple[LiveTracks, float] | None = None
        self._error: BaseException | None = None
        self._closed = self._busy = False
        self._velocities = Velocities(longest_gap_s)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __enter__(self) -> "LiveTracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> LiveState:
        """Get the state after the frame that was tracked last."""
        return self._state

    def submit(
        self,
        frame: UInt8[np.ndarray, "h w 3"],
        time_s: float | None = None,
        points: Sequence[Sequence[float]] | None = None,
        corrected: Mapping[int, Sequence[float]] | None = None,
    ) -> list[int]:
        """Submit the next frame, which is copied, and return immediately, with the ids of its new points.

        `time_s` is by any clock that does not go back; None uses this machine's. `points` are (x, y) in raster pixels of new
        points in this frame, which is then not dropped; `corrected` those of points, by id, to be tracked from there on. Raises
        BadInput for a frame of another size, a time that is not after the last, a point outside the frame, an id that was never
        given, or a tracker that was closed or has failed.
        """
        checked = check_frame(frame, self._size).copy()
        moment = time.monotonic() if time_s is None else float(time_s)
        places = None
        corrected = corrected or {}
        given = [*corrected.values(), *(() if points is None else points)]
        if given:
            rows = np.asarray(given, np.float32)
            if rows.ndim != 2 or rows.shape[1] != 2:
                raise BadInput(f"points have shape {rows.shape}; give (n, 2): x and y of each in this frame")
            places = check_queries(np.insert(rows, 0, 0, 1), 1, (checked.shape[0], checked.shape[1])).numpy()[:, 1:]
        with self._changed:
            self._check_open()
            if not moment > self._time_s:
                before = f"the one before of {self._time_s:g} s"
                raise BadInput(f"a frame is of {moment:g} s and {before}; submit frames in their order")
            if unknown := [number for number in corrected if not 0 <= number < self._next_id]:
                below = f"ids so far are below {self._next_id}"
                raise BadInput(f"point {unknown[0]} is corrected, and {below}; give ids that submit returned")
            self._size, self._time_s = (checked.shape[0], checked.shape[1]), moment
            ids = range(self._next_id, self._next_id + len(given) - len(corrected))
            waiting = _Waiting(checked, moment, self._submitted, places, (*corrected, *ids), time.perf_counter())
            self._submitted, self._next_id = self._submitted + 1, ids.stop
            self.dropped += self._newest is not None
            self._newest = waiting if places is None else None
            if places is not None:
                self._pinned.append(waiting)
            self._changed.notify_all()
            return list(ids)

    def remove(self, ids: Sequence[int]) -> None:
        """Stop tracking these points, from the next frame on; ids that are no longer tracked are ignored."""
        with self._changed:
            self._check_open()
            self._removed.update(int(number) for number in ids)

    def latest(self, time_s: float | None = None) -> LiveTracks | None:
        """Get the points of the last tracked frame, all hidden if it is stale; None before the first. `time_s` is now, by the
        clock of `submit`; None uses the time since the tracks were computed. Raises BadInput if the tracker has failed."""
        with self._changed:
            self._check_failed()
            if self._latest is None:
                return None
            tracks, computed = self._latest
        age = time.perf_counter() - computed + tracks.latency_s if time_s is None else time_s - tracks.time_s
        if age <= self._stale_after_s:
            return tracks
        nothing = np.zeros_like(tracks.confidence)
        return replace(tracks, visible=nothing > 0, confidence=nothing, velocity=np.full_like(tracks.velocity, np.nan))

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait until all submitted frames are tracked or dropped. Raises BadInput if that takes longer."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._idle() or self._error is not None, timeout_s)
            self._check_failed()
            if not done:
                raise BadInput(f"frames were not tracked within {timeout_s:g} s; wait longer or submit fewer")

    def close(self) -> None:
        """End the thread after the current frame; waiting frames are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _idle(self) -> bool:
        return not self._pinned and self._newest is None and not self._busy

    def _check_failed(self) -> None:
        if self._error is not None:
            raise BadInput(f"live tracking has failed ({self._error}); start another LiveTracker") from self._error

    def _check_open(self) -> None:
        self._check_failed()
        if self._closed:
            raise BadInput("this LiveTracker was closed; start another")

    def _work(self) -> None:
        try:
            while (waiting := self._next()) is not None:
                tracks = self._track(waiting)
                with self._changed:
                    self._latest = tracks, time.perf_counter()
                if self._on_tracks is not None:
                    self._on_tracks(tracks)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
        except BaseException as error:  # whoever submits next hears of it
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _next(self) -> _Waiting | None:
        """Wait for a frame: first those with new points, in order; None once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._pinned or self._newest is not None)
            if self._closed:
                return None
            self._busy = True
            if self._pinned:
                return self._pinned.popleft()
            waiting, self._newest = self._newest, None
            return waiting

    def _track(self, waiting: _Waiting) -> LiveTracks:
        with self._changed:
            removed, self._removed = self._removed, set()
        stream, removed = self._state.stream, removed.union(waiting.ids)
        kept = [place for place, number in enumerate(self._state.ids) if number not in removed]
        ids = tuple(self._state.ids[place] for place in kept)
        self._velocities.forget(waiting.ids)
        if len(kept) < len(self._state.ids):
            stream = self._tracker.keep(stream, kept) if kept else None
        if waiting.points is not None:
            if stream is None:
                stream = self._tracker.start(waiting.frame, waiting.points)
            else:
                stream = self._tracker.add(stream, waiting.frame, waiting.points)
            ids += waiting.ids
        if stream is None:
            nothing = np.zeros((0, 2), np.float32)
            tracks = FrameTracks(nothing, np.zeros(0, bool), np.zeros(0, np.float32), np.zeros(0, np.int64))
        else:
            stream, tracks = self._tracker.step(stream, waiting.frame)
        with self._changed:
            self._state = LiveState(stream, ids, self._next_id, self._size)
        return LiveTracks(
            time_s=waiting.time_s,
            frame=waiting.number,
            latency_s=time.perf_counter() - waiting.arrived,
            ids=np.array(ids, np.int64),
            xy=tracks.xy,
            visible=tracks.visible,
            confidence=tracks.confidence,
            velocity=self._velocities.update(ids, tracks.xy, tracks.visible, waiting.time_s),
            covariance=tracks.covariance,
            chance_wrong=tracks.chance_wrong,
        )
