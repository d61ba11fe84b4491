"""Frames of videos as JPEG, kept in memory, those around the last one asked for made ahead."""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tapetum.app.web.answers import Refused
from tapetum.app.web.items import Item
from tapetum.video import Video, open_video

QUALITY = 85
KEPT_BYTES = 256 << 20
"""Of JPEGs that are kept."""
_OPEN = 4
"""Videos whose decoders stay open, the last that were looked at."""
_AHEAD, _BEHIND = 12, 4
"""Frames that are made before anybody asks."""
_LEAST_WIDTH = 16

_Key = tuple[str, int, int]
"""Item, frame, width."""


class Frames:
    """Makes and keeps JPEGs; may be called by several threads."""

    def __init__(self, kept_bytes: int = KEPT_BYTES):
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._free = kept_bytes
        self._lock = threading.Lock()
        self._videos: OrderedDict[str, Video] = OrderedDict()
        self._in_use: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        """By item, a number for the last request, by which older work ahead is given up."""
        self._worker = ThreadPoolExecutor(1, "frames")

    def jpeg(self, item: Item, frame: int, width: int | None = None) -> bytes:
        """Encode a frame at a width of at most that of the video. Raises Refused with 404 where there is no such frame."""
        if not 0 <= frame < item.frames:
            raise Refused(404, f"{item.name} has no frame {frame}; it has {item.frames}")
        width = item.width if width is None else min(max(width, _LEAST_WIDTH), item.width)
        with self._lock:
            number = self._asked[item.id] = self._asked.get(item.id, 0) + 1
        made = self._make(item, frame, width)
        if item.frames > 1:
            self._worker.submit(self._make_near, item, frame, width, number)
        return made

    def close(self) -> None:
        """Stop working ahead, and close the videos."""
        with self._lock:
            self._asked.clear()
        self._worker.shutdown(cancel_futures=True)
        with self._lock:
            for video in self._videos.values():
                video.close()
            self._videos.clear()

    def _make(self, item: Item, frame: int, width: int) -> bytes:
        key = item.id, frame, width
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        with self._opened(item.id, item.path) as video:
            try:
                image = video[frame]
            except IndexError:  # damage cut it short
                raise Refused(404, f"{item.name} has no frame {frame}; it has {len(video)}") from None
        made = _encode(image, width)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._free -= len(made)
            while self._free < 0 and len(self._kept) > 1:
                self._free += len(self._kept.popitem(last=False)[1])
        return made

    def _make_near(self, item: Item, frame: int, width: int, number: int) -> None:
        """Make the frames around one, until another is asked for."""
        near = [*range(frame + 1, min(frame + 1 + _AHEAD, item.frames)), *range(max(frame - _BEHIND, 0), frame)]
        for each in near:
            with self._lock:
                if self._asked.get(item.id) != number:
                    return
            try:
                self._make(item, each, width)
            except Exception:  # whoever asks for it is told
                return

    @contextmanager
    def _opened(self, number: str, path: Path) -> Iterator[Video]:
        """A video whose decoder stays open for the next frame, and is not closed while somebody reads."""
        with self._lock:
            video = self._videos.pop(number, None) or open_video(path)
            self._videos[number] = video
            self._in_use[number] = self._in_use.get(number, 0) + 1
            for other in [key for key in self._videos if not self._in_use.get(key)][: max(len(self._videos) - _OPEN, 0)]:
                self._videos.pop(other).close()
        try:
            yield video
        finally:
            with self._lock:
                self._in_use[number] -= 1


def _encode(image: object, width: int) -> bytes:
    from PIL import Image

    shown = Image.fromarray(image)  # type: ignore[arg-type]
    if width < shown.width:
        height = max(round(shown.height * width / shown.width), 1)
        shown = shown.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
