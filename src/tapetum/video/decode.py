"""Decoding with PyAV: opening a file safely, listing its packets, decoding its frames and converting them to upright RGB.

Safety. FFmpeg will follow a text file that names other files or addresses (concat, HLS, DASH, SDP, ...). Every open
here restricts the demuxers to containers that hold their own data, and the protocols to `file`; the path is made
absolute so that it cannot be read as a protocol.

Key frames. Containers mark two kinds of H.264 packets as such: images coded on their own, and the beginning of an intra
refresh, where a band of intra blocks moves across several predicted images. Decoding from the second kind gives frames that
are slightly wrong, so decoding begins at IDR pictures alone (`begins_clean`; ITU-T H.264, section 7.3.1 and annex B).
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.video.arrays import as_rgb
from tapetum.video.types import MAX_PIXELS, Frame, refuse_huge, usable_rate

IDENTITY = (1, 0, 0, 1)
"""Display matrix of a frame that is upright."""

_KNOWN_MATRICES = frozenset((0, 1, 2, 4, 5, 6, 7, 9))
"""Values of AVColorSpace that the scaler can convert."""
_ACCURATE = 0x40000
"""Flag of the scaler: no short cuts in rounding (SWS_ACCURATE_RND), worth its time above 8 bits."""
_BT2020_CONSTANT, _BT2020, _UNSPECIFIED = 10, 9, 2


def upright_rgb(frame: VideoFrame, display: tuple[int, int, int, int], scaler: VideoReformatter) -> Frame:
    """Convert a frame to uint8 (h, w, 3), rotated by `display`.

    The frame's own tags give the matrix and range of its YUV, by default BT.601, limited range, as in FFmpeg. Transfer curves
    and primaries are ignored (no HDR tone mapping). Alpha is composited on black. `scaler` serves one thread at a time.
    """
    if frame.colorspace not in _KNOWN_MATRICES:
        frame.colorspace = _BT2020 if frame.colorspace == _BT2020_CONSTANT else _UNSPECIFIED
    if frame.color_range > 2:
        frame.color_range = 0
    components = frame.format.components
    deep = max(component.bits for component in components) > 8
    flags = Interpolation.BILINEAR | (_ACCURATE if deep else 0)
    clear = frame.format.has_palette or any(component.is_alpha for component in components)
    rgb = scaler.reformat(frame, format="rgba" if clear else "rgb24", interpolation=flags, threads=1)
    pixels = as_rgb(rgb.to_ndarray()) if clear or rgb is frame else rgb.to_ndarray()  # the decoder keeps its own frame
    return np.ascontiguousarray(apply_display_matrix(pixels, display))


def read_display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Read the signs (a, b, c, d) of the frame's display matrix, rounded to the nearest quarter turn or mirror image.

    The matrix sends a pixel (x, y) to (a x + c y, b x + d y), x to the right and y down.
    """
    with suppress(KeyError):
        matrix = bytes(frame.side_data["DISPLAYMATRIX"])  # pyright: ignore[reportGeneralTypeIssues]
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(np.int64)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return int(a >= 0) * 2 - 1, 0, 0, int(d >= 0) * 2 - 1
        return 0, int(b >= 0) * 2 - 1, int(c >= 0) * 2 - 1, 0
    return IDENTITY


def apply_display_matrix(pixels: np.ndarray, display: tuple[int, int, int, int]) -> np.ndarray:
    """Rotate and mirror pixels (h, w, ...) by a display matrix."""
    a, b, c, d = display
    if a == 0:
        pixels = pixels.swapaxes(0, 1)
        a, d = c, b
    return pixels[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]


CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,gif,apng,mpegts,mpeg,mpegvideo,m4v,h263,h264,hevc,vvc,av1,obu,"
    "ivf,ogg,mjpeg,mjpeg_2000,mxf,nut,dv,vc1,dirac,yuv4mpegpipe,rm,wtv,aac,ac3,aiff,amr,flac,mp3,wav,"
    "png_pipe,jpeg_pipe,bmp_pipe,tiff_pipe,webp_pipe,ppm_pipe,pgm_pipe,qoi_pipe"
)
"""Demuxers that may be used; those of sound for `read_sound`, and so that a message can say that there is no image."""

SAFE_OPTIONS = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
"""With which every file is opened."""

_PATIENCE = 16
"""Errors in a row after which a damaged file is taken to have ended."""

_MATROSKA_TICK = 0.001
"""Seconds to which Matroska rounds its times."""
_IDR = 5
"""Type of the NAL units of an image that no later one looks behind."""


