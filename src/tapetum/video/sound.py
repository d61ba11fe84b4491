"""Reading of sound: samples of a recording, or of the sound of a video, at a rate of one's choice."""

import io
import os
from pathlib import Path

import av
import av.error
import av.stream
import numpy as np
from jaxtyping import Float32

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.video.decode import SAFE_OPTIONS


def read_sound(
    source: str | os.PathLike[str] | bytes,
    rate: int,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    name: str | None = None,
) -> Float32[np.ndarray, " n"]:
    """Read samples -1..1 at `rate` per second, channels averaged, from `start` seconds on, `seconds` of them or to the end.

    `source` is a file or its bytes, which are then called `name` in errors. What lies beyond the end is not there: fewer
    samples come back, or none. Raises BadInput: not there, nothing that can be decoded, or a video without sound.
    """
    what = name or ("the recording" if isinstance(source, bytes) else str(source))
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise BadInput(f"there is no file {source}; give a recording or a video with sound")
    if rate < 1 or start < 0 or (seconds is not None and seconds <= 0):
        raise BadInput(f"rate {rate}, start {start}, seconds {seconds}: rate and seconds must be above 0, start 0 or more")
    stop = None if seconds is None else round((start + seconds) * rate)
    parts, have = [], 0
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else os.path.abspath(source)
        with av.open(file, mode="r", options=SAFE_OPTIONS, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise BadInput(f"{what} has no sound; give a recording or a video with sound")
            resampler = av.AudioResampler(format="fltp", rate=rate)
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
    return np.nan_to_num(samples[round(start * rate) : stop].astype(np.float32, copy=False), posinf=0, neginf=0)


def has_sound(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file has a stream of sound; False for what cannot be opened."""
    try:
        with av.open(no_pipe(os.path.abspath(path)), mode="r", options=SAFE_OPTIONS, metadata_errors="ignore") as container:
            return bool(container.streams.audio)
    except (av.error.FFmpegError, ValueError, OSError):
        return False


def only_sound(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a recording: it has sound and no moving image, though perhaps the image of a cover."""
    try:
        with av.open(no_pipe(os.path.abspath(path)), mode="r", options=SAFE_OPTIONS, metadata_errors="ignore") as container:
            moving = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            return bool(container.streams.audio) and not moving
    except (av.error.FFmpegError, ValueError, OSError):
        return False
