"""Images with a repeated piece: tiles, bricks, stripes, dots. Places look alike, so context must tell them apart."""

import numpy as np
from PIL import Image

from tapetum.data.textures import Textures
from tapetum.world.types import U8

SIZE = 320
"""Side of an image in pixels."""


def with_repeats(source: Textures, share: float) -> Textures:
    """Replace a share of the images of `source` by ones with a repeated piece; without a share it is `source`."""
    if not share:
        return source

    def draw(rng: np.random.Generator) -> U8:
        return repeat_piece(rng, source) if rng.random() < share else source(rng)

    return draw


def repeat_piece(rng: np.random.Generator, source: Textures) -> U8:
    """Draw an image (320, 320, 3) with a piece repeated every 20 to 64 pixels, under 8 to 30 % of another image."""
    period = int(rng.integers(20, 65))
    kind = rng.choice(["tiles", "bricks", "stripes", "dots"], p=[0.35, 0.2, 0.2, 0.25])
    image = source(rng)
    if kind == "dots":
        y, x = (np.mgrid[:period, :period] + 0.5) / period - 0.5
        colours = image.reshape(-1, 3)[rng.integers(image.shape[0] * image.shape[1], size=2)].astype(float)
        colours[1] += np.where(colours.mean() < 128, 60, -60)  # two that are alike would make no dots
        inside = np.clip((rng.uniform(0.2, 0.42) - np.hypot(x, y)) * period + 0.5, 0, 1)[..., None]
        piece = colours[0] * (1 - inside) + colours[1] * inside
    else:
        side = min(int(period * rng.uniform(1, 4)), *image.shape[:2])
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        crop = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
        piece = np.asarray(crop.resize((period, period), Image.Resampling.BOX)).astype(float)
        if kind == "stripes":
            piece = np.repeat(piece[:1], period, axis=0)
    y, x = np.mgrid[:SIZE, :SIZE]
    shift = period // 2 * (y // period % 2) if kind == "bricks" else 0
    pattern = piece[y % period, (x + shift) % period]
    if rng.random() < 0.5:
        pattern = pattern.swapaxes(0, 1)
    over = np.asarray(Image.fromarray(source(rng)).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    mix = rng.uniform(0.08, 0.3)
    return np.clip((1 - mix) * pattern + mix * over, 0, 255).astype(np.uint8)
