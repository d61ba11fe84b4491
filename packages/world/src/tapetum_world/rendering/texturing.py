"""The colour of surface points by position on the body: one colour, solid patterns, photographs, a printed word.

Texture atlases hold photographs, which repeat seamlessly in a pyramid, and printed words. A photograph that must cover a
larger area is laid out in two sets of mirrored repeats, rotated and shifted, and smooth noise selects which of the two is
visible where. The far quarter is faded into the near one, so that the whole repeats without a seam, and without an axis of
symmetry that a tracker could exploit. All levels of the pyramid are in one image, each with a border of one texel, so that one
call samples points of any size:

    +-----------+
    |  level 0  |
    |           |
    +-----+-----+
    |  1  |
    +--+--+
    |2 |

Patterns fill space, so they have no seams; their cells fit the body's size, so that flat faces never coincide with a cell
border. A photograph is projected along the three axes and blended by surface orientation (triplanar mapping). Everything is
blurred to the size of a pixel on the surface, since small objects would flicker otherwise.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from tapetum.data.textures import Textures, smooth_noise
from tapetum.tracks.facets.types import F32, F64, U8
from tapetum_world.bodies.episode import Body
from tapetum_world.bodies.shapes import Ground, RoundedBox, Shape, Sheet
from tapetum_world.bodies.shapes.base import Lateral

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


LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""How bright red, green and blue light are; words are dark on bright things and bright on dark ones."""


class SurfaceTexture:
    """Texture of one body, prepared once."""

    def __init__(self, body: Body, textures: Textures, pixels: int):
        """Prepare for images of at most `pixels` on a side."""
        surface = body.surface
        self.body, self.surface = body, surface
        self.first = np.array(surface.colour, np.float32)[:, None]
        self.second = np.array(surface.second, np.float32)[:, None]
        low, high = body.shape.bounds
        endless = isinstance(body.shape, Ground)
        extent = np.where(np.isfinite(high - low), high - low, 0)
        rng = np.random.default_rng((surface.seed, 78))
        self.shift = rng.uniform(0.1, 0.9, (3, 3)).astype(np.float32)
        cells = np.maximum(1, np.rint(extent / surface.scale))
        self.cell = np.where(extent > 0, extent / cells, surface.scale).astype(np.float32)
        self.low = np.where(np.isfinite(low), low, 0.0).astype(np.float32)
        self.turn = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
        self.repeats, self.atlas = 1, None
        self.room, self.middle = np.zeros(3), np.zeros(3)
        if surface.kind == "photo":
            many = endless or extent.max() > 1.001 * surface.scale
            self.repeats = 4 if many else 1
            size = 2 ** int(np.ceil(np.log2(max(pixels, 64))))
            self.room = np.zeros(3) if many else 1 - extent / surface.scale  # to shift in, so that nothing is folded
            self.middle = (low + high) / 2 if not many else np.zeros(3)
            self.atlas = photo(textures, surface.seed, self.repeats, min(max(size, 128) * (2 if many else 1), 2048))
        self.word: Atlas | None = None
        if surface.text:
            self.word, tall = word(surface.text)
            self.wrapped = any(isinstance(face, Lateral) for face in body.shape.faces)  # around a straight side
            self.prints = [(side, side.fit(tall)) for side in printed_sides(body.shape)]

    def colour(self, p: F32, n: F32, pixel: F32) -> F32:
        """Compute linear colours (3, k) of points (3, k) facing (3, k), seen through pixels `pixel` (k,) metres wide."""
        if self.atlas is not None:
            base = self._photo(p, n, pixel)
        elif self.surface.kind == "pattern":
            base = np.asarray(self.first + (self.second - self.first) * self._pattern(p, pixel), np.float32)
        else:
            base = np.repeat(self.first, p.shape[1], 1)
        if self.word is not None:
            for side, size in self.prints:
                self._print(side, size, p, n, pixel, base)
        return base

    def _pattern(self, p: F32, pixel: F32) -> F32:
        """Share (k,) of the second colour."""
        match self.surface.pattern:
            case "stripes":
                step = np.float32(self.surface.scale)
                along = (self.turn[0] @ p) / step + self.shift[0, 0]
                return _step(0.5 - 2 * abs(along - np.floor(along) - np.float32(0.5)), 2 * pixel / step, 0.5)
            case "checks":
                q = (p - self.low[:, None]) / self.cell[:, None]
                wave = 1 - 2 * abs(q - 2 * np.floor(q / 2 + np.float32(0.5)))  # 1 and -1 in the middle of cells, 0 at borders
                product = np.sign(wave[0]) * np.sign(wave[1]) * np.sign(wave[2])
                border = product * abs(wave).min(0)
                return _step(border, 2 * pixel / np.float32(self.cell.min()), 0.5)
            case "dots":
                q = (p - self.low[:, None]) / self.cell[:, None]
                q = q - np.rint(q)
                away = np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
                return _step(np.asarray(np.float32(0.34) - away, np.float32), pixel / np.float32(self.cell.min()), 0.2)
            case "noise":
                q = p / np.float32(self.surface.scale * 2) + self.shift[:, :1]
                cell = pixel / np.float32(self.surface.scale * 2)
                rough = (
                    _noise(q) * _fade(cell)
                    + 0.5 * _noise(q * 2.1 + 0.3) * _fade(cell * 2)
                    + 0.3 * _noise(q * 4.3 + 0.7) * _fade(cell * 4)
                )
                return np.clip(np.asarray(np.float32(0.5) + np.float32(0.45) * rough, np.float32), 0, 1)
            case "marble":
                step = np.float32(self.surface.scale * 2)
                q = self.turn @ p / step
                warp = _noise(q + self.shift[:, :1]) + 0.5 * _noise(q * 2.2 + 0.4)
                vein = 1 - abs(np.sin((q[0] + np.float32(0.8) * warp) * np.float32(np.pi)))
                return np.float32(0.25) + (np.clip(vein**3, 0, 1) - np.float32(0.25)) * _fade(pixel / step * 2)

    def _photo(self, p: F32, n: F32, pixel: F32) -> F32:
        assert self.atlas is not None
        span = np.float32(self.surface.scale * self.repeats)
        texels = pixel * np.float32(self.atlas.size[0] / span)
        weight = n * n
        weight = weight * weight
        weight *= weight
        weight /= weight.sum(0)
        out = np.zeros_like(p)
        for axis, (a, b) in enumerate(((1, 2), (0, 2), (0, 1))):
            at = np.flatnonzero(weight[axis] > 0.02)
            if len(at) == 0:
                continue
            u, v = p[a].take(at) / span, -p[b].take(at) / span
            if self.repeats == 1:
                u = (u - np.float32(self.middle[a] / span)) * np.sign(n[axis].take(at))
                u = np.clip(u + np.float32(0.5 + (self.shift[axis, 0] - 0.5) * self.room[a]), 0, 1)
                v = v + np.float32(self.middle[b] / span)
                v = np.clip(v + np.float32(0.5 + (self.shift[axis, 1] - 0.5) * self.room[b]), 0, 1)
            else:
                u, v = u + self.shift[axis, 0], v + self.shift[axis, 1]
                u, v = u - np.floor(u), v - np.floor(v)
            if axis == 1:
                u, v = v, u
            colours = self.atlas.sample(u, v, texels.take(at))
            out[:, at] += colours * weight[axis].take(at)
        total = np.where(weight > 0.02, weight, 0).sum(0)
        return out / total

    def _print(self, side: Side, size: tuple[float, float], p: F32, n: F32, pixel: F32, base: F32) -> None:
        """Print the word onto the colours of one side, in place."""
        assert self.word is not None
        wide, tall = size
        across, up = side.across.astype(np.float32) @ p, side.up.astype(np.float32) @ p
        facing = side.facing.astype(np.float32) @ n
        at = np.flatnonzero((facing > 0.1) & (abs(up) < tall / 2) & (abs(across) < wide))
        if len(at) == 0:
            return
        x = across.take(at)
        if self.wrapped:
            x = np.arctan2(x, p[0].take(at)) * np.hypot(x, p[0].take(at))
        u, v = x / np.float32(wide) + np.float32(0.5), np.float32(0.5) - up.take(at) / np.float32(tall)
        texels = pixel.take(at) * np.float32(256 / wide)
        ink = self.word.sample(np.clip(u, 0, 1), np.clip(v, 0, 1), texels)[0]
        ink = ink * ((u > 0) & (u < 1)) * np.clip(facing.take(at) * 4 - np.float32(0.4), 0, 1)
        shade = np.float32(0.02 if LUMINANCE @ base[:, at].mean(1) > 0.18 else 0.85)
        base[:, at] += (shade - base[:, at]) * ink


