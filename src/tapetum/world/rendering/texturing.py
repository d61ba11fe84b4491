"""The colour of surface points by position on the body: one colour, solid patterns, photographs, a printed word.

Patterns fill space, so they have no seams; their cells fit the body's size, so that flat faces never coincide with a cell
border. A photograph is projected along the three axes and blended by surface orientation (triplanar mapping). Everything is
blurred to the size of a pixel on the surface, since small objects would flicker otherwise.
"""

import numpy as np
import torch
import torch.nn.functional as F

from tapetum.data.textures import Textures
from tapetum.world.bodies.episode import Body
from tapetum.world.bodies.faces import Lateral
from tapetum.world.bodies.shapes import Ground
from tapetum.world.rendering.atlas import Atlas, Side, photo, printed_sides, word
from tapetum.world.types import F32

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
