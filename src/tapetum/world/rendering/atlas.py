"""Texture atlases of photographs and printed words: photographs repeat seamlessly in a pyramid; also the sides that bear words.

A photograph that must cover a larger area is laid out in two sets of mirrored repeats, rotated and shifted, and smooth noise
selects which of the two is visible where. The far quarter is faded into the near one, so that the whole repeats without a seam,
and without an axis of symmetry that a tracker could exploit. All levels of the pyramid are in one image, each with a border of
one texel, so that one call samples points of any size:

    +-----------+
    |  level 0  |
    |           |
    +-----+-----+
    |  1  |
    +--+--+
    |2 |
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from tapetum.data.textures import Textures, smooth_noise
from tapetum.world.bodies.shapes import RoundedBox, Shape, Sheet
from tapetum.world.types import F32, F64, U8

PAPER = 0.8
"""What a photograph's white sends back of the light: nothing around us is whiter."""
THICK = 4
"""Pixels by which letters 96 pixels high are thickened on all sides."""


class Atlas:
    """A square image with c channels at all sizes."""

    def __init__(self, image: F32, repeats: bool = False):
        """Take (c, s, s), which may repeat or ends at its borders."""
        level = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
        levels = [level]
        while level.shape[-1] > 4:
            level = F.avg_pool2d(level, 2)
            levels.append(level)
        padded = [F.pad(level, (1, 1, 1, 1), mode="circular" if repeats else "replicate") for level in levels]
        self.size = np.array([level.shape[-1] for level in levels], np.float32)
        self.base = np.cumsum([0] + [p.shape[-2] for p in padded[:-1]]).astype(np.float32)
        width = padded[0].shape[-1]
        self.image = torch.cat([F.pad(p, (0, width - p.shape[-1])) for p in padded], 2)

    def sample(self, u: F32, v: F32, texels: F32) -> F32:
        """Sample (c, n) at u, v (n,) in 0..1 from the left and the top, blurred to `texels` (n,) texels of the largest copy."""
        level = np.log2(np.clip(texels, 1, self.size[0] / 4.01))
        low = level.astype(np.int64)
        part = level - low
        near = self._at(u, v, low)
        if not part.any():
            return near
        far = self._at(u, v, np.minimum(low + 1, len(self.size) - 1))
        return np.asarray(near + (far - near) * part, np.float32)

    def _at(self, u: F32, v: F32, level: np.ndarray) -> F32:
        size = self.size.take(level)
        _, _, h, w = self.image.shape
        grid = np.empty((1, 1, len(u), 2), np.float32)
        grid[..., 0] = (u * size + np.float32(0.5)) * np.float32(2 / (w - 1)) - 1
        grid[..., 1] = (v * size + (self.base.take(level) + np.float32(0.5))) * np.float32(2 / (h - 1)) - 1
        return F.grid_sample(self.image, torch.from_numpy(grid), align_corners=True)[0, :, 0].numpy()


def linear(image: U8) -> F32:
    """Convert 8-bit values to linear light 0..1 (sRGB's curve, approximated by a power)."""
    return _CURVE[image]


_CURVE = (np.arange(256) / 255.0).astype(np.float32) ** np.float32(2.2)


def photo(textures: Textures, seed: int, repeats: int, size: int) -> Atlas:
    """Prepare `repeats` x `repeats` copies of one image of the textures, blended, as (3, size, size) of linear light."""
    rng = np.random.default_rng((seed, 77))
    image = linear(_square(textures(rng), rng)) * np.float32(PAPER)
    source = torch.from_numpy(image).permute(2, 0, 1)[None]
    side = max(size // repeats, 8)
    if side < source.shape[-1]:
        source = F.interpolate(source, size=(side, side), mode="area")
    if repeats == 1:
        flat = F.interpolate(source, size=(size, size), mode="bilinear", align_corners=False)
        return Atlas(flat[0].numpy())
    margin = size // 4
    place = (np.arange(size + margin, dtype=np.float32) + 0.5) / size * repeats
    layers = []
    for _ in range(2):
        angle, dx, dy = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2), rng.uniform(0, 2)
        x, y = np.cos(angle) * place, np.sin(angle) * place
        grid = torch.from_numpy(np.stack([x[None] - y[:, None] + dx, y[None] + x[:, None] + dy], -1).astype(np.float32))[None]
        layers.append(F.grid_sample(source, grid * 2 - 1, padding_mode="reflection", align_corners=False)[0].numpy())
    fraction = np.clip(0.5 + 1.5 * smooth_noise(rng, size + margin, 2 * repeats)[..., 0], 0, 1)
    whole = layers[0] * fraction + layers[1] * (1 - fraction)
    fade = (np.arange(margin, dtype=np.float32) + 0.5) / margin
    whole[..., :margin] += (whole[..., size:] - whole[..., :margin]) * (1 - fade)
    whole[:, :margin] += (whole[:, size:] - whole[:, :margin]) * (1 - fade[:, None])
    return Atlas(whole[:, :size, :size], repeats=True)


