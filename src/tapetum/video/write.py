"""Writing of videos: h264 in mp4, VP9 in webm, or gif; whole or not at all."""

import errno
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

from tapetum.core.errors import BadInput
from tapetum.core.files import named_path, refuse_folder, temporary_file
from tapetum.core.provenance import check, record
from tapetum.video.palette import Palettes
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
    are whole hundredths of a second, at most 50 frames a second.

    The file appears whole or not at all: it is written beside its place, flushed to the disk and renamed.

    Args:
        frames: uint8 arrays (h, w, 3), all of one size; taken one by one, so a generator may be longer than memory.
        frame_rate: frames per second.
        sound: of an mp4; its pieces are taken as the frames go on, so they may be longer than memory too.
        dither: mix colours that a gif lacks of those that it has; without it files are smaller and skies have steps.

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
    refuse_folder(path)
    check(path)
    checked = _checked(frames)
    temporary: str | None = None
    try:
        temporary = str(temporary_file(path))
        _encode(temporary, checked, frame_rate, suffix, dither, sound)
        record(path.parent, {path.name: Path(temporary)})
        _finish(temporary, path)
    except (OSError, av.error.FFmpegError) as error:
        if isinstance(error, OSError | av.error.OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise BadInput(f"cannot write {path}: the disk is full; free some space and try again") from error
        reason = " ".join(str(error.strerror or error).split())
        raise BadInput(f"cannot write {path}: {reason}; choose a place that can be written") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return path


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames, each of them seen to be uint8 RGB of the first one's size."""
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
    """Write the container `temporary`; frames are drawn, encoded and let go one by one."""
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


def _indexed(frame: Frame, palettes: Palettes) -> VideoFrame:
    """The frame in the 256 colours that suit it best."""
    numbers, colours = palettes.indexed(frame)
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0] = 255
    palette[: len(colours), 1:] = colours
    return VideoFrame.from_ndarray((numbers, palette), format="pal8")  # pyright: ignore[reportArgumentType]


def _finish(temporary: str, path: Path) -> None:
    """Flush to the disk and put in place."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
