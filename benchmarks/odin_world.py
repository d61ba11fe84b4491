"""Scenes in which colour and position say nothing of objects, and real pictures with things: what `odin_claims.py` sees.

A scene has 2 to 4 objects, rings, Ls, bars and crosses, one before the other, so that no cell of a map of positions has the
shape of one. Objects and ground are textures (gratings, checkers, dots, noise) of the same two colours, so that only the
pattern tells them apart.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

FAMILIES = "grating", "checkers", "dots", "noise"
_HALF = 90
_SHARED = np.full(3, 128.0), np.array([90.0, -30.0, -90.0])
"""Middle of the two colours that scenes may share, and half of what lies between them."""
_AREAS = 1.93, 1.28, 0.8, 1.44
"""Of a ring, an L, a bar and a cross, in units of their size squared."""


def texture(rng: np.random.Generator) -> tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Give a family and a pattern: 0 or 1 at rows and columns."""
    family, period = int(rng.integers(len(FAMILIES))), rng.uniform(3, 5.5)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(0, 9, 2)
    grain = ndimage.gaussian_filter(rng.standard_normal((128, 128)), period / 5, mode="wrap") > 0

    def pattern(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        along = (rows + offset[0]) * np.cos(angle) + (columns + offset[1]) * np.sin(angle)
        across = (columns + offset[1]) * np.cos(angle) - (rows + offset[0]) * np.sin(angle)
        if family == 0:
            return along % period < period / 2
        if family == 1:
            return (along % period < period / 2) != (across % period < period / 2)
        if family == 2:
            return (along % period - period / 2) ** 2 + (across % period - period / 2) ** 2 < (0.4 * period) ** 2
        return grain[np.round(rows).astype(int) % 128, np.round(columns).astype(int) % 128]

    return family, pattern


def shape(rng: np.random.Generator, side: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Give a shape: inside or not at rows and columns from its middle; 8 to 25 % of a picture unless cut or hidden."""
    kind, angle = int(rng.integers(len(_AREAS))), rng.uniform(0, 2 * np.pi)
    r = side * np.sqrt(rng.uniform(0.08, 0.25) / _AREAS[kind])

    def inside(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        y, x = (rows * np.cos(angle) + columns * np.sin(angle)) / r, (columns * np.cos(angle) - rows * np.sin(angle)) / r
        if kind == 0:
            return (x**2 + y**2 < 1) & (x**2 + y**2 > 0.62**2)
        if kind == 1:
            return ((abs(x + 0.6) < 0.2) & (abs(y) < 0.9)) | ((abs(y - 0.7) < 0.2) & (abs(x) < 0.8))
        if kind == 2:
            return (abs(x) < 1) & (abs(y) < 0.2)
        return ((abs(x) < 0.2) & (abs(y) < 1)) | ((abs(y) < 0.2) & (abs(x) < 1))

    return inside


def clip(
    seed: int, number: int, side: int = 64, frames: int = 1, shared: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make a scene, or a clip of moving objects; in two colours of its own, or in those that all scenes share.

    Returns pictures (t, h, w, 3) uint8, numbers of objects (t, h, w) with 0 the ground, and families of textures (t, h, w).
    """
    rng = np.random.default_rng((seed, number))
    middle, apart = rng.uniform(100, 155, 3), rng.standard_normal(3)
    middle, apart = _SHARED if shared else (middle, apart * _HALF / np.abs(apart).max())
    parts = [(shape(rng, side), texture(rng), rng.uniform(0.1, 0.9, 2) * side, rng.uniform(-1.2, 1.2, 2)) for _ in range(5)]
    parts, (ground, pattern) = parts[: int(rng.integers(2, 5))], texture(rng)
    rows, columns = np.mgrid[:side, :side] + 0.5
    pictures, ids, families = [], [], []
    for t in range(frames):
        light, own, kind = pattern(rows, columns), np.zeros((side, side), np.int64), np.full((side, side), ground)
        for k, (inside, (family, drawn), place, speed) in enumerate(parts, 1):
            y, x = rows - place[0] - t * speed[0], columns - place[1] - t * speed[1]
            mask = inside(y, x)
            light, own, kind = (
                np.where(mask, drawn(y + 64, x + 64), light),
                np.where(mask, k, own),
                np.where(mask, family, kind),
            )
        shown = middle + np.where(light, 1.0, -1.0)[..., None] * apart + rng.normal(0, 6, (side, side, 3))
        pictures.append(np.clip(shown, 0, 255).astype(np.uint8))
        ids.append(own)
        families.append(kind)
    return np.stack(pictures), np.stack(ids), np.stack(families)


class Scenes:
    """Pictures of scenes by number, made when they are asked for; `masks` has all their objects."""

    def __init__(self, seed: int, count: int, side: int, shared: bool = False):
        made = [clip(seed, k, side, shared=shared) for k in range(count)]
        self.pictures, self.masks = np.stack([m[0][0] for m in made]), np.stack([m[1][0] for m in made])
        self.families = np.stack([m[2][0] for m in made])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.pictures[k]

    def name(self, k: int) -> str:
        return f"scene {k}"

    def objects(self, k: int) -> np.ndarray:
        """Give the masks of what is seen of each object, bool (n, h, w); 2 % of the picture or more."""
        found = [self.masks[k] == n for n in range(1, int(self.masks[k].max()) + 1)]
        return np.stack([mask for mask in found if mask.mean() >= 0.02] or [np.zeros(self.masks[k].shape, bool)])


class Kept:
    """Pictures of parquet files, made small and kept in memory."""

    def __init__(self, files: list[Path], side: int, most: int | None = None):
        self.pictures = [
            small(picture, side) for file in files for picture, _ in rows_of(file, most and max(most // len(files), 1))
        ]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.pictures[k]

    def name(self, k: int) -> str:
        return f"picture {k}"


def small(picture: Image.Image, side: int) -> np.ndarray:
    """Make a picture's shorter side so long."""
    scale = side / min(picture.size)
    size = [max(round(length * scale), side) for length in picture.size]
    return np.array(picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0))


def rows_of(file: Path, most: int | None = None) -> Iterator[tuple[Image.Image, np.ndarray | None]]:
    """Give pictures, and masks where there are any, of a parquet file; `most` of them, evenly chosen."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(file)
    masked = "mask" in table.column_names
    chosen = np.unique(np.linspace(0, table.num_rows - 1, min(table.num_rows, most or table.num_rows)).round().astype(int))
    for k in chosen:
        mask = Image.open(io.BytesIO(table.column("mask")[int(k)].as_py()["bytes"])) if masked else None
        picture = Image.open(io.BytesIO(table.column("image")[int(k)].as_py()["bytes"]))
        yield picture, None if mask is None else np.asarray(mask)


def street_things(mask: np.ndarray) -> np.ndarray:
    """Give CamVid's cars, pedestrians and bicyclists as objects: connected parts of 0.3 % of the picture and more."""
    found = []
    for number in (8, 9, 10):
        labels, count = ndimage.label(mask == number)  # pyright: ignore[reportGeneralTypeIssues]
        found += [labels == k for k in range(1, count + 1) if (labels == k).mean() >= 0.003]
    return np.stack(found) if found else np.zeros((0, *mask.shape), bool)
