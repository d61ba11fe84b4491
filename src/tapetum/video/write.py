"""Writing of videos: h264 in mp4, VP9 in webm, or gif; whole or not at all.

The 256 colours of a gif. Median cut and octrees distribute the palette by numbers of pixels, so the small coloured shapes
of an overlay turn grey. Here each colour is weighted by the square root of its frequency, and the boxes of median cut
(Heckbert 1982) are split where their variance is largest, as in Wu (1991). Colours of earlier frames decay slowly, so that
palettes change little and nothing flickers. Dithering is ordered, the same pattern in every frame: it stays still, while
diffused errors (Floyd and Steinberg 1976) move.
"""

import heapq
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float32, UInt8

from tapetum.core.errors import BadInput
from tapetum.core.files import named_path, whole_file
from tapetum.video.sound import SoundTrack
from tapetum.video.types import Frame, check_rate, refuse_huge

_BT709, _LIMITED = 1, 1
"""Values of AVColorSpace and AVColorRange."""

_GIF_CLOCK = 100
_GIF_SHORTEST = 2
"""Hundredths of a second; browsers slow down a gif whose frames are shorter."""


@dataclass(frozen=True)
class _Format:
    codec: str
    options: dict[str, str]
    muxer: dict[str, str]


_FORMATS = {
    # No macroblock tree: with it x264 gave other bytes for the same frames from call to call, on processors with AVX-512.
    ".mp4": _Format("libx264", {"crf": "17", "preset": "faster", "x264-params": "mbtree=0"}, {"movflags": "+faststart"}),
    ".webm": _Format("libvpx-vp9", {"crf": "24", "b:v": "0", "deadline": "realtime", "cpu-used": "6"}, {}),
    ".gif": _Format("gif", {}, {"loop": "0"}),
}


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[Frame],
    frame_rate: float,
    *,
    dither: bool = True,
    sound: SoundTrack | None = None,
) -> Path:
    """Encode `frames` to `path`; the extension chooses mp4 (h264), webm (VP9) or gif.

    mp4 and webm hold 4:2:0 colour, tagged BT.709, limited range, which needs even sizes: an odd width or height gets
    one more column or row, a copy of the last. A gif keeps its size; its palette is made for each frame and its times
    are whole hundredths of a second, at most 50 frames per second.

    The file appears whole or not at all: it is written under a temporary name, flushed to disk and renamed.

    Args:
        frames: uint8 arrays (h, w, 3), all of one size; taken one by one, so a generator may exceed memory.
        frame_rate: frames per second.
        sound: of an mp4; its pieces are taken as the frames advance, so they may exceed memory too.
        dither: approximate missing gif colours by mixing; without it files are smaller and skies show bands.

    Raises:
        BadInput: no frames, frames of another type or of several sizes, an unknown extension, a full disk.
    """
    path = named_path(path)
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise BadInput(f"{path} has the extension {suffix or '(none)'}; a video is written as .mp4, .webm or .gif")
    check_rate(frame_rate)
    if sound is not None and suffix != ".mp4":
        raise BadInput(f"{path.name} cannot have sound; write an .mp4")
    if not path.parent.is_dir():
        raise BadInput(f"there is no folder {path.parent} to write {path.name} into; make it first")
    with whole_file(path) as temporary:
        try:
            _encode(str(temporary), _checked(frames), frame_rate, suffix, dither, sound)
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror or str(error)) from error
    return path


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames, each checked to be uint8 RGB of the first one's size."""
    shape = None
    for number, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            given = f"{frame.dtype} of shape {frame.shape}"
            raise BadInput(f"frame {number} to be written is {given}; give uint8 arrays of shape (h, w, 3)")
        shape = shape or frame.shape
        if frame.shape != shape:
            raise BadInput(
                f"frame {number} to be written is {frame.shape[1]}x{frame.shape[0]}, but the first is "
                f"{shape[1]}x{shape[0]}: frames of one video have one size"
            )
        refuse_huge("the video to be written", width=shape[1], height=shape[0])
        yield frame
    if shape is None:
        raise BadInput("there are no frames to write; give at least one")


def _encode(
    temporary: str, frames: Iterator[Frame], frame_rate: float, suffix: str, dither: bool, sound: SoundTrack | None
) -> None:
    """Write the container `temporary`; frames are drawn, encoded and freed one by one."""
    style, gif = _FORMATS[suffix], suffix == ".gif"
    first = next(frames)
    clock = Fraction(_GIF_CLOCK) if gif else Fraction(frame_rate).limit_denominator(100_000)
    palettes = Palettes(dither=dither)
    step = max(_GIF_CLOCK / frame_rate, _GIF_SHORTEST) if gif else 1
    with av.open(temporary, "w", format=suffix[1:], options=style.muxer) as container:
        stream = container.add_stream(style.codec, rate=clock, options=style.options)
        assert isinstance(stream, VideoStream)
        height, width = first.shape[:2]
        stream.height, stream.width = (height, width) if gif else (height + height % 2, width + width % 2)
        stream.pix_fmt = "pal8" if gif else "yuv420p"
        if not gif:
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED
        if sound is not None:
            sound.begin(container)
        for number, frame in enumerate(chain((first,), frames)):
            image = _indexed(frame, palettes) if gif else _yuv(frame)
            image.pts, image.time_base = round(number * step), 1 / clock
            container.mux(stream.encode(image))
            if sound is not None:
                sound.encode(until_s=(number + 1) / frame_rate)
        container.mux(stream.encode(None))
        if sound is not None:
            sound.end()


