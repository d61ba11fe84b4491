"""Live videos: frames as they arrive from a camera, an address, or a pipe.

A separate thread decodes: frames of a camera or an address that are taken up too late, by the source's own times, are dropped
and counted, but never the newest; a pipe or a file waits. Frames that arrive in bursts are not late. Safety is as in `decode`;
an address may use its own protocols, a pipe no other.
"""

import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from tapetum.core.errors import BadInput, hide_secrets
from tapetum.video.decode import CONTAINERS, read_display_matrix, upright_rgb
from tapetum.video.types import MAX_PIXELS, Frame, usable_rate

_ADDRESSES = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsp,rtp,udp,tcp,tls",
    "rtmp": "rtmp,tcp",
    "http": "http,tcp",
    "https": "https,http,tls,tcp",
    "tcp": "tcp",
    "udp": "udp",
}
"""Kinds of addresses that may be opened, each with the protocols that it needs."""
_PATIENCE = 10
"""Seconds in which an address must answer."""


_ROOM = 128 << 20
"""Bytes of the frames that wait; 20 of 1920x1080."""
_PROBE = {"probesize": "500000", "analyzeduration": "1000000"}
"""Bytes and microseconds of a source that are looked at before the first frame is given out."""


@dataclass(frozen=True)
class CapturedFrame:
    """One frame of a live video."""

    frame: Frame
    """uint8 (h, w, 3)."""
    number: int
    """Number of the frame, dropped ones counted."""
    arrived: float
    """When it had been decoded, by `time.perf_counter`."""
    time_s: float
    """Seconds, as the source states them, or by number and rate; where the source's clock goes back, this one goes on."""


