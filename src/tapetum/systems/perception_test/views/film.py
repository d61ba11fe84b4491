"""Encoding of a video as one data URI that browsers play: as it is where they can, else coded anew, smaller, with its sound."""

import base64
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import av.error
import numpy as np

from tapetum.core.reading import no_pipe, read_bytes
from tapetum.systems.perception_test.footage import footage_sound, open_footage
from tapetum.systems.perception_test.types import Metadata
from tapetum.video import write_video
from tapetum.video.decode import SAFE_OPTIONS
from tapetum.video.sound import SoundTrack, has_sound
from tapetum.video.types import resize_frame

MOST_BYTES = 24 << 20
"""Of a file that is put in as it is."""
HEIGHT = 480
"""Pixels at most of what is coded anew."""
_SOUND_RATE = 44100
_PLAYED = {".mp4": ("h264",), ".webm": ("vp8", "vp9")}
_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}


def film_uri(
    path: Path,
    recording: Path | None,
    metadata: Metadata,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    most_bytes: int = MOST_BYTES,
) -> str:
    """Encode a video with its sound as a data URI. Raises BadInput for one that cannot be read."""
    if _plays(path, recording, most_bytes):
        return _uri(read_bytes(path), _TYPES[path.suffix.lower()])
    with tempfile.TemporaryDirectory() as folder, open_footage(path, metadata) as video:
        width, height = video.width, video.height
        if height > HEIGHT:
            width, height = max(round(width * HEIGHT / height), 8), HEIGHT

        def frames() -> Iterator[np.ndarray]:
            for number, frame in enumerate(video):
                yield resize_frame(frame, width, height)
                progress(number + 1, len(video))

        sound = footage_sound(path, recording, metadata, _SOUND_RATE)
        track = SoundTrack(_pieces(sound), _SOUND_RATE) if len(sound) else None
        made = write_video(Path(folder) / "film.mp4", frames(), metadata.frame_rate, sound=track)
        return _uri(read_bytes(made), "video/mp4")


def _plays(path: Path, recording: Path | None, most_bytes: int) -> bool:
    """Check whether browsers play a file as it is, and it is small enough and has its sound."""
    codecs = _PLAYED.get(path.suffix.lower())
    if codecs is None or path.stat().st_size > most_bytes or (recording is not None and not has_sound(path)):
        return False
    try:
        with av.open(no_pipe(os.path.abspath(path)), mode="r", options=SAFE_OPTIONS, metadata_errors="ignore") as container:
            coded = container.streams.video[0].codec_context
            return coded.name.split("-")[0] in codecs and coded.pix_fmt in ("yuv420p", "yuvj420p")
    except (av.error.FFmpegError, ValueError, OSError, IndexError):
        return False


def _pieces(sound: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(sound), _SOUND_RATE):
        yield sound[start : start + _SOUND_RATE]


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
