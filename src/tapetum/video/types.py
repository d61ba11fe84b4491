"""The Video type: frames, uint8 (h, w, 3), RGB, upright, decoded on demand, however they are stored; and parts of a video: some
frames, or another size. `open_video` makes one from a file, a folder or an array."""

import operator
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

import numpy as np
from jaxtyping import Float64, UInt8

from tapetum.core.errors import BadInput

FRAME_CACHE_BYTES = 512 << 20
"""Memory for the frames that a video keeps, if nothing else is asked for."""

Decoded = TypeVar("Decoded")


class FrameCache(Generic[Decoded]):
    """Decoded frames by number, within a fixed amount of memory; may be shared by threads.

    Passes run from the first frame to the last, repeatedly, so the first frames are stored and never evicted: with
    least-recently-used eviction, the next pass would find none.
    """

    def __init__(self, max_bytes: int):
        self.free_bytes = max_bytes
        self._frames: dict[int, Decoded] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, number: int) -> bool:
        return number in self._frames

    def __getitem__(self, number: int) -> Decoded:
        return self._frames[number]

    def put(self, number: int, frame: Decoded, size: int) -> None:
        """Store a frame of `size` bytes, unless it is stored already or there is no memory left for it."""
        with self._lock:
            if number not in self._frames and size <= self.free_bytes:
                self.free_bytes -= size
                self._frames[number] = frame


MAX_PIXELS = 128 * 1024 * 1024
"""A frame with more pixels than this is refused before it is decoded; 16K (15360x8640) just fits. Lower than the limits of
FFmpeg and Pillow, so that it is this one that counts."""

SLOWEST, FASTEST = 1e-4, 1e6
"""Frames per second. A file that states another rate is taken to have none: no container can be written with it."""

DEFAULT_RATE = 25.0
"""Frames per second of a source that has no clock: a folder, an array or a still image."""

Frame = UInt8[np.ndarray, "h w 3"]
Frames = UInt8[np.ndarray, "t h w 3"]


def refuse_huge(name: object, width: int, height: int) -> None:
    """Raise `BadInput` if a frame has more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise BadInput(f"{name} has frames of {width}x{height}; more than {MAX_PIXELS} pixels are refused: make them smaller")


def usable_rate(*stated: object) -> float | None:
    """Choose the first of some rates, each a number or None, that lies between `SLOWEST` and `FASTEST`; None if there is none.

    >>> usable_rate(None, float("inf"), 0, 30), usable_rate(2**31)
    (30.0, None)
    """
    rates = (float(rate) for rate in stated if rate is not None)  # pyright: ignore[reportArgumentType]
    return next((rate for rate in rates if SLOWEST <= rate <= FASTEST), None)


def check_rate(frame_rate: float) -> None:
    """Raise `BadInput` for a user's rate that no video can have."""
    if usable_rate(frame_rate) is None:
        raise BadInput(f"the rate {frame_rate} is not possible; give a number from {SLOWEST:g} to {FASTEST:g} a second")


@dataclass(frozen=True, kw_only=True)
class DecodeReport:
    """Counts of the frames that a source promised and that came out of it.

    Counts of a file grow while it is decoded, and are final once `complete` is true (see `Video.check`).
    """

    promised: int
    """Frames that the container or its packets announce."""
    decoded: int
    """Different frames that have been decoded so far."""
    damaged: int
    """Frames known to be lost, or decoded but marked corrupt by the decoder."""
    complete: bool
    """Whether every frame has been tried."""


