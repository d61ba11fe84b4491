"""Scenes of textured things whose position says little of them, and real images with things: what `claims.py` sees.

A scene has 2 or 3 objects, rings, Ls, bars and crosses, one before the other, so that no cell of a map of positions has the
shape of one. Objects and ground are textures of different families (gratings, checkers, dots, noise), each in two colours:
`apart` its own, so that mean colour tells them apart too; `shared` the same two for all parts of all scenes, so that only the
pattern does.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

Colours = Literal["apart", "shared"]
FAMILIES = "grating", "checkers", "dots", "noise"
_HALF = 60
"""Greatest distance of a colour from the middle of the two, where they are a texture's own."""
_SHARED = np.full(3, 128.0), np.array([90.0, -30.0, -90.0])
"""Middle of the two colours that scenes may share, and half of what lies between them."""
_HOLE, _ARM = 0.45, 0.35
"""Radius of a ring's hole, and half of the width of arms and bars, in units of their size."""
_AREAS = np.pi * (1 - _HOLE**2), 6.8 * _ARM - 4 * _ARM**2, 4 * _ARM, 8 * _ARM - 4 * _ARM**2
"""Of a ring, an L, a bar and a cross, in units of their size squared."""


def texture(rng: np.random.Generator, family: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Give a pattern of a family: 0 or 1 at rows and columns."""
    period = rng.uniform(3, 5.5)
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

    return pattern


def shape(rng: np.random.Generator, side: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Give a shape: inside or not at rows and columns from its middle; 10 to 30 % of an image unless cut or hidden."""
    kind, angle = int(rng.integers(len(_AREAS))), rng.uniform(0, 2 * np.pi)
    r = side * np.sqrt(rng.uniform(0.1, 0.3) / _AREAS[kind])

    def inside(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        y, x = (rows * np.cos(angle) + columns * np.sin(angle)) / r, (columns * np.cos(angle) - rows * np.sin(angle)) / r
        if kind == 0:
            return (x**2 + y**2 < 1) & (x**2 + y**2 > _HOLE**2)
        if kind == 1:
            return ((abs(x + 0.6) < _ARM) & (abs(y) < 0.9)) | ((abs(y - 0.7) < _ARM) & (abs(x) < 0.8))
        if kind == 2:
            return (abs(x) < 1) & (abs(y) < _ARM)
        return ((abs(x) < _ARM) & (abs(y) < 1)) | ((abs(y) < _ARM) & (abs(x) < 1))

    return inside


def clip(
    seed: int, number: int, side: int = 64, frames: int = 1, colours: Colours = "shared"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make a scene, or a clip of moving objects.

    Returns images (t, h, w, 3) uint8, numbers of objects (t, h, w) with 0 the ground, and families of textures (t, h, w).
    """
    rng = np.random.default_rng((seed, number))
    families = [int(family) for family in rng.permutation(len(FAMILIES))]
    patterns = [texture(rng, family) for family in families]
    dyes = [_SHARED if colours == "shared" else (rng.uniform(60, 195, 3), rng.uniform(-_HALF, _HALF, 3)) for _ in families]
    parts = [(shape(rng, side), rng.uniform(0.1, 0.9, 2) * side, rng.uniform(-1.2, 1.2, 2)) for _ in range(3)]
    parts = parts[: int(rng.integers(2, 4))]
    rows, columns = np.mgrid[:side, :side] + 0.5
    images, ids = [], []
    for t in range(frames):
        own, shown = np.zeros((side, side), np.int64), dyed(patterns[0](rows, columns), dyes[0])
        for k, (inside, place, speed) in enumerate(parts, 1):
            y, x = rows - place[0] - t * speed[0], columns - place[1] - t * speed[1]
            mask = inside(y, x)
            own[mask], shown[mask] = k, dyed(patterns[k](y + 64, x + 64), dyes[k])[mask]
        images.append(np.clip(shown + rng.normal(0, 6, shown.shape), 0, 255).astype(np.uint8))
        ids.append(own)
    return np.stack(images), np.stack(ids), np.array(families)[np.stack(ids)]


def dyed(light: np.ndarray, dye: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Give a pattern its two colours."""
    return dye[0] + np.where(light, 1.0, -1.0)[..., None] * dye[1]


class Scenes:
    """Images of scenes by number, made when they are asked for; `masks` has all their objects."""

    def __init__(self, seed: int, count: int, side: int, colours: Colours = "shared"):
        made = [clip(seed, k, side, colours=colours) for k in range(count)]
        self.images, self.masks = np.stack([m[0][0] for m in made]), np.stack([m[1][0] for m in made])
        self.families = np.stack([m[2][0] for m in made])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.images[k]

    def name(self, k: int) -> str:
        return f"scene {k}"

    def objects(self, k: int) -> np.ndarray:
        """Give the masks of what is seen of each object, bool (n, h, w); 2 % of the image or more."""
        found = [self.masks[k] == n for n in range(1, int(self.masks[k].max()) + 1)]
        return np.stack([mask for mask in found if mask.mean() >= 0.02] or [np.zeros(self.masks[k].shape, bool)])


class Kept:
    """Images of parquet files, made small and kept in memory."""

    def __init__(self, files: list[Path], side: int, most: int | None = None):
        self.images = [small(image, side) for file in files for image, _ in rows_of(file, most and max(most // len(files), 1))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.images[k]

    def name(self, k: int) -> str:
        return f"image {k}"


def small(image: Image.Image, side: int) -> np.ndarray:
    """Make an image's shorter side so long."""
    scale = side / min(image.size)
    size = [max(round(length * scale), side) for length in image.size]
    return np.array(image.convert("RGB").resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0))


def rows_of(file: Path, most: int | None = None) -> Iterator[tuple[Image.Image, np.ndarray | None]]:
    """Give images, and masks where there are any, of a parquet file; `most` of them, evenly chosen."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(file)
    masked = "mask" in table.column_names
    chosen = np.unique(np.linspace(0, table.num_rows - 1, min(table.num_rows, most or table.num_rows)).round().astype(int))
    for k in chosen:
        mask = Image.open(io.BytesIO(table.column("mask")[int(k)].as_py()["bytes"])) if masked else None
        image = Image.open(io.BytesIO(table.column("image")[int(k)].as_py()["bytes"]))
        yield image, None if mask is None else np.asarray(mask)


def street_things(mask: np.ndarray) -> np.ndarray:
    """Give CamVid's cars, pedestrians and bicyclists as objects: connected parts of 0.3 % of the image and more."""
    found = []
    for number in (8, 9, 10):
        labels, count = ndimage.label(mask == number)  # pyright: ignore[reportGeneralTypeIssues]
        found += [labels == k for k in range(1, count + 1) if (labels == k).mean() >= 0.003]
    return np.stack(found) if found else np.zeros((0, *mask.shape), bool)