def _yuv(frame: Frame) -> VideoFrame:
    """YUV 4:2:0 of even size in BT.709, limited range."""
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    return rgb.reformat(format="yuv420p", dst_colorspace="itu709", dst_color_range="MPEG", threads=1)


def _indexed(frame: Frame, palettes: "Palettes") -> VideoFrame:
    numbers, colours = palettes.indexed(frame)
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0] = 255
    palette[: len(colours), 1:] = colours
    return VideoFrame.from_ndarray((numbers, palette), format="pal8")  # pyright: ignore[reportArgumentType]


_BITS = 5
"""Of each channel: colours that agree in these are one."""
_KEPT = 0.7
"""Of what was seen before, from a frame to the next."""


class Palettes:
    """Converts frames, one after the other, to at most 256 colours each."""

    def __init__(self, *, dither: bool = True):
        """Start without any frame."""
        self._dither = dither
        self._counts = np.zeros(1 << 3 * _BITS)
        self._sums = np.zeros((1 << 3 * _BITS, 3))

    def indexed(self, frame: Frame) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "k 3"]]:
        """Compute the palette index of each pixel, and the palette, of 256 colours or fewer."""
        self._count_colours(frame)
        bins = np.flatnonzero(self._counts > 0.05)
        colours = (self._sums[bins] / self._counts[bins, None]).astype(np.float32)
        palette = np.rint(split(colours, np.sqrt(self._counts[bins]))).astype(np.uint8)
        dithered = frame if not self._dither else _dithered(frame, palette)
        present = np.unique(numbers := _bin(dithered))
        nearest = np.zeros(1 << 3 * _BITS, np.uint8)
        middles = np.stack([(present >> shift) % (1 << _BITS) for shift in (2 * _BITS, _BITS, 0)], 1) * 8.0 + 3.5
        counts = self._counts[present, None]
        middles = np.where(counts > 0.05, self._sums[present] / counts.clip(1e-9), middles)
        nearest[present] = _nearest(palette, middles)[1]
        return nearest[numbers], palette

    def _count_colours(self, frame: Frame) -> None:
        pixels = frame.reshape(-1, 3)
        numbers = _bin(pixels)
        self._counts *= _KEPT
        self._sums *= _KEPT
        self._counts += np.bincount(numbers, minlength=len(self._counts))
        for channel in range(3):
            self._sums[:, channel] += np.bincount(numbers, pixels[:, channel], minlength=len(self._counts))


def _bin(pixels: np.ndarray) -> np.ndarray:
    high = pixels.astype(np.int32) >> (8 - _BITS)
    return (high[..., 0] << 2 * _BITS) | (high[..., 1] << _BITS) | high[..., 2]


def split(colours: Float32[np.ndarray, "n 3"], weights: np.ndarray, most: int = 256) -> Float32[np.ndarray, "k 3"]:
    """Choose at most `most` colours to represent n weighted ones: means of boxes, split along their largest variance.

    >>> split(np.array([[0, 0, 0], [2, 0, 0], [250, 0, 0]], np.float32), np.array([1.0, 1, 1]), 2).tolist()
    [[1.0, 0.0, 0.0], [250.0, 0.0, 0.0]]
    """
    done: list[np.ndarray] = []
    heap: list[tuple[float, int, np.ndarray, int]] = []

    def offer(box: np.ndarray) -> None:
        own, weight = colours[box], weights[box]
        middle = weight @ own / weight.sum()
        variance = weight @ (own - middle) ** 2
        axis = int(variance.argmax())
        if len(box) > 1 and variance[axis] > 1e-6:
            heapq.heappush(heap, (-float(variance[axis]), int(box[0]), box, axis))
        else:
            done.append(box)

    offer(np.arange(len(colours)))
    while heap and len(heap) + len(done) < most:
        _, _, box, axis = heapq.heappop(heap)
        along = colours[box, axis]
        below = along <= weights[box] @ along / weights[box].sum()
        offer(box[below])
        offer(box[~below])
    boxes = sorted([*done, *(entry[2] for entry in heap)], key=lambda box: box[0])
    return np.stack([weights[box] @ colours[box] / weights[box].sum() for box in boxes]).astype(np.float32)


def _pattern() -> Float32[np.ndarray, "8 8"]:
    """Bayer's ordered pattern (1973): -0.5..0.5, each value once."""
    pattern = np.zeros((1, 1))
    for _ in range(3):
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    return ((pattern + 0.5) / 64 - 0.5).astype(np.float32)


def _nearest(palette: UInt8[np.ndarray, "k 3"], colours: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest colours of a palette, and their numbers."""
    from scipy.spatial import KDTree  # takes half a second, and mp4 and webm need none

    apart, numbers = KDTree(palette.astype(np.float64)).query(colours, k=count)
    return apart, np.asarray(numbers)


def _dithered(frame: Frame, palette: UInt8[np.ndarray, "k 3"]) -> Frame:
    """The frame with the pattern added, scaled to the distance between palette colours."""
    if len(palette) < 3:
        return frame
    apart = float(np.median(_nearest(palette, palette, 2)[0][:, 1]))
    height, width = frame.shape[:2]
    pattern = np.tile(_pattern(), (height // 8 + 1, width // 8 + 1))[:height, :width, None]
    return np.clip(np.rint(frame + pattern * (0.7 * apart)), 0, 255).astype(np.uint8)
