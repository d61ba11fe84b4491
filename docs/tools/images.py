"""Makes the images of the docs: scenes.jpg, and demo.jpg from the overlay that `make demo` wrote.

python docs/tools/images.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.tracks.facets import make_clip
from tapetum.video import open_video

IMAGES = Path(__file__).parents[1] / "images"


def strip(frames, width):
    """Frames side by side, `width` pixels wide."""
    row = Image.fromarray(np.concatenate(list(frames), axis=1))
    return np.asarray(row.resize((width, round(row.height * width / row.width)), Image.Resampling.LANCZOS))


def main(folder=IMAGES):
    scenes = [strip(make_clip(seed).video[[0, 6, 12, 17, 23]], 960) for seed in (0, 3, 5, 11)]
    Image.fromarray(np.concatenate(scenes)).save(folder / "scenes.jpg", quality=85)
    overlay = Path("demo-out/tracks/overlay.mp4")
    if overlay.exists():
        with open_video(overlay) as video:
            picks = (22, 50)  # while the man passes, and after
            Image.fromarray(strip([video[i] for i in picks], 1280)).save(folder / "demo.jpg", quality=85)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