class LiveVideo:
    """A live source, to be iterated once: `for moment in LiveVideo(0): ...`.

    `source` is the number of a camera, an address such as rtsp://..., "-" for standard input, or a path. `drop` says whether to
    drop frames that are more than `lag` seconds late; None drops those of cameras and addresses. Raises BadInput if there is no
    such source, or no video; during iteration, if it breaks off, ends within a frame or sends frames of another size.
    """

    def __init__(self, source: str | int, *, drop: bool | None = None, lag: float = 0.1):
        self._source = str(source)
        self.name = hide_secrets(self._source)
        self.dropped = 0
        """Frames that came and were not handed out."""
        self.drop, self.lag = is_live(self._source) if drop is None else drop, lag
        self.size: tuple[int, int] | None = None
        """Height and width of the frames, where the source says them before the first one."""
        self.frame_rate = 30.0
        """Frames per second, as far as the source tells; 30 if it does not."""
        self._waiting: deque[CapturedFrame] = deque()
        self._delays: deque[tuple[float, float]] = deque()
        """Of the frames of the last second: when they arrived, and how long after their own times."""
        self._changed = threading.Condition()
        self._opened = self._started = self._ended = self._closed = False
        self._error: Exception | None = None
        # opened there too: a source may be silent for long, and only a main thread that waits in Python hears Ctrl-C
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        with self._changed:
            while not self._opened:
                self._changed.wait(0.1)
        if isinstance(self._error, BadInput):
            raise self._error

    def __enter__(self) -> "LiveVideo":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """Stop the frames; may be called from a signal handler."""
        self._closed = True

    def close(self) -> None:
        """Stop, and wait briefly for the thread to end."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def __iter__(self) -> Iterator[CapturedFrame]:
        any_frame = False
        self._signal(started=True)
        while True:
            with self._changed:
                while not (self._waiting or self._ended or self._closed):
                    self._changed.wait(0.1)  # in steps, so that Ctrl-C is heard
                if self._closed or not self._waiting:
                    break
                self._drop_late(time.perf_counter())
                captured = self._waiting.popleft()
                self._changed.notify_all()
            any_frame = True
            yield captured
        if self._closed:
            return
        if isinstance(self._error, BadInput):
            raise self._error
        if self._error is not None:
            what = "standard input" if self.name == "-" else self.name
            hint = "; check the source"
            if self.name == "-" and not any_frame:
                hint = "; an mp4 with its index at the end cannot be read from a pipe: give the file itself, or send matroska"
            raise BadInput(f"{what} ended with an error ({_reason(self._error)}){hint}") from self._error

    def _work(self) -> None:
        container, piped = None, _StandardInput() if self._source == "-" else None
        try:
            container = _open(self._source, piped)
            if not container.streams.video:
                raise BadInput(f"{self.name} holds no moving images; give a camera, an address, a pipe or a file that does")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise BadInput(f"{self.name} is coded in a way that this build of FFmpeg cannot decode; send h264")
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            self.frame_rate = usable_rate(stream.average_rate, stream.guessed_rate) or self.frame_rate
            if stream.codec_context.width:
                self.size = stream.codec_context.height, stream.codec_context.width
            self._signal(opened=True)
            with self._changed:  # whoever takes the frames may have to warm up first
                while not (self._started or self._closed):
                    self._changed.wait(0.1)
            self._decode(container, stream, piped)
        except (BadInput, av.error.FFmpegError, OSError, ValueError, IndexError, MemoryError) as error:
            self._error = error
        finally:
            self._signal(opened=True, ended=True)
            if container is not None:
                container.close()

    def _drop_late(self, now: float) -> None:
        """Drop frames that wait and are late, but for the newest. A frame is due by its own time and the longest delay of the
        last second, so that the first of a burst is not late. What waits takes `_ROOM` at most, also of a source that is faster
        than its times."""
        longest = max((delay for _, delay in self._delays), default=0.0)
        while len(self._waiting) > 1 and (
            now - self._waiting[0].time_s - longest > self.lag or len(self._waiting) * self._waiting[0].frame.nbytes > _ROOM
        ):
            self._waiting.popleft()
            self.dropped += 1

    def _add(self, captured: CapturedFrame) -> None:
        """Let a frame wait, of a source that drops."""
        self._delays.append((captured.arrived, captured.arrived - captured.time_s))
        while captured.arrived - self._delays[0][0] > 1:
            self._delays.popleft()
        self._waiting.append(captured)
        self._drop_late(captured.arrived)

    def _signal(self, *, opened: bool = False, started: bool = False, ended: bool = False) -> None:
        with self._changed:
            self._opened |= opened
            self._started |= started
            self._ended |= ended
            self._changed.notify_all()

    def _decode(self, container: InputContainer, stream: VideoStream, piped: "_StandardInput | None") -> None:
        scaler = VideoReformatter()
        display, size, clock = None, None, _Clock(self.frame_rate)
        for number, image in enumerate(_images(container, stream, piped)):
            if display is None:
                display = read_display_matrix(image)
            frame = upright_rgb(image, display, scaler)
            size = size or frame.shape
            if frame.shape != size:
                sizes = " to ".join(f"{width}x{height}" for height, width, _ in (size, frame.shape))
                raise BadInput(f"{self.name} changed its frames from {sizes} pixels at frame {number}; start again")
            captured = CapturedFrame(frame, number, time.perf_counter(), clock.seconds(number, image.time))
            with self._changed:
                while self._waiting and not self.drop and not self._closed:
                    self._changed.wait(0.1)
                if self._closed:
                    break
                if self.drop:
                    self._add(captured)
                else:
                    self._waiting.append(captured)
                self._changed.notify_all()


class _Clock:
    """Frame times that never go back."""

    def __init__(self, frame_rate: float):
        self._frame_rate, self._shift, self._last = frame_rate, 0.0, -math.inf

    def seconds(self, number: int, stated: float | None) -> float:
        """Compute the time of the next frame, for which the source may or may not state a time."""
        now = (number / self._frame_rate if stated is None else float(stated)) + self._shift
        if now < self._last:
            self._shift += self._last + 1 / self._frame_rate - now
            now = self._last + 1 / self._frame_rate
        self._last = now
        return now


class _StandardInput:
    """Standard input, whose bytes are counted."""

    count = 0

    def read(self, size: int) -> bytes:
        data = os.read(0, size)
        self.count += len(data)
        return data


def _images(container: InputContainer, stream: VideoStream, piped: _StandardInput | None) -> Iterator[VideoFrame]:
    """Decode all frames. Raises BadInput after a last one that is damaged or, where frames are raw, not whole."""
    damaged, places = False, (0, 0)
    for packet in container.demux(stream):
        if packet.size:
            damaged, places = packet.is_corrupt, (places[1], packet.pos or 0)
        try:
            yield from packet.decode()  # pyright: ignore[reportReturnType]
        except av.error.EOFError:
            break
        except av.error.InvalidDataError:
            damaged = True  # a damaged frame of a live stream is passed over, as a lost one is
    if places[0] and stream.codec_context.name == "rawvideo":
        damaged |= (piped.count if piped else container.size) > 2 * places[1] - places[0]
    if damaged:
        raise BadInput("the video ended within a frame; check what sends it")


def is_live(source: str) -> bool:
    """Check whether `source` is a camera or an address, which do not wait.

    >>> is_live("0"), is_live("rtsp://robot/front"), is_live("-"), is_live("clip.mp4")
    (True, True, False, False)
    """
    return source.isdecimal() or ("://" in source and source.partition("://")[0] in _ADDRESSES)


def _open(source: str, piped: _StandardInput | None) -> InputContainer:
    options = {"format_whitelist": CONTAINERS, "max_pixels": str(MAX_PIXELS), **_PROBE}
    file: Any = source
    kind: str | None = None
    scheme = source.partition("://")[0]
    if piped is not None:
        file = piped
        options["protocol_whitelist"] = ""
    elif source.isdecimal():
        kind, file = _camera(int(source))
        options = {}  # a device, to which white lists of files do not apply
    elif "://" in source:
        if scheme not in _ADDRESSES:
            raise BadInput(f"{source} begins with {scheme}://; addresses may begin with {', '.join(_ADDRESSES)}")
        options["format_whitelist"] += ",rtsp,rtp,flv,live_flv,mpjpeg"
        options["protocol_whitelist"] = _ADDRESSES[scheme]
        if scheme.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
    else:
        file = os.path.abspath(source)
        options["protocol_whitelist"] = "file"
    try:
        timeout = (_PATIENCE, _PATIENCE) if is_live(source) else None
        container = av.open(file, mode="r", format=kind, options=options, metadata_errors="ignore", timeout=timeout)
        assert isinstance(container, InputContainer)
        return container
    except (av.error.FFmpegError, ValueError, OSError) as error:
        if source.isdecimal():
            raise BadInput(f"camera {source} cannot be opened ({_reason(error)}); give another number") from error
        what = "standard input" if source == "-" else source
        raise BadInput(f"{what} is not a video that can be read ({_reason(error)}); check the source") from error


def _camera(number: int) -> tuple[str, str]:
    """FFmpeg's name of the system's camera interface, and of camera `number` in it."""
    if sys.platform == "darwin":
        return "avfoundation", str(number)
    if sys.platform == "win32":
        raise BadInput("on Windows pipe the camera: ffmpeg -f dshow ... | tapetum track - --online")
    return "video4linux2", f"/dev/video{number}"


def _reason(error: BaseException) -> str:
    if isinstance(error, av.error.ExitError):  # how FFmpeg ends where its time is up
        return f"nothing came for {_PATIENCE} s"
    return " ".join(str(getattr(error, "strerror", None) or error).split())
