"""Videos in files: frame-accurate, decoded on demand, with damaged frames reported.

A frame is identified by its presentation time. The packets of the file are listed once, without decoding; sorted by time
they number the frames. To reach frame i the decoder starts at the last key frame not shown after it:

    shown      I0  b1  b2  P3  b4  b5  I6  b7 ...        frames 4 and 5 are stored after I6, yet may need P3:
    stored     I0  P3  b1  b2  I6  b4  b5  P9 ...        from I6 on only frames 6, 7, ... are trusted (open GOP)

and decodes forward until that time comes out. Decoding from the beginning is the reference. If it disagrees with the
list (damage, missing times), the list is replaced by the decoded frames, and if times cannot be trusted at all, frames
are counted from the beginning: slower, never wrong.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tapetum.core.errors import BadInput
from tapetum.video.decode import Cursor, FileDecoder, Packets, read_display_matrix, upright_rgb
from tapetum.video.types import (
    DEFAULT_RATE,
    FRAME_CACHE_BYTES,
    MAX_PIXELS,
    DecodeReport,
    Frame,
    FrameCache,
    Video,
    refuse_huge,
    usable_rate,
)


class _IndexChanged(Exception):
    """A frame promised by the packets did not come out; the index was rebuilt."""


@dataclass(frozen=True)
class _Index:
    """Which frames there are and how they are reached."""

    count: int
    pts: np.ndarray | None
    """Presentation times, strictly rising; None where frames have to be counted from the beginning."""
    keys: np.ndarray
    times: np.ndarray | None
    """Seconds; None where the file has no clock."""


class FileVideo(Video):
    """A video file read by PyAV; made by `open_video`. The length comes from the packets, and is corrected for a damaged file
    once decoding has shown the actual frames."""

    def __init__(self, path: Path):
        self._path = path.absolute()
        self.name = path.name
        self._lock = threading.RLock()
        self._cursor: Cursor | None = None
        self._scaler = VideoReformatter()
        self._cache: FrameCache[VideoFrame] | None = None
        self._packets: Packets | None = None
        self._now: _Index | None = None
        self._final: DecodeReport | None = None
        self._furthest = 1
        self._corrupt = 0
        decoder = FileDecoder(path)
        try:
            first = next(decoder.frames(decoder.packets()), None)
            if first is None:
                raise BadInput(
                    f"{path} holds no frame that can be decoded: it is damaged, cut off, or its frames are of more than "
                    f"{MAX_PIXELS} pixels; give a whole video"
                )
            self._stored = (first.width, first.height)
            refuse_huge(path, first.width, first.height)
            self._first_pts = first.pts
            self._time_base = decoder.time_base
            self._nominal = usable_rate(decoder.stream.average_rate, decoder.stream.guessed_rate)
        finally:
            decoder.close()
        self._display = read_display_matrix(first)
        turned = self._display[0] == 0
        self.width, self.height = self._stored[::-1] if turned else self._stored

    def __len__(self) -> int:
        return self._numbered().count

    @property
    def timestamps(self) -> np.ndarray:
        index = self._numbered()
        if index.times is not None:
            return index.times.copy()
        return np.arange(index.count, dtype=np.float64) / (self._nominal or DEFAULT_RATE)

    @property
    def frame_rate(self) -> float:
        times = self.timestamps
        span = times[-1] - times[0]
        measured = usable_rate((len(times) - 1) / span) if span > 0 else None
        if measured is None:
            return self._nominal or DEFAULT_RATE
        return self._nominal if self._nominal and abs(measured / self._nominal - 1) < 0.01 else measured

    @property
    def report(self) -> DecodeReport:
        if self._final is not None:
            return self._final
        packets = self._list()
        lost = packets.promised - len(packets.pts)
        return DecodeReport(promised=packets.promised, decoded=self._furthest, damaged=lost + self._corrupt, complete=False)

    def check(self) -> DecodeReport:
        if self._final is None:
            for _ in self._pass():
                pass
        return self.report

    def cache_frames(self, max_bytes: int = FRAME_CACHE_BYTES) -> None:
        self._cache = FrameCache(max_bytes)

    def __iter__(self) -> Iterator[Frame]:
        if self._cache is not None and self._final is not None:
            own = copy(self)  # with a decoder of its own, so that others may read meanwhile
            own._cache = self._cache
            try:
                yield from own._read(range(len(self)))
            finally:
                own.close()
            return
        scaler = VideoReformatter()
        for number, frame in enumerate(self._pass()):
            yield self._rgb(frame, number, scaler)

    def __getitem__(self, item: Any) -> Any:
        try:
            return super().__getitem__(item)
        except _IndexChanged:
            return super().__getitem__(item)

    def _pass(self) -> Iterator[VideoFrame]:
        """Decode from beginning to end, and finalise index and report from the result."""
        decoder = FileDecoder(self._path)
        times: list[int | None] = []
        corrupt = 0
        try:
            for frame in decoder.frames(decoder.packets()):
                times.append(frame.pts)
                corrupt += frame.is_corrupt
                self._furthest = max(self._furthest, len(times))
                self._corrupt = max(self._corrupt, corrupt)
                self._cache_frame(len(times) - 1, frame)
                yield frame
            self._settle(times, corrupt, decoder.errors)
        finally:
            decoder.close()

    def _settle(self, times: list[int | None], corrupt: int, errors: int) -> None:
        """Make the index and the report final. A decoder's substitutes for damaged data depend on everything decoded before, so
        such a file is counted from the beginning; only a missing end does not affect the rest."""
        packets = self._list()
        count = len(times)
        pts = np.array([-1 if t is None else t for t in times], np.int64)
        clocked = None not in times and bool(np.all(np.diff(pts) > 0))
        whole = not corrupt and not errors and np.array_equal(pts, packets.pts[:count])
        if not clocked and packets.timed and len(packets.pts) == count:
            pts, clocked = packets.pts, True
        self._now = _Index(
            count=count,
            pts=pts if whole and packets.trusted else None,
            keys=packets.keys,
            times=pts * float(self._time_base) if clocked else None,
        )
        promised = max(packets.promised, count)
        self._final = DecodeReport(promised=promised, decoded=count, damaged=promised - count + corrupt, complete=True)

    def _list(self) -> Packets:
        if self._packets is None:
            decoder = FileDecoder(self._path)
            try:
                self._packets = decoder.scan()
            finally:
                decoder.close()
        return self._packets

    def _numbered(self) -> _Index:
        if self._now is None:
            packets = self._list()
            if packets.trusted and packets.pts[0] == self._first_pts:
                seconds = packets.pts * float(self._time_base)
                self._now = _Index(len(packets.pts), packets.pts, packets.keys, seconds)
            else:
                self.check()
        assert self._now is not None
        return self._now

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        for number in indices:
            with self._lock:
                frame = self._frame(number)
                if frame is None:
                    if self._final is not None:
                        raise BadInput(f"{self.name}: frame {number} could not be decoded again; has the file changed?")
                    self.check()
                    raise _IndexChanged
                rgb = self._rgb(frame, number, self._scaler)
            yield rgb

    def _frame(self, number: int) -> VideoFrame | None:
        """Look up or decode frame `number`; None if it does not come out."""
        if self._cache is not None and self._final is not None and number in self._cache:
            return self._cache[number]
        index = self._numbered()
        if index.pts is None:
            cursor = self._current()
            if cursor is None or cursor.counted is None or cursor.counted > number:
                cursor = self._start(None)
            frame = cursor and cursor.count_to(number)
        else:
            frame = self._by_time(index, int(index.pts[number]))
        if frame is not None and self._final is not None:
            self._cache_frame(number, frame)
        return frame

    def _cache_frame(self, number: int, frame: VideoFrame) -> None:
        """Store a frame in its decoded format, which takes half the memory of RGB."""
        if self._cache is not None:
            self._cache.put(number, frame, sum(plane.buffer_size for plane in frame.planes))

    def _by_time(self, index: _Index, pts: int) -> VideoFrame | None:
        """The frame at time `pts`: onward from the decoder's position, or from a key frame, or from the beginning."""
        starts = index.keys[index.keys[:, 0] <= pts]
        cursor = self._current()
        nearest = int(starts[-1, 2]) if len(starts) else 0
        if cursor and cursor.shown is not None and cursor.shown < pts and nearest <= cursor.decoder.place:
            frame = cursor.until(pts)
            if frame is not None:
                return frame
        for key in starts[: -1 - _RETRIES : -1]:
            cursor = self._start(key)
            frame = cursor and cursor.until(pts)
            if frame is not None:
                return frame
        return self._start(None).until(pts)  # pyright: ignore[reportOptionalMemberAccess]

    def _current(self) -> Cursor | None:
        """The open decoder, unless the parent process of this fork opened it."""
        if self._cursor and self._cursor.decoder.process != os.getpid():
            self._stop()
        return self._cursor

    def _start(self, key: np.ndarray | None) -> Cursor | None:
        """Move the decoder to a key frame, or, for None, to the beginning of the file."""
        if key is None or self._cursor is None:
            self._stop()
            decoder = FileDecoder(self._path)
        else:
            decoder = self._cursor.decoder
        self._cursor = None
        frames = decoder.frames(decoder.packets()) if key is None else decoder.from_key(key, self._list().order)
        if frames is None:
            decoder.close()
            return None
        self._cursor = Cursor(decoder, frames)
        return self._cursor

    def _rgb(self, frame: VideoFrame, number: int, scaler: VideoReformatter) -> Frame:
        if (frame.width, frame.height) != self._stored:
            raise BadInput(
                f"{self.name}: frame {number} is {frame.width}x{frame.height} but the video began as "
                f"{self._stored[0]}x{self._stored[1]}; re-encode it to one size"
            )
        return upright_rgb(frame, self._display, scaler)

    def close(self) -> None:
        self._cache = None
        self._stop()

    def _stop(self) -> None:
        if self._cursor is not None:
            self._cursor.decoder.close()
            self._cursor = None

    def __del__(self) -> None:
        if getattr(self, "_cursor", None) is not None:
            self._stop()  # PyAV's container is part of a cycle: without this the file stays open for a while

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_cursor", "_lock", "_scaler", "_cache")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _cursor=None, _lock=threading.RLock(), _scaler=VideoReformatter(), _cache=None)


_RETRIES = 2
"""Key frames tried, going back, before decoding from the beginning."""
