"""Images and sound of a video of the Perception Test, in the frames of its annotations.

Tens of the public videos have more or fewer frames than their metadata say, by up to hundreds (issue 4 of the public code). Of
these, frame k of the annotations is the one that is shown at k / rate seconds, by the presentation times of the file; where a
file has as many frames as it should, frame k is its k-th. Nothing is decoded before it is asked for.

Models are shown `VideoContent`: decoded once, whatever the tasks, and small enough to stay in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8

from tapetum.core.errors import BadInput
from tapetum.data.video_language import video_file
from tapetum.systems.perception_test.types import Metadata
from tapetum.video import Video, open_video
from tapetum.video.sound import has_sound, read_sound
from tapetum.video.types import Frame, VideoSubset, parse_size, resize_frame


def frame_numbers(timestamps: Float64[np.ndarray, " n"], frames: int, frame_rate: float) -> Int[np.ndarray, " t"]:
    """Compute the number of the frame of a file that is shown at each frame of the annotations.

    >>> frame_numbers(np.arange(5) / 25, 5, 25.0).tolist(), frame_numbers(np.arange(8) / 50, 4, 25.0).tolist()
    ([0, 1, 2, 3, 4], [0, 2, 4, 6])
    """
    if len(timestamps) == frames:
        return np.arange(frames)
    shown = np.floor((timestamps - timestamps[0]) * frame_rate + 0.5 + 1e-6)
    return np.clip(np.searchsorted(shown, np.arange(frames), "right") - 1, 0, len(timestamps) - 1)


class AlignedVideo(VideoSubset):
    """A video whose frames are those of its annotations, until one that is cut off."""

    def __init__(self, video: Video, metadata: Metadata, cut: int | None = None):
        """`cut`: the first frame that is not shown. Raises BadInput for a cut that leaves none."""
        if len(video) != metadata.frames:
            video.check()
        count = metadata.frames if cut is None else min(cut, metadata.frames)
        if count < 1:
            raise BadInput(f"{metadata.video_id} is cut at its frame {cut}; wanted 1 or more")
        numbers = frame_numbers(video.timestamps, metadata.frames, metadata.frame_rate)
        super().__init__(video, numbers[:count].tolist())
        self.metadata = metadata

    @property
    def frame_rate(self) -> float:
        return self.metadata.frame_rate

    @property
    def timestamps(self) -> Float64[np.ndarray, " t"]:
        return np.arange(len(self)) / self.metadata.frame_rate

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        numbers = self.numbers[list(indices)].tolist()
        last, frame = -1, None
        frames = self._whole._read(list(dict.fromkeys(numbers)))
        for number in numbers:
            frame = next(frames) if number != last or frame is None else frame.copy()
            last = number
            yield frame


def open_footage(path: str | Path, metadata: Metadata, cut: int | None = None) -> AlignedVideo:
    """Open a video in the frames of its annotations; `cut` is the first frame that is not shown. Raises as `open_video`."""
    return AlignedVideo(open_video(path), metadata, cut)


def footage_sound(
    path: Path, recording: Path | None, metadata: Metadata, sample_rate: int, cut: int | None = None
) -> Float32[np.ndarray, " n"]:
    """Read the sound of a video, samples -1..1 at `sample_rate` a second, of its recording or else of itself, until it is cut.

    None of a video that has none. Raises BadInput as `read_sound`.
    """
    if recording is None and not has_sound(path):
        return np.zeros(0, np.float32)
    seconds = None if cut is None or cut >= metadata.frames else cut / metadata.frame_rate
    return read_sound(recording or path, sample_rate, seconds=seconds)


def find_videos(folder: Path, names: Sequence[str]) -> dict[str, tuple[Path, Path | None]]:
    """Find the file of each video, and of its sound: in the folder or its videos/, and audios/ within or beside it.

    Raises BadInput where one is missing.
    """
    places = [folder, folder / "videos"]
    sounds = [folder / "audios", folder.parent / "audios", folder]
    files: dict[str, tuple[Path, Path | None]] = {}
    for name in names:
        if "/" in name or name.startswith("."):
            raise BadInput(f"a video is called {name!r} in the annotations, which is no name of a file; rename it [escape]")
        video = next((path for place in places if (path := video_file(place, name)).is_file()), None)
        if video is None:
            raise BadInput(f"there is no {name}.mp4 in {folder} or its videos/; get the videos of these annotations")
        files[name] = video, next((path for place in sounds if (path := place / f"{name}.wav").is_file()), None)
    return files


SIDE = 256
"""Pixels of the longer side at which models are shown a video, unless they are told otherwise."""
SOUND_RATE = 16000
"""Samples of sound a second."""


@dataclass(frozen=True)
class VideoContent:
    """Images and sound of a video, read when they are first asked for."""

    metadata: Metadata
    path: Path | None = None
    """None where nothing is looked at."""
    sound_path: Path | None = None
    """A recording of its sound; by default it is taken of the video."""
    side: int = SIDE
    end: int | None = None
    """First frame that is not shown any more; None shows all."""
    _whole: "VideoContent | None" = field(default=None, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Compute width and height at which it is shown; it is never enlarged."""
        height, width = self.metadata.size
        return parse_size(min(self.side, max(width, height)), width, height)

    @property
    def count(self) -> int:
        return self.metadata.frames if self.end is None else self.end

    def until(self, end: int | None) -> "VideoContent":
        """Cut the part before a frame, which shares what was read."""
        if end is None or end >= self.count:
            return self
        return replace(self, end=max(1, end), _whole=self._whole or self)

    @cached_property
    def frames(self) -> UInt8[np.ndarray, "t h w 3"]:
        """Decode all frames, made small. Raises BadInput for a video that is not there or cannot be read."""
        if self._whole is not None:
            return self._whole.frames[: self.count]
        width, height = self.size
        with open_footage(self._require(self.path), self.metadata) as video:
            frames = np.empty((len(video), height, width, 3), np.uint8)
            for number, frame in enumerate(video):
                frames[number] = resize_frame(frame, width, height)
        return frames

    @cached_property
    def sound(self) -> Float32[np.ndarray, " n"]:
        """Read the samples -1..1 at `SOUND_RATE`; none of a video without sound."""
        if self._whole is not None:
            return self._whole.sound[: round(self.count / self.metadata.frame_rate * SOUND_RATE)]
        return footage_sound(self._require(self.path or self.sound_path), self.sound_path, self.metadata, SOUND_RATE)

    def _require(self, path: Path | None) -> Path:
        if path is None:
            raise BadInput(f"this model looks at {self.metadata.video_id}; say with --videos where videos are")
        return path
