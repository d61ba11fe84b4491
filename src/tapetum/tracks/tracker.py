"""Interface of point trackers: checked inputs, the result per frame of those that take frames one by one, and many points in
blocks."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int64, Num, UInt8

from tapetum.core.devices import check_room, memory_size, spoken
from tapetum.core.errors import BadInput, Listener
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe
from tapetum.types import Tracks
from tapetum.types.checks import unmasked

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int], None] | None


class Tracker(Protocol):
    """A tracker of points."""

    def track(self, video: Any, queries: Num[np.ndarray, "n 3"], /, *, progress: Progress = None) -> Tracks:
        """Track queries (frame, x, y in raster pixels) through a whole video or array of frames (t, h, w, 3)."""
        ...


@dataclass(frozen=True)
class FrameTracks:
    """Positions of the points of a stream in one frame."""

    xy: Float[np.ndarray, "n 2"]
    """Raster pixels of the frame."""
    visible: Bool[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    """0..1; above 0.5 a point counts as visible."""
    ids: Int64[np.ndarray, " n"]
    """Of the points: 0, 1, ... in the order in which they were asked for, the same through all frames."""
    covariance: Float[np.ndarray, "n 2 2"] | None = None
    """Covariance of the error of `xy` where a point is visible, in square pixels; None if unknown."""
    chance_wrong: Float[np.ndarray, " n"] | None = None
    """The chance that a visible point is off by more than 8 pixels of 256; None where a tracker does not predict it."""


def save_state(state: Any, file: str | Path) -> None:
    """Write the state of a stream of live frames, or that of a `LiveTracker`, for `load_state`."""
    import torch

    with whole_file(file) as temporary:
        torch.save(state, temporary)


def load_state(file: str | Path) -> Any:
    """Read a state that `save_state` wrote, onto the devices where it was, for a tracker of the same weights. A file can name
    only arrays and dataclasses of tapetum, so that it runs no code. Raises BadInput for others."""
    import torch

    try:
        allowed = [_known(name) for name in torch.serialization.get_unsafe_globals_in_checkpoint(no_pipe(file))]
        numbers = [type(np.dtype(kind)) for kind in (np.bool_, np.int64, np.float32)]
        with torch.serialization.safe_globals([*allowed, *numbers]):
            return torch.load(no_pipe(file), weights_only=True)
    except Exception as error:  # a broken or hostile pickle can fail in any way, but runs nothing
        raise BadInput(f"{file} is no state of a tracker of this version; give one that save_state wrote") from error


def _known(name: str) -> Any:
    module, _, last = name.rpartition(".")
    of_arrays = name in ("numpy.ndarray", "numpy.dtype", "numpy._core.multiarray._reconstruct")
    if of_arrays or re.match(r"tapetum\.(tracks|systems)\.", name):
        known = getattr(import_module(module), last)
        if of_arrays or is_dataclass(known):
            return known
    raise BadInput(f"it names {name}")


_FLAT = 2.0
"""Grey levels; a frame whose standard deviation is less is of one colour."""


def check_queries(queries: Any, frames: int, size: tuple[int, int]) -> "Float[torch.Tensor, 'n 3']":
    """Check queries (t, x, y) as a float32 tensor. Raises BadInput, naming the first bad one, unless each lies within
    0..frames-1 and the image of (height, width) `size`."""
    import torch

    try:
        array = np.array(unmasked(queries, "queries"), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BadInput(f"queries are not numbers ({error}); give (t, x, y) for each point") from error
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise BadInput(f"queries have shape {array.shape}; give (n, 3), one or more points: t, x, y of each")
    most = np.array([frames - 1, size[1], size[0]])
    bad = ~(np.isfinite(array) & (array >= 0) & (array <= most)).all(1)
    if bad.any():
        t, x, y = array[number := int(bad.argmax())]
        raise BadInput(
            f"query {number} is t={t:g}, x={x:g}, y={y:g}; t must be in 0..{frames - 1}, x in 0..{size[1]}, y in 0..{size[0]}"
        )
    return torch.from_numpy(array)


def check_frame(frame: Any, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Check a frame, with any strides, of a stream of (height, width) `size` if that is set. Raises BadInput for other types
    and shapes."""
    frame = np.asarray(unmasked(frame, "a frame"))
    if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise BadInput(f"a frame is {frame.dtype} of shape {frame.shape}; give uint8 (height, width, 3)")
    if size is not None and frame.shape[:2] != size:
        raise BadInput(f"a frame is {frame.shape[0]}x{frame.shape[1]} where the stream has {size[0]}x{size[1]}; start again")
    return np.require(frame, requirements=["C", "W"])  # torch takes no strides below 0, as a view of BGR as RGB has


def check_stream(stream: Any, kind: type, weights: float) -> None:
    """Raise BadInput for the stream of another kind of tracker, or of one of other weights, by their checksum."""
    if not isinstance(stream, kind):
        raise BadInput(f"this stream is a {type(stream).__name__}, of another kind of tracker; start one with this tracker")
    if stream.weights != weights:
        raise BadInput("this stream is of a tracker of other weights or another precision; start one with this tracker")


def chosen_points(index: Any, count: int) -> Int64[np.ndarray, " k"]:
    """List positions of points of a stream, from positions or truths. Raises BadInput for truths of another number."""
    places = np.asarray(index)
    if places.dtype == np.bool_:
        if places.shape != (count,):
            raise BadInput(f"truths of shape {places.shape} were given for a stream of {count} points; give one each")
        places = np.flatnonzero(places)
    return places.astype(np.int64)


def is_flat(frame: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Check whether a frame has a single colour, such as black, and so shows no point.

    >>> is_flat(np.zeros((16, 16, 3), np.uint8)), is_flat(np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
    (True, False)
    """
    return bool(frame[::8, ::8].std() < _FLAT)


BLOCK = 4096
"""Points that are tracked together by a network; more are tracked block by block, which changes nothing."""
PROBE = 512
"""Points of the first block, which tells how long all will take; a multiple of the points that a network works on at a time."""
_PLACE_BYTES = 56
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
    tracker: Tracker, video: Any, queries: Float[np.ndarray, "n 3"], block: int, listener: Listener, **options: Any
) -> Tracks:
    """Track many points, `block` at a time, with `options` of the tracker; the listener receives the expected duration, then
    the progress.

    The result equals that of tracking all together, but predicted errors know the points of their block alone.
    """
    count, frames = len(queries), len(video)
    edges = [0, *range(min(PROBE, count), count, block), count]
    arrays: dict[str, np.ndarray] = {}
    begin = time.perf_counter()
    listener.progress("tracking points", 0, count)
    for first, last in pairwise(edges):
        part = tracker.track(video, queries[first:last], **options)
        for name in ("xy", "visible", "confidence", "error_px", "chance_wrong"):
            if (values := getattr(part, name)) is not None:
                whole = arrays.setdefault(name, np.zeros((count, *values.shape[1:]), values.dtype))
                whole[first:last] = values
        spent = (time.perf_counter() - begin) / last * count
        if not first and spent > _LONG:
            need = memory_size(memory_of(count, frames))
            listener.note(f"{count} points through {frames} frames take up to {spoken(spent)} here and {need} of memory")
        listener.progress("tracking points", last, count)
    return Tracks(**arrays, queries=queries)  # pyright: ignore[reportArgumentType]
