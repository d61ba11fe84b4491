"""Files as values of fixed shape: images, masks, recordings, videos and point clouds, read when they are asked for.

A showing for training looks at a random part, all others at the middle one or the whole. Which part is the first thing that is
drawn, and every field of an example draws the same numbers (see `hip.data`): an image and its mask are cut alike, and
the sound of a video begins with its frames.

Source: parts of images as usual on ImageNet (arXiv 1409.4842): area 0.08 to 1, aspect 3/4 to 4/3.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.data.files import Files, opened_image
from tapetum.data.point_clouds import normalise_points, on_surface, read_off
from tapetum.video import open_video
from tapetum.video.sound import read_sound


@dataclass(frozen=True)
class ImageFiles:
    """Images as uint8 RGB of one size."""

    files: Files
    size: tuple[int, int]
    """Height and width."""
    area: float = 0.08
    """Least fraction of an image that training looks at; 1: the whole image, always."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Compute the shape of all images, (N, h, w, 3)."""
        return len(self.files), *self.size, 3

    def read(self, k: int, rng: np.random.Generator | None) -> UInt8[np.ndarray, "h w 3"]:
        """Read image k, cropped and resized. Raises BadInput for a file that is no image."""
        image = opened_image(self.files[k], "RGB")
        box = window(image.height, image.width, self.size, rng, self.area)
        height, width = self.size
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box, reducing_gap=3.0))


@dataclass(frozen=True)
class MaskFiles:
    """Images of class numbers, int64, cut as `ImageFiles` cuts; numbers beyond the classes become -1."""

    files: Files
    size: tuple[int, int]
    classes: int
    area: float = 0.08

    @property
    def shape(self) -> tuple[int, ...]:
        """Compute the shape of all masks, (N, h, w, 1)."""
        return len(self.files), *self.size, 1

    def read(self, k: int, rng: np.random.Generator | None) -> np.ndarray:
        """Read mask k, cropped and resized; -1 for numbers beyond the classes. Raises BadInput for a file that is no mask."""
        mask = opened_image(self.files[k], None)
        if mask.mode not in ("P", "L"):
            raise BadInput(f"{self.files[k].name} is an image of mode {mask.mode}; a mask has one number a pixel (P or L)")
        box = window(mask.height, mask.width, self.size, rng, self.area)
        height, width = self.size
        numbers = np.asarray(mask.resize((width, height), Image.Resampling.NEAREST, box)).astype(np.int64)
        return np.where(numbers < self.classes, numbers, -1)[..., None]


@dataclass(frozen=True)
class SoundFiles:
    """Recordings, or the sound of videos, as samples -1..1; silence follows where they are too short."""

    files: Files
    sample_rate: int
    """Samples per second."""
    samples: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Compute the shape of all recordings, (N, samples, 1)."""
        return len(self.files), self.samples, 1

    def read(self, k: int, rng: np.random.Generator | None) -> Float32[np.ndarray, "n 1"]:
        """Read samples of recording k, padded with zeros. Raises BadInput for a file without sound."""
        sound = read_sound(self.files[k].content, self.sample_rate, name=self.files[k].name)
        first = begin(len(sound), self.samples, rng)
        part = sound[first : first + self.samples]
        return np.pad(part, (0, self.samples - len(part)))[:, None]


@dataclass(frozen=True)
class VideoFiles:
    """Frames of videos at a rate of one's choice; the last frame is repeated where a video is too short."""

    files: Files
    frames: int
    size: tuple[int, int]
    frame_rate: float
    """Frames per second."""
    area: float = 0.08

    @property
    def shape(self) -> tuple[int, ...]:
        """Compute the shape of all videos, (N, t, h, w, 3)."""
        return len(self.files), self.frames, *self.size, 3

    def read(self, k: int, rng: np.random.Generator | None) -> UInt8[np.ndarray, "t h w 3"]:
        """Read frames of video k, cropped and resized. Raises BadInput for a file that is no video."""
        file = self.files[k]
        if isinstance(file.content, bytes):
            raise BadInput(f"{file.name} is in memory; videos are read from files")
        with open_video(file.content) as video:
            times = video.timestamps - video.timestamps[0]
            lasts = float(times[-1]) + 1 / video.frame_rate
            start = begin(round(lasts * 1000), round(1000 * self.frames / self.frame_rate), rng) / 1000
            times_s = start + np.arange(self.frames) / self.frame_rate
            shown = video[np.searchsorted(times, times_s + 1e-6, side="right") - 1]
            box = window(video.height, video.width, self.size, rng, self.area)
        height, width = self.size
        return np.stack(
            [np.asarray(Image.fromarray(f).resize((width, height), Image.Resampling.BILINEAR, box, 3.0)) for f in shown]
        )


@dataclass(frozen=True)
class MeshFiles:
    """Points on the surfaces of meshes (OFF files), evenly by area, scaled into the unit ball; in a fixed order: by height."""

    files: Files
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Compute the shape of all point clouds, (N, n, 3)."""
        return len(self.files), self.count, 3

    def read(self, k: int, rng: np.random.Generator | None) -> Float32[np.ndarray, "n 3"]:
        """Sample points on the surface of mesh k, scaled to a radius of 1. Raises BadInput for a file that is no mesh."""
        vertices, faces = read_off(self.files[k].content, self.files[k].name)
        return normalise_points(on_surface(vertices, faces, self.count, rng or np.random.default_rng(k)), up=2)


def window(
    height: int, width: int, size: tuple[int, int], rng: np.random.Generator | None, area: float
) -> tuple[float, float, float, float]:
    """Compute left, top, right, bottom of the part to look at: random, or the largest in the middle of the aspect of `size`.

    >>> window(100, 200, (10, 10), None, 0.08)
    (50.0, 0.0, 150.0, 100.0)
    >>> window(100, 200, (10, 10), None, 1.0)
    (0.0, 0.0, 200.0, 100.0)
    """
    if area >= 1:
        return 0.0, 0.0, float(width), float(height)
    aspect = size[1] / size[0]
    if rng is not None:
        for _ in range(10):
            fraction, ratio = rng.uniform(area, 1), aspect * np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = np.sqrt(fraction * height * width * ratio), np.sqrt(fraction * height * width / ratio)
            if w <= width and h <= height:
                left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
                return float(left), float(top), float(left + w), float(top + h)
    h = min(float(height), width / aspect)
    w = h * aspect
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h


def begin(have: int, want: int, rng: np.random.Generator | None) -> int:
    """Find where a part of `want` begins in `have`: anywhere, or so that it is in the middle; 0 where there is too little.

    >>> begin(10, 4, None), begin(3, 4, None)
    (3, 0)
    """
    fraction = 0.5 if rng is None else float(rng.random())
    return int(fraction * (max(0, have - want) + (rng is not None))) if have > want else 0
