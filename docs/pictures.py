"""Makes the pictures of the docs: docs/scenes.jpg, and docs/demo.jpg from the overlay that `make demo` wrote."""

from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.scenes import make_clip
from tapetum.video import open_video

HERE = Path(__file__).parent


def strip(frames, width):
    """Frames side by side, `width` pixels wide."""
    row = Image.fromarray(np.concatenate(list(frames), axis=1))
    return np.asarray(row.resize((width, round(row.height * width / row.width)), Image.Resampling.LANCZOS))


def save(rows, name):
    Image.fromarray(np.concatenate(rows)).save(HERE / name, quality=85)


def main():
    save([strip(make_clip(seed).video[[0, 6, 12, 17, 23]], 960) for seed in (0, 3, 5, 11)], "scenes.jpg")
    overlay = Path("demo-out/tracks/overlay.mp4")
    if overlay.exists():
        with open_video(overlay) as video:
            picks = (22, 50)  # while the man passes, and after
            save([strip([video[int(i)] for i in picks], 1280)], "demo.jpg")


if __name__ == "__main__":
    main()
