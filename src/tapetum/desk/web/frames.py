"""Frames of videos as JPEG, cached in memory and prefetched.

Between two key frames, a frame can only be reached through those before it. So one thread decodes the requested frames of a
video, in ascending order as far as possible:

    1. frames that requests wait for    the next one after the last that was decoded, else the first
    2. frames near the last request     those after it first, unless requests go backward; while nobody looks at another video
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any

from tapetum.desk.web.answers import Refused
from tapetum.desk.web.items import MediaItem
from tapetum.video import Video, open_video

QUALITY = 85
KEPT_BYTES = 256 << 20
"""Maximum size of all cached JPEGs."""
_OPEN = 4
"""Number of videos whose decoders stay open."""
_BEFORE, _AFTER = 24, 96
"""Number of frames before and after a request that are prefetched."""
_LEAST_WIDTH = 16
_ENDING = "the server is ending"

_Key = tuple[str, int, int]
"""Item, frame, width."""


class Frames:
    """Encodes and caches JPEGs; thread-safe."""

    def __init__(self, kept_bytes: int = KEPT_BYTES):
        self.made: OrderedDict[_Key, bytes] = OrderedDict()
        self._most, self._bytes = kept_bytes, 0
        self._lock = threading.Lock()
        self._readers: OrderedDict[str, _Reader] = OrderedDict()
        self.pool = ThreadPoolExecutor(2 * _OPEN, "frames")
        self.last = ""
        """Id of the last item that was looked at."""
        self.closed = False

    def jpeg(self, item: MediaItem, frame: int, width: int | None = None) -> bytes:
        """Encode a frame at a width of at most that of the video. Raises Refused with 404 if there is no such frame."""
        if not 0 <= frame < item.frames:
            raise Refused(404, f"{item.name} has no frame {frame}; it has {item.frames}")
        width = item.width if width is None else min(max(width, _LEAST_WIDTH), item.width)
        key, reader = (item.id, frame, width), self._reader(item)
        with self._lock:
            self.last = item.id
            made = self.made.get(key)
            if made is not None:
                self.made.move_to_end(key)
        if made is None:
            try:
                image = reader.read(frame)
            except IndexError:  # damage cut it short
                raise Refused(404, f"{item.name} has no frame {frame}") from None
            made = self.keep(key, image)
        reader.go_on_from(frame, width)
        return made

    def keep(self, key: _Key, image: Any) -> bytes:
        """Encode a frame and cache it; the least recently used are evicted."""
        made = _encode(image, key[2])
        with self._lock:
            if key not in self.made:
                self.made[key] = made
                self._bytes += len(made)
            while self._bytes > self._most and len(self.made) > 1:
                self._bytes -= len(self.made.popitem(last=False)[1])
        return made

    def refuse(self) -> None:
        """Decode nothing from now on; requests that wait for frames are refused with 409."""
        self.closed = True
        with self._lock:
            readers = list(self._readers.values())
        for reader in readers:
            reader.refuse()

    def close(self) -> None:
        """Refuse requests, wait for the frames being decoded, and close the videos."""
        self.refuse()
        self.pool.shutdown(cancel_futures=True)
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _reader(self, item: MediaItem) -> "_Reader":
        with self._lock:
            reader = self._readers.pop(item.id, None)
            if reader is None or reader.item.path != item.path:  # it may have been moved
                reader = _Reader(item, self)
            self._readers[item.id] = reader
            idle = [number for number, each in self._readers.items() if number != item.id and not each.busy]
            for number in idle[: max(len(self._readers) - _OPEN, 0)]:
                self._readers.pop(number).close()
        return reader


class _Reader:
    """Decoder of one video."""

    def __init__(self, item: MediaItem, frames: Frames):
        self.item, self._frames = item, frames
        self._lock = threading.Lock()
        self._video: Video | None = None
        self._requested: dict[int, Future[Any]] = {}
        self._ahead: Iterator[int] = iter(())
        self._width, self._newest, self._decoded = 0, -1, -1
        self.busy = False

    def read(self, frame: int) -> Any:
        """Decode a frame; raises what decoding raises, and Refused with 409 once the server ends."""
        with self._lock:
            if self._frames.closed:
                raise Refused(409, _ENDING)
            future = self._requested.setdefault(frame, Future())
            self._begin()
        return future.result()

    def go_on_from(self, frame: int, width: int) -> None:
        """Prefetch the frames around one, unless others are requested."""
        with self._lock:
            before = range(max(frame - _BEFORE, 0), frame)
            after = range(frame + 1, min(frame + 1 + _AFTER, self.item.frames))
            backward = frame < self._newest <= frame + _BEFORE
            self._ahead = chain(before, after) if backward else chain(after, before)
            self._width, self._newest = width, frame
            self._begin()

    def refuse(self) -> None:
        """Refuse the frames that requests wait for."""
        with self._lock:
            requested, self._requested = self._requested, {}
        for future in requested.values():
            future.set_exception(Refused(409, _ENDING))

    def close(self) -> None:
        """Close the video; requests that wait for a frame stop waiting."""
        self.refuse()
        if self._video is not None:
            self._video.close()

    def _begin(self) -> None:
        if not self.busy and not self._frames.closed:
            self.busy = True
            self._frames.pool.submit(self._work)

    def _work(self) -> None:
        """Decode until no frames are requested."""
        while True:
            with self._lock:
                number = self._next()
                width = self._width
                if number is None:
                    self.busy = False
                    return
            image, failure = None, None
            try:
                if self._video is None:
                    self._video = open_video(self.item.path)
                image = self._video[number]
                self._decoded = number
            except Exception as error:  # whoever waits for it is told
                failure = error
            with self._lock:
                future = self._requested.pop(number, None)
                if failure is not None:
                    self._ahead = iter(())
            if future is None:
                if failure is None:
                    self._frames.keep((self.item.id, number, width), image)
            elif failure is None:
                future.set_result(image)
            else:
                future.set_exception(failure)

    def _next(self) -> int | None:
        """Choose the frame to decode next; None if there is nothing to do."""
        if self._requested:
            beyond = [number for number in self._requested if number > self._decoded]
            return min(beyond or self._requested)
        if self._frames.last == self.item.id and not self._frames.closed:
            for number in self._ahead:
                if (self.item.id, number, self._width) not in self._frames.made:
                    return number
        return None


def _encode(image: Any, width: int) -> bytes:
    from PIL import Image

    shown = Image.fromarray(image)
    if width < shown.width:
        height = max(round(shown.height * width / shown.width), 1)
        shown = shown.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
