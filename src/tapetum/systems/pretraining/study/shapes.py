"""Generated images, so that a study runs without any data: simple shapes on textures, with a class for each pixel.

The class of a training image is the shape in it; the class of a pixel is the shape it shows, or the ground. Image k of a part
depends only on the part and k.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from tapetum.data.textures import procedural
from tapetum.systems.pretraining.data import ImageSource

SHAPES = "disc", "square", "triangle", "ring", "cross", "bars"
"""Names of the classes."""
PARTS = "train", "val"
_IMAGES, _PIXELS = 2711, 2712


def inside(shape: str, x: np.ndarray, y: np.ndarray) -> Bool[np.ndarray, "h w"]:
    """Check which points of a plane lie in a shape that fills -1..1.

    >>> inside("ring", np.array([[0.0, 0.8]]), np.zeros((1, 2))).tolist()
    [[False, True]]
    """
    radius, box = np.hypot(x, y), np.maximum(abs(x), abs(y))
    tests = {
        "disc": radius < 1,
        "square": box < 0.85,
        "triangle": (y < 0.8) & (y > 1.7 * abs(x) - 0.9),
        "ring": (radius < 1) & (radius > 0.55),
        "cross": (box < 1) & (np.minimum(abs(x), abs(y)) < 0.3),
        "bars": (box < 0.95) & (abs(abs(x) - 0.6) < 0.3),
    }
    return tests[shape]


def drawn(rng: np.random.Generator, size: tuple[int, int], shapes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw shapes on a texture: the image uint8 (h, w, 3), and its classes int64 (h, w), 0 for ground."""
    rows, columns = size
    image = procedural(rng, max(size))[:rows, :columns].copy()
    truth = np.zeros(size, np.int64)
    y, x = np.mgrid[:rows, :columns] + 0.5
    for shape in shapes:
        radius = rng.uniform(0.2, 0.36) * min(size)
        cy, cx = rng.uniform(radius, rows - radius), rng.uniform(radius, columns - radius)
        turn = rng.uniform(-0.5, 0.5)
        u, v = (x - cx) / radius, (y - cy) / radius
        covered = inside(SHAPES[shape], u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn))
        paint = rng.uniform(0, 255, 3) + rng.normal(0, 6, (rows, columns, 3))
        image[covered] = np.clip(paint, 0, 255).astype(np.uint8)[covered]
        truth[covered] = shape + 1
    return image, truth


@dataclass(frozen=True)
class ShapeImages:
    """Images with one shape each."""

    part: str
    count: int
    size: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> UInt8[np.ndarray, "h w 3"]:
        return _image(self.part, k, self.size)

    def name(self, k: int) -> str:
        """Get the name of image k."""
        return f"shape {k}"


KEPT = 4096
"""Images that are kept in memory once they are drawn."""


@lru_cache(maxsize=KEPT)
def _image(part: str, k: int, size: int) -> UInt8[np.ndarray, "h w 3"]:
    return drawn(np.random.default_rng([_IMAGES, PARTS.index(part), k]), (size, size), [k % len(SHAPES)])[0]


def shape_source(count: int, size: int, part: str = "train") -> ImageSource:
    """Build a source of `count` images."""
    labels = np.arange(count) % len(SHAPES)
    return ImageSource(ShapeImages(part, count, size), labels, SHAPES, about={"data": "shapes", "size": size})


@dataclass(frozen=True)
class ShapePixels:
    """Images with one to three shapes, and a class for each pixel."""

    part: str
    count: int
    size: tuple[int, int]
    classes: tuple[str, ...] = ("ground", *SHAPES)

    def __len__(self) -> int:
        return self.count

    def read(self, k: int) -> tuple[UInt8[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"]]:
        """Draw image k and its labels."""
        rng = np.random.default_rng([_PIXELS, PARTS.index(self.part), k])
        return drawn(rng, self.size, rng.integers(0, len(SHAPES), int(rng.integers(1, 4))).tolist())
