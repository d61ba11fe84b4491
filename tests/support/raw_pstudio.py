"""A folder of data.zip of Dynamic 3D Gaussians: images of three cameras; and downloaded annotations of them."""

from pathlib import Path

import numpy as np
from PIL import Image

CAMERAS = "1", "5", "12"
HEIGHT, WIDTH = 144, 256


def write_studio(raw: Path, frames: int, sequence: str = "juggle") -> dict[str, list[bytes]]:
    """Write the images; returned by camera."""
    rng, images = np.random.default_rng(0), {}
    for camera in CAMERAS:
        folder = raw / "data" / sequence / "ims" / camera
        folder.mkdir(parents=True)
        for t in range(frames):
            Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(folder / f"{t:06d}.jpg", quality=60)
        images[camera] = [file.read_bytes() for file in sorted(folder.iterdir())]
    return images


def write_annotation(folder: Path, name: str, frames: int) -> Path:
    """Write an annotation as it is downloaded, without images; its five points stand still."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, focal = np.random.default_rng(0), 190.0
    tracks = np.repeat(np.column_stack([rng.uniform(-0.5, 0.5, (5, 2)), rng.uniform(2, 3, 5)])[None], frames, 0)
    places = tracks[0, :, :2] / tracks[0, :, 2:] * focal + (128, 72)
    np.savez(
        folder / f"{name}.npz",
        tracks_XYZ=tracks,
        visibility=np.ones((frames, 5), bool),
        queries_xyt=np.column_stack([places, np.zeros(5)]),
        fx_fy_cx_cy=np.array([focal, focal, 128, 72]),
    )
    return folder / f"{name}.npz"
