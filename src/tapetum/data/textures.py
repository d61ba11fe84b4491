"""Images to paint surfaces with: procedural ones, or any folder or parquet file of photographs; outlines to cut them by.

A source is a function of a numpy generator that returns a uint8 image (h, w, 3); the same generator state gives the same
image.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.core.tables import parquet_file, pyarrow_for
from tapetum.video.images import IMAGES, image_rgb, know_heic

RGB = UInt8[np.ndarray, "h w 3"]
Textures = Callable[[np.random.Generator], RGB]


def smooth_noise(
    rng: np.random.Generator, size: int, cells: int, channels: int = 1
) -> Float32[np.ndarray, "size size channels"]:
    """Draw a smooth random field (size, size, channels) with mean 0, features about size / cells pixels wide."""
    coarse = rng.standard_normal((channels, cells + 3, cells + 3)).astype(np.float32)
    planes = [np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in coarse]
    return np.stack(planes, axis=-1)


def procedural(rng: np.random.Generator, size: int = 320) -> RGB:
    """Draw one made-up image: octaves of noise under a colour map, overlaid with stripes, checks or dots."""
    falloff = rng.uniform(0.45, 0.85)
    octaves = [2, 5, 11, 23, 47, 95]
    height = sum(falloff**i * smooth_noise(rng, size, c, 3) for i, c in enumerate(octaves))
    mix = 0.3 * rng.uniform(-1, 1, (3, 3)) + np.array([[1.0, 1.0, 1.0], [0, 0, 0], [0, 0, 0]])  # mostly light and dark
    image = np.asarray(height) @ mix * rng.uniform(25, 60) + rng.uniform(60, 195) + rng.uniform(-45, 45, 3)
    y, x = np.mgrid[:size, :size] / size
    for _ in range(rng.integers(0, 3)):
        angle, step, phase = rng.uniform(0, np.pi), rng.uniform(6, 30), rng.uniform(0, 1, 2)
        u = (np.cos(angle) * x + np.sin(angle) * y) * step + phase[0] + 0.2 * smooth_noise(rng, size, 4)[..., 0]
        v = (np.cos(angle) * y - np.sin(angle) * x) * step + phase[1]
        mask = {0: u % 1 < 0.5, 1: (u % 1 < 0.5) ^ (v % 1 < 0.5), 2: (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.1}[
            int(rng.integers(3))
        ]
        image = image + mask[..., None] * (rng.uniform(-70, 70) + rng.uniform(-30, 30, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def from_images(source: str | Path, part: str = "all") -> Textures:
    """Open textures drawn from a folder of images (searched deeply) or a parquet file with an image column.

    Parquet images follow the Hugging Face convention, a struct with the field `bytes`. Images are decoded on use.
    `part` is "all", or "train" for all but every tenth image, or "held-out" for those. Raises BadInput if there is none.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES and not p.name.startswith(".") and p.is_file())
        entries: list[Any] = [str(f) for f in files]
    elif path.suffix == ".parquet" and path.is_file():
        entries = _parquet_bytes(path)
    else:
        raise BadInput(f"{path} is neither a folder of images nor a .parquet file: give one of these as textures")
    count = len(entries)
    if part != "all":
        entries = [e for i, e in enumerate(entries) if (i % 10 == 9) == (part == "held-out")]
    if count and not entries:
        raise BadInput(f"{path} holds {count} images, of which none is left for the part {part!r}; give 10 or more")
    if not entries:
        raise BadInput(f"{path} holds no image ({', '.join(sorted(IMAGES))}): give a folder or parquet file with some")

    def draw(rng: np.random.Generator) -> RGB:
        entry = entries[int(rng.integers(len(entries)))]
        name = "an image" if isinstance(entry, bytes) else entry
        know_heic(name)
        try:
            with Image.open(io.BytesIO(entry) if isinstance(entry, bytes) else no_pipe(entry)) as image:
                image.draft("RGB", (640, 640))
                return image_rgb(image, str(name)) if image.mode[0] in "IF" else np.asarray(image.convert("RGB"))
        except (OSError, Image.DecompressionBombError) as error:
            raise BadInput(f"{name} of {path} cannot be decoded ({error}): remove it") from error

    return draw


def _parquet_bytes(path: Path) -> list[bytes]:
    _, parquet = pyarrow_for("reading textures from parquet")
    try:
        table = parquet.read_table(parquet_file(path, "reading textures from parquet"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is not a readable parquet file ({error}): give one with an image column") from error
    for name in table.column_names:
        first = table.column(name)[0].as_py() if table.num_rows else None
        if isinstance(first, dict) and isinstance(first.get("bytes"), bytes):
            return [row["bytes"] for row in table.column(name).to_pylist()]
    raise BadInput(f"{path} has no column of images (a struct with the field 'bytes'): found {table.column_names}")


@lru_cache
def open_textures(source: str | Path | None, part: str = "all") -> Textures:
    """Open a source of images, procedural ones for None, once in every process."""
    return procedural if source is None else from_images(source, part)


def outline(rng: np.random.Generator, size: int) -> Float32[np.ndarray, "size size"]:
    """Draw an alpha mask (size, size) in 0..1 with a soft edge: blobs, polygons, rings, bars."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
    angle = np.arctan2(y, x)
    kind = rng.choice(["blob", "polygon", "noise", "ring", "bars"], p=[0.45, 0.2, 0.2, 0.08, 0.07])
    radius = np.hypot(x, y)
    if kind == "polygon":
        corners = int(rng.integers(3, 8))
        turn = rng.uniform(0, 2 * np.pi)
        sector = (angle + turn) % (2 * np.pi / corners) - np.pi / corners
        field = 0.95 * np.cos(np.pi / corners) / np.cos(sector) - radius
    elif kind == "noise":
        field = 0.9 - radius + 0.25 * smooth_noise(rng, size, int(rng.integers(3, 8)))[..., 0]
        field = np.minimum(field, 0.98 - np.maximum(abs(x), abs(y)))
    else:
        waves = sum(rng.normal(0, 0.22 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(1, 7))
        edge = np.clip(0.72 + waves, 0.25, 0.97)
        field = edge - radius
        if kind == "ring":
            field = np.minimum(field, radius - edge * rng.uniform(0.4, 0.7))
        elif kind == "bars":
            field = np.minimum(field, 0.12 * np.cos((x + rng.uniform()) * np.pi * rng.uniform(2, 5)) + 0.02)
    return np.clip(field * size / 2 + 0.5, 0, 1).astype(np.float32)
