"""Tracking many points block by block, with estimates of time and memory in advance."""

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tapetum.core.devices import check_room, memory_size
from tapetum.core.errors import Listener

if TYPE_CHECKING:
    from tapetum.tracks.tracker import Tracker
    from tapetum.types import Tracks

BLOCK = 4096
"""Points that are tracked together by a network; more are tracked block by block, which changes nothing."""
PROBE = 512
"""Points of the first block, which tells how long all will take; a multiple of the points that a network works on at a time."""
_PLACE_BYTES = 40
"""Of a point in a frame: place, confidence and visibility, twice while they are put together, and as rows of a table."""
_LONG = 60.0
"""Seconds from which on it is said how long it will take."""


def memory_of(points: int, frames: int) -> int:
    """Predict the memory in bytes for making and writing results of this many points and frames."""
    return _PLACE_BYTES * points * frames + 200 * points


def check_memory(points: int, frames: int) -> None:
    """Raise BadInput if the results would not fit in memory, before anything is tracked."""
    check_room(memory_of(points, frames), f"{points} points through {frames} frames", "give fewer points, or cut the video")


def in_blocks(
    tracker: "Tracker", video: Any, queries: Float[np.ndarray, "n 3"], block: int, listener: Listener, **options: Any
) -> "Tracks":
    """Track many points, `block` at a time, with `options` of the tracker.

    The listener first receives the expected duration, then the progress. Points do not affect each other, so the result equals
    that of tracking all together.
    """
    from tapetum.types import Tracks

    count, frames = len(queries), len(video)
    edges = [0, *range(min(PROBE, count), count, block), count]
    xy, visible = np.empty((count, frames, 2), np.float32), np.empty((count, frames), np.bool_)
    confidence, begin = np.empty((count, frames), np.float32), time.perf_counter()
    listener.progress("tracking points", 0, count)
    for first, last in pairwise(edges):
        part = tracker.track(video, queries[first:last], **options)
        xy[first:last], visible[first:last], confidence[first:last] = part.xy, part.visible, part.confidence
        spent = (time.perf_counter() - begin) / last * count
        if not first and spent > _LONG:
            need = memory_size(memory_of(count, frames))
            listener.note(f"{count} points through {frames} frames take up to {spoken(spent)} here and {need} of memory")
        listener.progress("tracking points", last, count)
    return Tracks(xy=xy, visible=visible, confidence=confidence, queries=queries)


def spoken(seconds: float) -> str:
    """Write a duration in its largest unit, roughly.

    >>> spoken(42), spoken(600), spoken(9000), spoken(300_000)
    ('42 s', '10 min', '2.5 h', '3.5 days')
    """
    for unit, length, digits in (("days", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds:.0f} s"
