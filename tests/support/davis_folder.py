"""A small folder of DAVIS in the official layout, whose things move."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 48, 64


def frame(seed: int, k: int, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Give frame k of a video, and the numbers of its discs, which move apart; noise and a hole make it no easy case."""
    rng = np.random.default_rng((seed, k))
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    image, ids = rng.integers(20, 60, (*SIZE, 3)), np.zeros(SIZE, np.uint8)
    for number in range(1, objects + 1):
        x, y = 12 + 18 * (number - 1) + (2 + number) * k * 0.5, 14 + 6 * number + k * 0.7
        disc = (columns - x) ** 2 + (rows - y) ** 2 < (6 + number) ** 2
        image[disc], ids[disc] = (60 + 60 * number, 240 - 70 * number, 90), number
    return image.astype(np.uint8), ids


def write_davis(folder: Path, videos: dict[str, tuple[int, int]], year: str = "2017") -> Path:
    """Write videos by name of (frames, objects)."""
    (folder / f"ImageSets/{year}").mkdir(parents=True)
    (folder / f"ImageSets/{year}/val.txt").write_text("".join(f"{name}\n" for name in videos))
    for seed, (name, (frames, objects)) in enumerate(videos.items()):
        for kind in ("JPEGImages", "Annotations"):
            (folder / kind / "480p" / name).mkdir(parents=True)
        for k in range(frames):
            image, ids = frame(seed, k, objects)
            Image.fromarray(image).save(folder / f"JPEGImages/480p/{name}/{k:05d}.jpg", quality=95)
            write_ids(folder / f"Annotations/480p/{name}/{k:05d}.png", ids)
    return folder


def write_guesses(folder: Path, videos: dict[str, tuple[int, int]]) -> Path:
    """Write masks that are not quite right: moved, with noise; one object is missed in places."""
    for seed, (name, (frames, objects)) in enumerate(videos.items()):
        (folder / name).mkdir(parents=True)
        for k in range(frames):
            rng = np.random.default_rng((7, seed, k))
            ids = np.roll(frame(seed, k, objects)[1], int(rng.integers(-3, 4)), 1)
            ids[rng.random(SIZE) < 0.03] = 0
            if k % 4 == 3:
                ids[ids == objects] = 0
            write_ids(folder / name / f"{k:05d}.png", ids)
    return folder


def write_ids(path: Path, ids: np.ndarray) -> None:
    image = Image.frombytes("P", (ids.shape[1], ids.shape[0]), np.ascontiguousarray(ids).tobytes())
    image.putpalette([k % 256 for k in range(768)])
    image.save(path)
