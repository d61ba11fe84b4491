"""What may be asked of `tapetum.track_live`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tapetum.app.live_frame import LiveFrame
from tapetum.app.track import TrackSettings
from tapetum.app.verb import File
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

Viewer = Callable[["np.ndarray"], bool]
"""Takes a painted frame; False once nobody looks any more."""


@dataclass(frozen=True, kw_only=True)
class TrackLiveOptions(TrackSettings):
    """What may be asked of `track_live`."""

    source: str = field(kw_only=False)
    """Number of a camera, an address such as rtsp://..., - for standard input, or a file."""
    out: File | None = None
    """Folder for overlay.mp4, tracks.npz and tracks.csv; None writes nothing."""
    viewer: Viewer | None = None
    """Is given each painted frame, uint8 (h, w, 3), and ends the run by giving False."""
    each: Callable[[LiveFrame], None] | None = None
    """Is given the points of each frame as soon as they are known, before anything is painted."""

    def check(self) -> None:
        """Raise `BadInput` for options that do not fit together, or need the whole video."""
        super().check()
        if self.correct:
            raise BadInput("--correct needs the whole video; leave --online out")
        if self.three_d:
            raise BadInput("--3d needs the whole video; leave --online out")
        if self.view != "tracks":
            raise BadInput(f"--view {self.view} needs the whole video; without it, or with tapetum show afterwards")
        if self.cuts:
            raise BadInput("--start, --end and --stride need the whole video; leave --online out")
        if self.fps is not None:
            raise BadInput("--fps needs the whole video; leave --online out, or draw again with tapetum show --fps")