class Video(ABC):
    """A sequence of frames, uint8 (h, w, 3) RGB, decoded on demand.

    `video[i]` is one frame, `video[a:b:c]` or `video[[i, j, ...]]` an array (t, h, w, 3), as in lists. Every array is new and
    may be modified. A video is a context manager, and can be pickled to another process.
    """

    name: str
    """Short name for messages and tables: the file name without its folder."""
    height: int
    """Rows of a frame, after rotation."""
    width: int
    """Columns of a frame, after rotation."""
    clocked: bool = True
    """Whether the source says when its frames are; else `frame_rate` and `timestamps` are what was given, or `DEFAULT_RATE`."""

    _rate: float = DEFAULT_RATE
    """Frames per second that a source without a clock was given."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @property
    def frame_rate(self) -> float:
        """Average frames per second."""
        return self._rate

    @property
    def timestamps(self) -> Float64[np.ndarray, " t"]:
        """Time of each frame in seconds, as the source states it: the first need not be 0."""
        return np.arange(len(self), dtype=np.float64) / self.frame_rate

    @property
    def report(self) -> DecodeReport:
        """Count frames promised, decoded and damaged, as far as known so far."""
        return DecodeReport(promised=len(self), decoded=len(self), damaged=0, complete=True)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order, one by one; several iterators may run at once."""
        return self._read(range(len(self)))

    @abstractmethod
    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Frames at `indices`, which are valid and strictly ascending."""

    def check(self) -> DecodeReport:
        """Decode every frame once and return the final report; this corrects a wrong length."""
        for _ in self:
            pass
        return self.report

    def cache_frames(self, max_bytes: int = FRAME_CACHE_BYTES) -> None:
        """Store decoded frames from now on until `close`, up to `max_bytes`, for several passes over one video."""
        return None

    def close(self) -> None:
        """Close files and drop cached frames; a closed video reopens its files when it is read."""
        return None

    @overload
    def __getitem__(self, item: int) -> Frame: ...
    @overload
    def __getitem__(self, item: "slice | Sequence[int] | np.ndarray") -> Frames: ...
    def __getitem__(self, item: "int | slice | Sequence[int] | np.ndarray") -> "Frame | Frames":
        if isinstance(item, slice):
            return self._gather(list(range(*item.indices(len(self)))))
        if isinstance(item, (Sequence, np.ndarray)) and not isinstance(item, (str, bytes)):
            if isinstance(item, np.ndarray) and (item.ndim != 1 or item.dtype.kind not in "iu"):
                raise TypeError(f"frames are chosen by a list of integers, not by {item.dtype} of shape {item.shape}")
            return self._gather([self._index(i) for i in item])
        index = self._index(item)
        for frame in self._read([index]):
            return frame
        raise IndexError(f"{self.name} has {len(self)} frames; there is no frame {item}")

    def _index(self, item: object) -> int:
        """A valid index from a possibly negative one."""
        index = operator.index(item)  # pyright: ignore[reportArgumentType]
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"{self.name} has {length} frames; there is no frame {index}")
        return index % length

    def _gather(self, indices: list[int]) -> Frames:
        """Frames in any order, with repeats; each is decoded once, in ascending order."""
        out = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            places.setdefault(index, []).append(place)
        rising = sorted(places)
        for index, frame in zip(rising, self._read(rising), strict=True):
            out[places[index]] = frame
        return out

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self)} frames, {self.width}x{self.height}, {self.frame_rate:g}/s>"


_FRAME_OR_TIME = re.compile(r"(\d+)|(\d+(?:\.\d*)?|\.\d+)s")


class _Derived(Video):
    """Frames of another video, of which it has the name, the times and the state."""

    def __init__(self, video: Video, width: int, height: int):
        self._whole, self.name, self.height, self.width, self.clocked = video, video.name, height, width, video.clocked

    def __len__(self) -> int:
        return len(self._whole)

    @property
    def frame_rate(self) -> float:
        return self._whole.frame_rate

    @property
    def timestamps(self) -> np.ndarray:
        return self._whole.timestamps

    @property
    def report(self) -> DecodeReport:
        return self._whole.report

    def close(self) -> None:
        self._whole.close()


class VideoSubset(_Derived):
    """Some frames of a video, by ascending `numbers` in it; their times are those of the video."""

    def __init__(self, video: Video, numbers: Sequence[int]):
        super().__init__(video, video.width, video.height)
        self.numbers = np.asarray(numbers, np.int64)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def frame_rate(self) -> float:
        gaps = np.diff(self.numbers)
        return self._whole.frame_rate / (float(gaps.mean()) if len(gaps) else 1.0)

    @property
    def timestamps(self) -> np.ndarray:
        return self._whole.timestamps[self.numbers]

    @property
    def report(self) -> DecodeReport:
        count = len(self)
        return DecodeReport(promised=count, decoded=count, damaged=0, complete=self._whole.report.complete)

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        return self._whole._read(self.numbers[list(indices)].tolist())

    def cache_frames(self, max_bytes: int = FRAME_CACHE_BYTES) -> None:
        self._whole.cache_frames(max_bytes)


class ResizedVideo(_Derived):
    """A video with frames of another size; see `resize_frame`."""

    def __init__(self, video: Video, width: int, height: int):
        refuse_huge(video.name, width=width, height=height)
        super().__init__(video, width, height)

    def __iter__(self) -> Iterator[Frame]:
        return (resize_frame(frame, self.width, self.height) for frame in self._whole)

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        return (resize_frame(frame, self.width, self.height) for frame in self._whole._read(indices))


def resize_frame(frame: Frame, width: int, height: int) -> Frame:
    """Resize a frame: pixels are means of the areas they cover when shrinking, else bilinear."""
    if frame.shape[:2] == (height, width):
        return frame
    from PIL import Image

    smaller = width <= frame.shape[1] and height <= frame.shape[0]
    resampling = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(frame).resize((width, height), resampling))


def parse_frame_range(video: Video, start: str | int | None = None, end: str | int | None = None, stride: int = 1) -> list[int]:
    """List the numbers of the frames from `start` to before `end`, with step `stride`.

    Both are a frame's number or, as 2.5s, a time as the video states it (`Video.timestamps`); None is the first, and past the
    last. Raises BadInput if a value is neither, or nothing is left.
    """
    frames = len(video)
    first = 0 if start is None else _frame_of(video, "--start", start)
    last = frames if end is None else min(_frame_of(video, "--end", end), frames)
    if stride < 1:
        raise BadInput(f"--stride is {stride}; give 1 or more: 2 takes every other frame")
    if first >= last:
        seconds = float(video.timestamps[-1]) + 1 / video.frame_rate
        span = f"from {'the first frame' if start is None else start} to {'the last' if end is None else end}"
        raise BadInput(f"{span} there is no frame in {video.name}, which has {frames} of them in {seconds:.2f} s; "
                       "give --start before --end")  # fmt: skip
    return list(range(first, last, stride))


def _frame_of(video: Video, option: str, moment: str | int) -> int:
    """The number of the frame, or of the first one not before the time."""
    match = _FRAME_OR_TIME.fullmatch(str(moment).strip())
    if match is None:
        raise BadInput(f"{option} {moment} is neither a frame nor a time; give a frame's number, as 120, or seconds, as 4.5s")
    if match[1]:
        return int(match[1])
    return int(np.searchsorted(video.timestamps, float(match[2]) - 1e-6))


def parse_size(text: str | int, width: int, height: int) -> tuple[int, int]:
    """Read a size for images of `width` x `height`: WIDTHxHEIGHT, or only the longer side, keeping the aspect ratio.

    Raises BadInput for anything else.
    """
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(text).strip())
    sides = [int(side) for side in match.groups() if side] if match else []
    if not sides or min(sides) < 8:
        raise BadInput(f"--resize {text} is no size; give the longer side in pixels, as 512, or both, as 512x288 (8 or more)")
    if len(sides) == 2:
        return sides[0], sides[1]
    share = sides[0] / max(width, height)
    return max(round(width * share), 8), max(round(height * share), 8)