def _step(signed: F32, width: F32, mean: float) -> F32:
    """Fraction of a pixel of `width` cells where `signed` is above 0; its mean if pixels are wider than cells."""
    sharp = np.clip(np.float32(0.5) + signed / np.maximum(width, np.float32(1e-6)), 0, 1)
    fade = np.clip(np.float32(2) - width * np.float32(1.5), 0, 1)
    return np.asarray(np.float32(mean) + (sharp - np.float32(mean)) * fade, np.float32)


def _fade(width: F32) -> F32:
    return np.clip(np.float32(1.5) - width * 2, 0, 1)


def _make_noise() -> torch.Tensor:
    """A cube of smooth, periodic noise with mean 0, with its first layers repeated at the end."""
    values = np.random.default_rng(3).uniform(-1, 1, (16, 16, 16)).astype(np.float32)
    cube = F.pad(torch.from_numpy(values)[None, None], (2, 2, 2, 2, 2, 2), mode="circular")
    fine = F.interpolate(cube, scale_factor=3, mode="trilinear", align_corners=False)
    smooth = F.avg_pool3d(fine, 3, 1, padding=1)
    part = smooth[..., 6:55, 6:55, 6:55]
    return ((part - part.mean()) * 2.2).contiguous()


_CUBE = _make_noise()


def _noise(q: F32) -> F32:
    """Smooth noise (k,) in about -1..1 at points (3, k) in cells, with a period of 16 cells."""
    q = q * np.float32(1 / 16)
    q = (q - np.floor(q)) * np.float32(2) - 1
    grid = torch.from_numpy(np.ascontiguousarray(q.T))[None, None, None]
    return F.grid_sample(_CUBE, grid, align_corners=True, padding_mode="border")[0, 0, 0, 0].numpy()
