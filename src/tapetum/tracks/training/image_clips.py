"""Clips with exact tracks, made of single images: one moves in the background, cut-outs of others move over it.

They score a tracker on footage without tracks (`tapetum bootstrap`), and serve for training beside scenes. The affine motion
and the outlines are exact, so tracks and visibility are too; noise and JPEG compression come last.

    layers, back to front: the image, cut-out 1, cut-out 2, ...; each with maps (t, 3, 3) from its own pixels to the frame's
    a point of layer k is hidden where it leaves the frame or a later layer's outline covers it
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from tapetum.core.identity import source_label
from tapetum.data.textures import open_textures, outline
from tapetum.tracks.training.clips import DrawnClips, TrackedClip
from tapetum.tracks.training.warping import Maps, jpeg, random_motion, warp_frames, warp_points

ImageArray = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Layer:
    """An image, where it is to be seen (h, w) in 0..1, and where it goes."""

    image: ImageArray
    alpha: Float32[np.ndarray, "h w"]
    maps: Maps

    def covers(self, xy: Float32[np.ndarray, "n t 2"]) -> Bool[np.ndarray, "n t"]:
        """Check which raster positions of the frames lie on this layer."""
        x, y = np.moveaxis(warp_points(np.linalg.inv(self.maps), xy), -1, 0)
        h, w = self.alpha.shape
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        return inside & (self.alpha[np.where(inside, y, 0).astype(int), np.where(inside, x, 0).astype(int)] > 0.5)


def image_clip(
    rng: np.random.Generator, images: Sequence[ImageArray], *, size: int = 256, frames: int = 24, points: int = 64
) -> TrackedClip:
    """Make a clip of size x size pixels with `points` tracks, of two or more images; the first one is the background.

    Every point is on the layer visible there in some frame; half are on cut-outs, if these cover enough.
    """
    layers = [_background(rng, images[0], size, frames)]
    layers += [_cut_out(rng, image, size, frames) for image in images[1:]]
    video = _draw(rng, layers, size)
    xy, visible = _tracks(rng, layers, size, frames, points)
    return TrackedClip(video, xy, visible)


class ImageClips(DrawnClips):
    """Clips of three to six images each, of size x size pixels."""

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        source: str | Path | None = None,
        part: str = "all",
        size: int = 256,
        frames: int = 24,
        cache: str | Path | None = None,
    ):
        self.seed, self.size, self.frames, self.source, self.part = seed, size, frames, source, part
        super().__init__(count, cache)

    def label(self) -> dict[str, Any]:
        images = str(source_label(self.source))
        return {"seed": self.seed, "size": self.size, "frames": self.frames, "images": images, "part": self.part}

    def draw(self, k: int) -> TrackedClip:
        rng = np.random.default_rng((self.seed, 2, k))
        draw = open_textures(self.source, self.part)
        images = [draw(rng) for _ in range(int(rng.integers(3, 7)))]
        return image_clip(rng, images, size=self.size, frames=self.frames, points=128)


def _background(rng: np.random.Generator, image: ImageArray, size: int, frames: int) -> Layer:
    """The image at one and a half times the frame's size, so that the frame rarely extends beyond it."""
    wide = round(1.5 * size)
    image = np.asarray(Image.fromarray(image).resize((wide, wide), Image.Resampling.BILINEAR))
    middle = np.eye(3)
    middle[:2, 2] = (size - wide) / 2
    return Layer(image, np.ones((wide, wide), np.float32), random_motion(rng, frames, size, rotation=20, zoom=0.2) @ middle)


def _cut_out(rng: np.random.Generator, image: ImageArray, size: int, frames: int) -> Layer:
    """A piece of the image with a random outline, an eighth to half the frame's width."""
    wide = int(rng.uniform(0.15, 0.5) * size)
    h, w = image.shape[:2]
    side = min(h, w, wide * 2)
    top, left = int(rng.integers(h - side + 1)), int(rng.integers(w - side + 1))
    piece = Image.fromarray(image[top : top + side, left : left + side]).resize((wide, wide), Image.Resampling.BILINEAR)
    maps = random_motion(rng, frames, wide, rotation=45, zoom=0.25, drift=0.0)
    ends = rng.uniform(0.1, 0.9, (3, 2)) * size
    time = np.linspace(0, 1, frames)[:, None] if frames > 1 else np.zeros((1, 1))
    way = (1 - time) ** 2 * ends[0] + 2 * time * (1 - time) * ends[1] + time**2 * ends[2]
    away = np.tile(np.eye(3), (frames, 1, 1))
    away[:, :2, 2] = way - wide / 2
    return Layer(np.asarray(piece), outline(rng, wide).astype(np.float32), away @ maps)


def _draw(rng: np.random.Generator, layers: list[Layer], size: int) -> UInt8[np.ndarray, "t s s 3"]:
    frames = len(layers[0].maps)
    video = torch.zeros(frames, 3, size, size)
    for layer in layers:
        alpha = torch.from_numpy(layer.alpha)
        sheet = torch.cat([torch.from_numpy(layer.image.copy()).permute(2, 0, 1).float() * alpha, alpha[None]])
        drawn = warp_frames(sheet.expand(frames, -1, -1, -1), torch.from_numpy(layer.maps), (size, size))
        video = video * (1 - drawn[:, 3:]) + drawn[:, :3]
    noise = torch.from_numpy(rng.normal(0, rng.uniform(0, 6), video.shape).astype(np.float32))
    clean = (video + noise).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return jpeg(clean.numpy(), int(rng.integers(40, 95)))


def _tracks(
    rng: np.random.Generator, layers: list[Layer], size: int, frames: int, points: int
) -> tuple[Float32[np.ndarray, "n t 2"], Bool[np.ndarray, "n t"]]:
    """Points, each visible in a random frame, that follow the top layer at that position."""
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(50):
        many = 8 * points
        start, place = rng.integers(frames, size=many), rng.uniform(0, size, (many, 1, 2)).astype(np.float32)
        for number in rng.permutation(len(layers)):
            layer = layers[number]
            own = np.linalg.inv(layer.maps)[start]
            local = np.einsum("nij,nj->ni", own[:, :2, :2], place[:, 0]) + own[:, :2, 2]
            xy = warp_points(layer.maps, np.repeat(local[:, None], frames, 1))
            shown = layer.covers(xy) & (xy >= 0).all(-1) & (xy < size).all(-1)
            for above in layers[number + 1 :]:
                shown &= ~above.covers(xy)
            chosen = np.flatnonzero(shown[np.arange(many), start])[: max(1, points // (2 * len(layers)))]
            rows += [(xy[n], shown[n]) for n in chosen]
        if len(rows) >= points:
            break
    if not rows:
        rows = [(np.full((frames, 2), size / 2, np.float32), np.zeros(frames, bool))]
    order = rng.permutation(len(rows))[:points]
    return np.stack([rows[n][0] for n in order]).astype(np.float32), np.stack([rows[n][1] for n in order])
