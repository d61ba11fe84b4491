"""Writing of videos: h264 in mp4, VP9 in webm, or gif; whole or not at all. Each frame of a gif has a palette of its own;
dithering is ordered, since diffused errors move."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

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
    """Encode `frames` to `path`, whole or not at all; the extension chooses mp4 (h264), webm (VP9) or gif.

    mp4 and webm hold 4:2:0 colour, tagged BT.709, limited range; an odd width or height gets one more column or row, a copy of
    the last. A gif has a palette for each frame, and times in hundredths of a second, at most 50 frames per second; `dither`
    mixes colours that it lacks. Frames, uint8 (h, w, 3) of one size, and the `sound` of an mp4 are taken one by one. Raises
    BadInput for no frames, frames of another type or of several sizes, an unknown extension, a full disk.
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
    palettes = _Palettes(first, dither) if gif else None
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
            place = round(number * step)
            image = _yuv(frame) if palettes is None else palettes.indexed(frame, place)
            image.pts, image.time_base = place, 1 / clock
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


class _Palettes:
    """Converts frames to 256 colours each, by FFmpeg's palettegen and paletteuse."""

    def __init__(self, frame: Frame, dither: bool):
        height, width = frame.shape[:2]
        self._graph = Graph()
        source = self._graph.add_buffer(width=width, height=height, format="rgb24", time_base=Fraction(1, _GIF_CLOCK))  # pyright: ignore[reportArgumentType]
        copies, palette = self._graph.add("split"), self._graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
        use = self._graph.add("paletteuse", f"new=1:dither={'bayer:bayer_scale=4' if dither else 'none'}")
        source.link_to(copies)
        copies.link_to(use, 0, 0)
        copies.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(self._graph.add("buffersink"))
        self._graph.configure()

    def indexed(self, frame: Frame, place: int) -> VideoFrame:
        image = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        image.pts, image.time_base = place, Fraction(1, _GIF_CLOCK)
        self._graph.push(image)
        return self._graph.pull()  # pyright: ignore[reportReturnType]
