"""Moving an image during a clip, and the effect on its tracks.

An affine map of raster pixels per frame moves an image, or the frames of a clip; points move along exactly.
It is used to augment training clips (`random_motion`), for the view of BootsTAP's student (`moving_window`), and to turn
single images into clips with exact tracks (`tapetum.tracks.training.image_clips`).

Source: `moving_window` and `jpeg` are those of BootsTAP (arXiv 2402.00847, the student's view), `random_motion` is ours.
"""

import io

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, UInt8
from PIL import Image
from torch import Tensor

Maps = Float64[np.ndarray, "t 3 3"]
"""Affine maps of raster pixels, one a frame, as 3x3 matrices on (x, y, 1)."""


def random_motion(
    rng: np.random.Generator,
    frames: int,
    size: int,
    *,
    rotation: float = 45.0,
    zoom: float = 0.35,
    drift: float = 0.15,
) -> Maps:
    """Draw maps of an image of `size` x `size` pixels that rotates, grows or shrinks and drifts smoothly.

    From the first frame to the last it rotates by a normal angle with a standard deviation of `rotation` degrees, is scaled by
    a log-normal factor of `zoom` and drifts by a normal `drift` of `size`; in the middle it is rotated by up to 15 degrees and
    up to a third larger. Half of the maps move at constant speed, the others start or end at rest.
    """
    time = np.linspace(0.0, 1.0, frames) if frames > 1 else np.zeros(1)
    ease = rng.choice(3, p=[0.5, 0.25, 0.25])
    time = (time, time**2, 1 - (1 - time) ** 2)[ease] - 0.5
    angle = np.radians(rng.uniform(-15, 15) + rng.normal(0, rotation) * time)
    scale = np.exp(rng.uniform(-0.1, 0.3) + rng.normal(0, zoom) * time)
    away = rng.normal(0, drift, 2) * size * time[:, None]
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    maps = np.tile(np.eye(3), (frames, 1, 1))
    maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1] = cos, -sin, sin, cos
    maps[:, :2, 2] = size / 2 + away - maps[:, :2, :2] @ np.full(2, size / 2)
    return maps


def moving_window(
    rng: np.random.Generator, frames: int, size: int, area: tuple[float, float], aspect: tuple[float, float]
) -> Maps:
    """Draw maps of a clip of `size` x `size` pixels into a smaller window of the same image that moves and changes its shape.

    The windows at the start and at the end have an area (as a fraction of the image) and aspect within the bounds, inside the
    image; in between, their sides and corner are interpolated linearly.
    """
    ends = np.stack([_window(rng, area, aspect) for _ in range(2)])
    time = np.linspace(0.0, 1.0, frames)[:, None] if frames > 1 else np.zeros((1, 1))
    width, height, left, top = ((1 - time) * ends[0] + time * ends[1]).T
    maps = np.zeros((frames, 3, 3))
    maps[:, 0, 0], maps[:, 1, 1], maps[:, 2, 2] = width, height, 1.0
    maps[:, 0, 2], maps[:, 1, 2] = left * size, top * size
    return maps


def _window(rng: np.random.Generator, area: tuple[float, float], aspect: tuple[float, float]) -> np.ndarray:
    """Width, height, left and top as fractions of the image."""
    fraction, ratio = rng.uniform(*area), np.exp(rng.uniform(*np.log(aspect)))
    width, height = min(1.0, np.sqrt(fraction * ratio)), min(1.0, np.sqrt(fraction / ratio))
    return np.array([width, height, rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)])


def warp_points(maps: Maps, xy: Float[np.ndarray, "n t 2"]) -> Float32[np.ndarray, "n t 2"]:
    """Move points by the map of their frame.

    >>> warp_points(np.diag([2.0, 3.0, 1.0])[None], np.ones((1, 1, 2))).tolist()
    [[[2.0, 3.0]]]
    """
    return (np.einsum("tij,ntj->nti", maps[:, :2, :2], xy) + maps[:, :2, 2]).astype(np.float32)


def warp_frames(
    video: Float[Tensor, "t c h w"], maps: Float[Tensor, "t 3 3"], size: tuple[int, int]
) -> Float[Tensor, "t c height width"]:
    """Draw frames of `size` (height, width) at the positions given by the maps, on zeros; bilinear.

    Reductions to less than half are not filtered.
    """
    (height, width), (h, w) = size, video.shape[2:]
    back = torch.linalg.inv(maps.double())[:, :2]
    # grid_sample counts both images from -1 to 1
    out = torch.tensor([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]], dtype=torch.double)
    into = torch.tensor([[2 / w, 0], [0, 2 / h]], dtype=torch.double)
    theta = into @ back @ out
    theta[:, :, 2] -= 1
    grid = F.affine_grid(theta.to(video), [len(video), 1, height, width], align_corners=False)
    return F.grid_sample(video, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def jpeg(video: UInt8[np.ndarray, "t h w 3"], quality: int) -> UInt8[np.ndarray, "t h w 3"]:
    """Compress frames as JPEG and read them back, at `quality` (1 to 95)."""
    out = np.empty_like(video)
    for frame, target in zip(video, out, strict=True):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=quality)
        target[:] = np.asarray(Image.open(file))
    return out
