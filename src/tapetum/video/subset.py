"""Part of a video: some of its frames, or its frames at another size."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.video.types import FRAME_CACHE_BYTES, DecodeReport, Frame, Video, refuse_huge

_FRAME_OR_TIME = re.compile(r"(\d+)|(\d+(?:\.\d*)?|\.\d+)s")


class VideoSubset(Video):
    """Some frames of a video, in ascending order; their times are those of the video."""

    def __init__(self, video: Video, numbers: Sequence[int]):
        """`numbers` must be valid frame numbers of the video."""
        self._whole, self.numbers = video, np.asarray(numbers, np.int64)
        self.name, self.height, self.width, self.clocked = video.name, video.height, video.width, video.clocked

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

    def close(self) -> None:
        self._whole.close()


class ResizedVideo(Video):
    """A video with frames of another size; see `resize_frame`."""

    def __init__(self, video: Video, width: int, height: int):
        refuse_huge(video.name, width=width, height=height)
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

    def __iter__(self) -> Iterator[Frame]:
        return (resize_frame(frame, self.width, self.height) for frame in self._whole)

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        return (resize_frame(frame, self.width, self.height) for frame in self._whole._read(indices))

    def close(self) -> None:
        self._whole.close()


def resize_frame(frame: Frame, width: int, height: int) -> Frame:
    """Resize a frame: pixels are means of the areas they cover when shrinking, else bilinear.

    >>> resize_frame(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 1, 1).tolist()
    [[[5, 6, 7]]]
    """
    if frame.shape[:2] == (height, width):
        return frame
    smaller = width <= frame.shape[1] and height <= frame.shape[0]
    resampling = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(frame).resize((width, height), resampling))


def parse_frame_range(video: Video, start: str | int | None = None, end: str | int | None = None, stride: int = 1) -> list[int]:
    """List the numbers of the frames from `start` to before `end`, with step `stride`.

    Args:
        start: an integer is a frame, 2.5s a time in seconds as the video states it (`Video.timestamps`); None is the first.
        end: the first frame, or time, that is excluded; None takes the rest.

    Raises:
        BadInput: a value is neither a frame nor a time, or nothing is left.

    >>> from tapetum.video import open_video
    >>> parse_frame_range(open_video(np.zeros((50, 8, 8, 3), np.uint8), frame_rate=10), "1s", 20, 3)
    [10, 13, 16, 19]
    """
    frames = len(video)
    first = 0 if start is None else _frame_of(video, "--start", start)
    last = frames if end is None else min(_frame_of(video, "--end", end), frames)
    if stride < 1:
        raise BadInput(f"--stride is {stride}; give 1 or more: 2 takes every other frame")
    if first >= last:
        span = f"from {'the first frame' if start is None else start} to {'the last' if end is None else end}"
        raise BadInput(f"{span} there is no frame in {video.name}, which has {frames} of them in {_seconds(video):.2f} s; "
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


def _seconds(video: Video) -> float:
    return float(video.timestamps[-1]) + 1 / video.frame_rate


def parse_size(text: str | int, width: int, height: int) -> tuple[int, int]:
    """Read a size for images of `width` x `height`: WIDTHxHEIGHT, or only the longer side, keeping the aspect ratio.

    Raises BadInput for anything else.

    >>> parse_size("320", 640, 360), parse_size("64x64", 640, 360)
    ((320, 180), (64, 64))
    """
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(text).strip())
    sides = [int(side) for side in match.groups() if side] if match else []
    if not sides or min(sides) < 8:
        raise BadInput(f"--resize {text} is no size; give the longer side in pixels, as 512, or both, as 512x288 (8 or more)")
    if len(sides) == 2:
        return sides[0], sides[1]
    share = sides[0] / max(width, height)
    return max(round(width * share), 8), max(round(height * share), 8)