def _square(image: U8, rng: np.random.Generator) -> U8:
    h, w = image.shape[:2]
    side = max(1, int(min(h, w) * rng.uniform(0.6, 1.0)))
    y, x = int(rng.integers(h - side + 1)), int(rng.integers(w - side + 1))
    return np.ascontiguousarray(image[y : y + side, x : x + side, :3])


def word_height(text: str) -> float:
    """Compute the height of a printed text relative to its width."""
    w, h = _measure(text)[2:]
    return h / w


def _measure(text: str) -> tuple[float, float, float, float]:
    """Left, top, width and height in pixels of a text drawn at the origin."""
    font = ImageFont.load_default(96)
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), text, font=font, stroke_width=THICK)
    return left, top, max(right - left, 1), max(bottom - top, 1)


def word(text: str) -> tuple[Atlas, float]:
    """Draw a short text, filled with 1 on 0, in the middle of a square; also return its height over its width."""
    left, top, w, h = _measure(text)
    canvas = Image.new("L", (int(w * 1.02), int(h * 1.02)))
    ImageDraw.Draw(canvas).text(
        (w * 0.01 - left, h * 0.01 - top), text, fill=255, font=ImageFont.load_default(96), stroke_width=THICK
    )
    square = np.asarray(canvas.resize((256, 256), Image.Resampling.BOX if w > 256 else Image.Resampling.BILINEAR))
    image = square.astype(np.float32)[None] / np.float32(255)
    image[:, [0, -1]] = 0
    image[:, :, [0, -1]] = 0
    return Atlas(image), h / w


LYING = 0.5
"""A box that is lower than this share of its narrower side has its word on top, like a book."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A flat side of a body, or the front of a round one, in the body's coordinates."""

    across: F64
    """(3,) unit length, the way the word is read."""
    up: F64
    """(3,) unit length, the way its letters stand."""
    middle: F64
    """(3,) middle of the side."""
    room: tuple[float, float]
    """Width and height in metres within which the word stays."""

    @property
    def facing(self) -> F64:
        """Compute the outward normal (3,)."""
        return np.cross(self.across, self.up)

    def fit(self, tall: float) -> tuple[float, float]:
        """Compute width and height in metres of a word that is `tall` times as high as wide."""
        wide = min(self.room[0], self.room[1] / tall)
        return wide, wide * tall


def printed_sides(shape: Shape) -> tuple[Side, ...]:
    """List the sides that bear a body's word: four of an upright box, the top of flat bodies, the front of others."""
    x, y, z = np.eye(3)
    match shape:
        case Sheet(size=(wide, tall)):
            return (Side(across=x, up=y, middle=0 * z, room=(0.8 * wide, 0.6 * tall)),)
        case RoundedBox(size=(a, b, c)) if c < LYING * min(a, b):
            return (Side(across=x, up=y, middle=z * c / 2, room=(0.8 * a, 0.65 * b)),)
        case RoundedBox(size=(a, b, c)):
            ways = ((y, x * a / 2, b), (-y, -x * a / 2, b), (-x, y * b / 2, a), (x, -y * b / 2, a))
            return tuple(Side(across=way, up=z, middle=m, room=(0.86 * wide, 0.7 * c)) for way, m, wide in ways)
    low, high = shape.bounds
    extent = high - low
    return (Side(across=y, up=z, middle=x * high[0], room=(0.65 * extent[1], 0.6 * extent[2])),)
