"""Sound: reading samples of a recording or of a video's sound track; writing sound tracks and wav files piece by piece."""

import io
import os
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
import av.stream
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from jaxtyping import Float32

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe
from tapetum.video.decode import SAFE_OPTIONS


def read_sound(
    source: str | os.PathLike[str] | bytes, sample_rate: int, *, seconds: float | None = None, name: str | None = None
) -> Float32[np.ndarray, " n"]:
    """Read samples -1..1 at `sample_rate` per second, channels averaged, of the first `seconds` or of all.

    `source` is a file or its bytes, which errors then call `name`. Beyond the end there is no padding: fewer
    samples are returned, or none. Raises BadInput if it does not exist, cannot be decoded, or is a video without sound.
    """
    what = name or ("the recording" if isinstance(source, bytes) else str(source))
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise BadInput(f"there is no file {source}; give a recording or a video with sound")
    if sample_rate < 1 or (seconds is not None and seconds <= 0):
        raise BadInput(f"rate {sample_rate}, seconds {seconds}: give rate and seconds above 0")
    stop = None if seconds is None else round(seconds * sample_rate)
    parts, have = [], 0
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else os.path.abspath(source)
        with av.open(file, mode="r", options=SAFE_OPTIONS, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise BadInput(f"{what} has no sound; give a recording or a video with sound")
            resampler = av.AudioResampler(format="fltp", rate=sample_rate)
            for frame in container.decode(container.streams.audio[0]):
                for piece in resampler.resample(frame):
                    parts.append(piece.to_ndarray().mean(0))
                    have += len(parts[-1])
                if stop is not None and have >= stop:
                    break
            else:
                parts += [piece.to_ndarray().mean(0) for piece in resampler.resample(None)]
    except (av.error.FFmpegError, ValueError) as error:
        raise BadInput(f"{what} cannot be decoded as sound ({' '.join(str(error).split())[:100]}); get it again") from error
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return np.nan_to_num(samples[:stop].astype(np.float32, copy=False), posinf=0, neginf=0)


def has_sound(path: str | os.PathLike[str]) -> bool:
    """Check whether a file has a sound stream; False if it cannot be opened."""
    return _has_streams(path)[0]


def only_sound(path: str | os.PathLike[str]) -> bool:
    """Check whether a file is a recording: it has sound and no moving image, though perhaps a cover image."""
    sound, moving = _has_streams(path)
    return sound and not moving


def _has_streams(path: str | os.PathLike[str]) -> tuple[bool, bool]:
    """Whether there is sound, and whether there are moving images."""
    try:
        with av.open(no_pipe(os.path.abspath(path)), mode="r", options=SAFE_OPTIONS, metadata_errors="ignore") as container:
            moving = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            return bool(container.streams.audio), bool(moving)
    except (av.error.FFmpegError, ValueError, OSError):
        return False, False


class SoundTrack:
    """Sound for `write_video`, of one channel: consecutive pieces of samples -1..1, each (t,), and their rate. Pieces are taken
    and encoded as AAC when frames of their time are written; an exhausted iterator is asked again at the next frame."""

    def __init__(self, pieces: Iterable[np.ndarray], sample_rate: int):
        self.sample_rate = sample_rate
        self._pieces: Iterator[np.ndarray] = iter(pieces)
        self._samples = 0
        self._container: Any = None
        self._stream: AudioStream

    def begin(self, container: Any) -> None:
        """Add the stream to a PyAV container that is open for writing."""
        stream = container.add_stream("aac", rate=self.sample_rate, layout="mono")
        assert isinstance(stream, AudioStream)
        self._container, self._stream = container, stream

    def encode(self, until_s: float) -> None:
        """Encode pieces up to `until_s` seconds, or until there are no more."""
        while self._samples < until_s * self.sample_rate:
            piece = next(self._pieces, None)
            if piece is None:
                return
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(_checked(piece)[None], np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = self.sample_rate, self._samples
            self._samples += len(piece)
            if len(piece):
                self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Encode the rest and finish the stream."""
        self.encode(float("inf"))
        self._container.mux(self._stream.encode(None))


class WavWriter:
    """Receives the samples of a wav file of one channel, piece by piece."""

    def __init__(self, file: wave.Wave_write):
        self._file = file
        self.samples = 0
        """Written so far."""

    def write(self, piece: np.ndarray) -> None:
        """Add samples -1..1, (t,)."""
        self._file.writeframesraw(np.round(np.clip(_checked(piece), -1, 1) * 32767).astype("<i2").tobytes())
        self.samples += len(piece)


@contextmanager
def wav_file(path: str | Path, sample_rate: int) -> Iterator[WavWriter]:
    """Write a wav of 16 bits, whole or not at all; raise BadInput if it cannot be written."""
    with whole_file(path) as temporary, open(temporary, "wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        yield WavWriter(file)


def _checked(piece: np.ndarray) -> np.ndarray:
    if piece.ndim != 1:
        raise BadInput(f"a piece of sound has shape {piece.shape}; wanted (samples,)")
    return piece
