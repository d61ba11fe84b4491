"""A video of the benchmark as models are shown it: decoded once, whatever is asked about it, and small enough to stay in
memory.

Frames are those of the annotations' count: where a file has more or fewer of them, as tens of the public ones have, frame k is
the one whose time is nearest to k / rate seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8

from tapetum.errors import BadInput
from tapetum.perception_test.types import Metadata, Video
from tapetum.video import open_video
from tapetum.video.cut import resized, size_of
from tapetum.video.sound import has_sound, read_sound

SIDE = 256
"""Pixels of the longer side at which models are shown a video, unless they are told otherwise."""
ENDINGS = (".mp4", ".webm", ".mkv", ".avi", ".mov")
SOUND_RATE = 16000
"""Samples of sound a second."""


@dataclass(frozen=True)
class Seen:
    """Pictures and sound of a video, read when they are first asked for."""

    metadata: Metadata
    path: Path | None = None
    """None where nothing is looked at."""
    sound_path: Path | None = None
    """A recording of its sound; by default it is taken of the video."""
    side: int = SIDE
    end: int | None = None
    """First frame that is not shown any more; None shows all."""
    _whole: "Seen | None" = field(default=None, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height at which it is shown; it is never enlarged."""
        height, width = self.metadata.size
        return size_of(min(self.side, max(width, height)), width, height)

    @property
    def count(self) -> int:
        """Number of frames that are shown."""
        return self.metadata.frames if self.end is None else self.end

    def until(self, end: int | None) -> "Seen":
        """Give the part before a frame, which shares what was read."""
        if end is None or end >= self.count:
            return self
        return replace(self, end=max(1, end), _whole=self._whole or self)

    @cached_property
    def frames(self) -> UInt8[np.ndarray, "t h w 3"]:
        """All frames, small. Raises BadInput for a video that is not there or cannot be read."""
        if self._whole is not None:
            return self._whole.frames[: self.count]
        with open_video(self._found(self.path)) as video:
            wanted = numbers_of(video.timestamps, self.metadata.frames, self.metadata.rate)
            width, height = self.size
            frames = np.empty((len(wanted), height, width, 3), np.uint8)
            places: dict[int, list[int]] = {}
            for place, number in enumerate(wanted.tolist()):
                places.setdefault(number, []).append(place)
            for number, frame in enumerate(video):
                if number in places:
                    frames[places.pop(number)] = resized(frame, width, height)
                if not places:
                    break
            if places:
                raise BadInput(f"{self.path} ends before its frame {min(places)}; get it again")
        return frames

    @cached_property
    def sound(self) -> Float32[np.ndarray, " n"]:
        """Samples -1..1 at `SOUND_RATE`; none of a video without sound."""
        if self._whole is not None:
            return self._whole.sound[: round(self.count / self.metadata.rate * SOUND_RATE)]
        path = self._found(self.sound_path or self.path)
        return read_sound(path, SOUND_RATE) if has_sound(path) else np.zeros(0, np.float32)

    def _found(self, path: Path | None) -> Path:
        if path is None:
            raise BadInput(f"this model looks at {self.metadata.video_id}; say with --videos where videos are")
        return path


class Predictor(Protocol):
    """What a model, or a rule, says about a video."""

    def predict(self, video: Video, seen: Seen, tasks: Sequence[str]) -> dict[str, Any]:
        """Give for each task what stands below the task's key in a file of predictions, as JSON values.

        Of `video` only what a test split tells may be looked at: starts of tracks, questions and options.
        """
        ...


def numbers_of(timestamps: Float64[np.ndarray, " n"], frames: int, rate: float) -> Int[np.ndarray, " t"]:
    """Give the number of the frame of a file that is nearest to each frame of the annotations.

    >>> numbers_of(np.arange(5) / 25, 5, 25.0).tolist(), numbers_of(np.arange(8) / 50, 4, 25.0).tolist()
    ([0, 1, 2, 3, 4], [0, 2, 4, 6])
    """
    if len(timestamps) == frames:
        return np.arange(frames)
    wanted = np.arange(frames) / rate + timestamps[0]
    after = np.clip(np.searchsorted(timestamps, wanted), 1, max(1, len(timestamps) - 1))
    later = timestamps[after % len(timestamps)] - wanted < wanted - timestamps[after - 1]
    return np.minimum(after - 1 + later, len(timestamps) - 1)


def find_videos(folder: Path, names: Sequence[str]) -> dict[str, tuple[Path, Path | None]]:
    """Find the file of each video, and of its sound: in the folder or its videos/, and audios/ within or beside it.

    Raises BadInput where one is missing.
    """
    places = [folder, folder / "videos"]
    sounds = [folder / "audios", folder.parent / "audios", folder]
    found: dict[str, tuple[Path, Path | None]] = {}
    for name in names:
        video = next((path for place in places for end in ENDINGS if (path := place / f"{name}{end}").is_file()), None)
        if video is None:
            raise BadInput(f"there is no {name}{ENDINGS[0]} in {folder} or its videos/; get the videos of these annotations")
        found[name] = video, next((path for place in sounds if (path := place / f"{name}.wav").is_file()), None)
    return found
