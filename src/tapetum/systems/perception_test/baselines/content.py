"""Images and sound of a video for models: decoded once, whatever the tasks, and small enough to stay in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.footage import footage_sound, open_footage
from tapetum.systems.perception_test.types import AnnotatedVideo, Metadata
from tapetum.video.types import parse_size, resize_frame

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
        """Count the frames that are shown."""
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


class Predictor(Protocol):
    """Predictions of a model, or a rule, for a video."""

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Predict for each task what stands below the task's key in a file of predictions, as JSON values.

        Of `video` only what a test split tells may be looked at: starts of tracks, questions and options.
        """
        ...