@dataclass(frozen=True)
class Packets:
    """Information about frames from the packets of a file, without decoding."""

    pts: np.ndarray
    """int64 (t,): presentation times of the frames to be shown, in units of `time_base`, rising."""
    promised: int
    """Frames announced by the container, or else by the packets."""
    order: dict[int, int]
    """Place of a packet in the file, by its presentation time."""
    keys: np.ndarray
    """int64 (k, 3): presentation time, decoding time and place of every packet where decoding may begin."""
    timed: bool
    """Whether every packet has a presentation time of its own."""
    trusted: bool
    """Whether the times also agree with the codec's reordering, and no packet is known to be damaged."""


class FileDecoder:
    """One open file, decoded forward from its beginning or from a key frame."""

    def __init__(self, path: Path):
        self.path = path
        self.errors = 0
        self.place = -1
        self.unneeded_before: int | None = None
        """Presentation time before which no frame is needed but as a reference for others; None: all are."""
        self.process = os.getpid()
        try:
            self.container: InputContainer = av.open(
                no_pipe(os.path.abspath(path)), mode="r", options=SAFE_OPTIONS, metadata_errors="ignore"
            )
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            raise BadInput(
                f"{path} is not a video that can be read ({reason}); give an mp4, mkv, webm, avi, mov or gif file"
            ) from error
        try:
            self.stream = self._choose()
        except BadInput:
            self.container.close()
            raise

    def _choose(self) -> VideoStream:
        """The main image stream, configured."""
        streams = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            content = "only sound" if self.container.streams.audio else "no video stream"
            raise BadInput(f"{self.path} holds {content}; give a file with moving images")
        best = self.container.streams.best("video")
        stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        context = stream.codec_context
        if context is None:
            raise BadInput(f"{self.path} is coded in a way that this build of FFmpeg cannot decode; re-encode it to h264")
        refuse_huge(self.path, context.width, context.height)
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_count = 1
        return stream

    def close(self) -> None:
        self.container.close()

    @property
    def time_base(self) -> Fraction:
        return self.stream.time_base or Fraction(1, 1000)

    def packets(self) -> Iterator[Packet]:
        """Yield non-empty packets in file order, from the current position; a broken stretch is skipped."""
        failures = 0
        while failures < _PATIENCE:
            try:
                for packet in self.container.demux(self.stream):
                    if packet.size:
                        failures = 0
                        yield packet
                return
            except (av.error.FFmpegError, IndexError):  # IndexError: PyAV, where damage made a new stream appear
                failures += 1

    def frames(self, packets: Iterator[Packet]) -> Iterator[VideoFrame]:
        """Yield decoded frames in presentation order; undecodable ones are skipped and counted in `errors`."""
        for packet in packets:
            self.place += 1
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        context = self.stream.codec_context
        if self.unneeded_before is not None and packet is not None:
            unneeded = packet.pts is not None and packet.pts < self.unneeded_before
            context.skip_frame = "NONREF" if unneeded else "DEFAULT"
        try:
            return context.decode(packet)  # pyright: ignore[reportReturnType]
        except av.error.EOFError:
            return []
        except (av.error.FFmpegError, ValueError, MemoryError):
            self.errors += 1
            return []

    def from_key(self, key: np.ndarray, order: dict[int, int]) -> Iterator[VideoFrame] | None:
        """Decode from the packet of `key` on; None if the container cannot seek there. Demuxers often seek before the key
        frame: packets up to it are dropped."""
        pts, dts, place = key.tolist()
        try:
            self.container.seek(min(pts, dts), stream=self.stream, backward=True)
        except av.error.FFmpegError:
            return None
        packets = self.packets()
        for packet in packets:
            position = order.get(packet.pts) if packet.pts is not None else None
            if position is None or position > place:
                return None
            if position == place:
                self.place = place - 1
                return self.frames(chain([packet], packets))
        return None

    def scan(self) -> Packets:
        """List all packets, from the beginning of the file. Reads the file, decodes nothing."""
        pts: list[int] = []
        keys: list[tuple[int, int, int]] = []
        order: dict[int, int] = {}
        last_dts, timed, whole = -1, True, True
        codec, extradata = self.stream.codec_context.name, self.stream.codec_context.extradata
        for place, packet in enumerate(self.packets()):
            if packet.pts is None:
                timed = False
                pts.append(place)
                continue
            timed = timed and packet.pts not in order
            last_dts = packet.pts if packet.dts is None else packet.dts
            whole = whole and not packet.is_corrupt
            order[packet.pts] = place
            # VP8 has packets that are only a reference for others: bit 4 of the first byte is clear (RFC 6386, section 9.1)
            if not packet.is_discard and (codec != "vp8" or bytes(packet)[0] >> 4 & 1):
                pts.append(packet.pts)
            if packet.is_keyframe and (codec != "h264" or begins_clean(bytes(packet), extradata)):
                keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts, place))
        reordered = any(a > b for a, b in pairwise(pts))
        trusted = timed and whole and bool(pts) and (reordered or not self.stream.codec_context.has_b_frames)
        if self.container.format.name.startswith("mov"):  # edit lists are taken into account
            announced = sum(not entry.is_discard for entry in self.stream.index_entries)
        else:
            announced = 0 if codec == "vp8" else self.stream.frames
        return Packets(
            pts=np.array(sorted(pts), np.int64),
            promised=max(len(pts), announced, len(pts) + self._cut_off(pts, last_dts) if timed else 0),
            order=order,
            keys=np.array(keys, np.int64).reshape(-1, 3),
            timed=timed,
            trusted=trusted,
        )

    def _cut_off(self, pts: list[int], last_dts: int) -> int:
        """Frames missing at the end of Matroska and WebM, which do not count them: from the gap to the stated duration.

        Only if the others are evenly spaced: the last frame of a variable-rate video may well last long. Frames shown after
        the last packet is decoded (at `last_dts`) need not be even: others between them were still to come.
        """
        frame_rate = usable_rate(self.stream.average_rate)
        if not self.container.format.name.startswith("matroska") or frame_rate is None or not pts:
            return 0
        times = np.sort(pts)
        gaps = np.diff(times * float(self.time_base), append=self._duration()) * frame_rate - 1
        open_end = np.append(times[1:] > last_dts, True)
        wide = np.abs(gaps) > 2 * _MATROSKA_TICK * frame_rate
        if np.any(wide & ~open_end):
            return 0
        return int(np.rint(gaps[wide & (gaps > 0)]).sum())

    def _duration(self) -> float:
        """Seconds from 0 to the end of the last frame, as Matroska states them; 0 if it does not."""
        stated = next((text for name, text in self.stream.metadata.items() if name.startswith("DURATION")), "")
        if match := re.fullmatch(r"(\d{1,9}):(\d{1,2}):(\d{1,2}(?:\.\d*)?)", stated):
            return 3600 * float(match[1]) + 60 * float(match[2]) + float(match[3])
        alone = len(self.container.streams) == 1
        return (self.container.duration or 0) / av.time_base if alone else 0


@dataclass
class Cursor:
    """A decoder on its way through the file."""

    decoder: FileDecoder
    frames: Iterator[VideoFrame]
    counted: int | None = 0
    """Frames that have come out since the beginning of the file; None once that is not known."""
    shown: int | None = None
    """Presentation time of the last frame."""

    def until(self, pts: int) -> VideoFrame | None:
        """Decode up to the frame at time `pts`; None if it does not come out.

        Earlier frames that no others refer to, commonly half of those of H.264, are skipped undecoded.
        """
        self.counted = None
        self.decoder.unneeded_before = pts
        for frame in self.frames:
            if frame.pts is None:
                continue
            self.shown = frame.pts
            if frame.pts >= pts:
                return frame if frame.pts == pts else None
        return None

    def count_to(self, index: int) -> VideoFrame | None:
        """Decode up to the frame that comes out as number `index`."""
        for frame in self.frames:
            self.counted = (self.counted or 0) + 1
            if self.counted > index:
                return frame
        return None


def begins_clean(packet: bytes, extradata: bytes | None) -> bool:
    """Check whether a packet of H.264 holds an IDR picture.

    Args:
        packet: one access unit, with start codes or, if `extradata` is an avcC box, with a length before each unit.

    >>> begins_clean(bytes([0, 0, 1, 0x65, 0x88]), None), begins_clean(bytes([0, 0, 1, 0x41, 0x9A]), None)
    (True, False)
    """
    if not extradata or len(extradata) < 5 or extradata[0] != 1:
        return any(unit[0] & 31 == _IDR for unit in packet.split(b"\0\0\1")[1:] if unit)
    size, place = (extradata[4] & 3) + 1, 0
    while place + size < len(packet):
        if packet[place + size] & 31 == _IDR:
            return True
        place += size + int.from_bytes(packet[place : place + size], "big")
    return False
