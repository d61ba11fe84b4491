"""Moving an image during a clip, and the effect on its tracks: an affine map or homography of raster pixels per frame.

Source: `moving_window` and `jpeg` are those of BootsTAP (arXiv 2402.00847, the student's view), `roll` and `shaken_corners`
those of TAPNext++ (arXiv 2604.10582, `tapnextpp/augmentations` of google-deepmind/tapnet), `random_motion` is ours.
"""

import io

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, UInt8
from PIL import Image
from torch import Tensor

Maps = Float64[np.ndarray, "t 3 3"]
"""Affine maps or homographies of raster pixels, one a frame, as 3x3 matrices on (x, y, 1)."""


def random_motion(
    rng: np.random.Generator, frames: int, size: int, *, rotation: float = 45.0, zoom: float = 0.35, drift: float = 0.15
) -> Maps:
    """Draw maps of an image of `size` x `size` pixels that rotates, grows or shrinks and drifts smoothly.

    From the first frame to the last it rotates by a normal angle of `rotation` degrees, is scaled by a log-normal factor of
    `zoom` and drifts by a normal `drift` of `size`; in the middle it is rotated by up to 15 degrees and up to a third larger.
    Half of the maps move at constant speed, the others start or end at rest.
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
    """Draw maps of a clip of `size` x `size` pixels into a smaller window of the same image that moves and changes its shape,
    from one within the bounds of `area` (as a fraction of the image) and aspect to another, linearly."""
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


def _sway(rng: np.random.Generator, frames: int, count: int, low: float, high: float) -> Float64[np.ndarray, " t"]:
    """Add up sines that begin at 0: `count` slow ones of amplitudes up to `low`, and as many quick ones of up to `high`."""
    time, total = np.arange(frames)[:, None] / frames, np.zeros(frames)
    for most, slowest, quickest in ((low, 1, 4), (high, 8, 16)):
        amplitude, frequency = rng.uniform(0, most, count), rng.uniform(slowest, quickest, count) * np.pi
        phase = rng.uniform(0, 2 * np.pi, count)
        total += (amplitude * (np.sin(time * frequency + phase) - np.sin(phase))).sum(1)
    return total


def roll(
    rng: np.random.Generator, video: Float[Tensor, "t c side side"], xy: Float[np.ndarray, "n t 2"]
) -> tuple[Float[Tensor, "t c side side"], Float32[np.ndarray, "n t 2"]]:
    """Shift frames and points cyclically, with a margin of zeros, and rotate them about the middle, as TAPNext++ does.

    What leaves the image on one side comes back on the other. Shifts are those of the public code at 256 pixels, in proportion
    to the side; unlike there, frames keep their size.
    """
    frames, side = len(video), video.shape[-1]
    margin, scale = int(np.ceil((np.sqrt(2) - 1) * side / 2)), side / 256
    far = ((30, 10), (20, 7))
    shift = np.stack([_sway(rng, frames, 5, low * scale, high * scale).round() for low, high in far], -1)
    wide, padded = side + 2 * margin, F.pad(video, (margin,) * 4)
    rolled = torch.stack([f.roll((int(down), int(right)), (1, 2)) for f, (right, down) in zip(padded, shift, strict=True)])
    angle, middle = np.radians(_sway(rng, frames, 5, 10, 5)), wide // 2 + 0.5
    maps = np.tile(np.eye(3), (frames, 1, 1))
    maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angle)
    maps[:, 0, 1], maps[:, 1, 0] = np.sin(angle), -np.sin(angle)
    maps[:, :2, 2] = middle - margin - maps[:, :2, :2].sum(2) * middle
    return warp_frames(rolled, torch.from_numpy(maps), (side, side)), warp_points(maps, (xy + margin + shift) % wide)


def shaken_corners(rng: np.random.Generator, frames: int, side: int) -> Maps:
    """Draw homographies of an image of `side` x `side` pixels whose corners sway inwards, as TAPNext++ does.

    Each corner stays in the outer 30 % of the sides.
    """
    corners, span = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]) * (side - 1), 0.3 * side
    away = np.stack([np.abs(_sway(rng, frames, 3, 0.05, 0.02)) for _ in range(8)], -1).reshape(frames, 4, 2) * side
    least = np.where(corners > 0, side - 1 - span, 0.0)
    moved = corners + np.where(corners > 0, -away, away) - least
    moved = least + span - np.abs(moved % (2 * span) - span) + 0.5  # back and forth between the bounds; raster pixels
    (x, y), (u, v) = (corners + 0.5).T, np.moveaxis(moved, 2, 0)
    zero, one, x, y = (np.broadcast_to(value, u.shape) for value in (0.0, 1.0, x, y))
    across = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    down = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    solved = np.linalg.solve(np.concatenate([across, down], 1), np.concatenate([u, v], 1)[..., None])[..., 0]
    return np.append(solved, np.ones((frames, 1)), 1).reshape(frames, 3, 3)


def warp_points(maps: Maps, xy: Float[np.ndarray, "n t 2"]) -> Float32[np.ndarray, "n t 2"]:
    """Move points by the map of their frame."""
    moved = np.einsum("tij,ntj->nti", maps[:, :, :2], xy) + maps[:, :, 2]
    return (moved[..., :2] / moved[..., 2:]).astype(np.float32)


def warp_frames(
    video: Float[Tensor, "t c h w"], maps: Float[Tensor, "t 3 3"], size: tuple[int, int]
) -> Float[Tensor, "t c height width"]:
    """Draw frames of `size` (height, width) at the positions given by the maps, on zeros; bilinear.

    Reductions to less than half are not filtered.
    """
    (height, width), (h, w) = size, video.shape[2:]
    back = torch.linalg.inv(maps.double())
    # grid_sample counts both images from -1 to 1
    out = torch.tensor([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]], dtype=torch.double)
    into = torch.tensor([[2 / w, 0], [0, 2 / h]], dtype=torch.double)
    shape = [len(video), 1, height, width]
    if bool((maps[:, 2, :2] == 0).all()):
        theta = into @ back[:, :2] @ out
        theta[:, :, 2] -= 1
        grid = F.affine_grid(theta.to(video), shape, align_corners=False)
    else:
        places = F.affine_grid(torch.eye(2, 3, dtype=torch.double).expand(len(video), 2, 3), shape, align_corners=False)
        x, y, depth = (F.pad(places, (0, 1), value=1.0) @ (back @ out).mT[:, None]).unbind(-1)
        grid = torch.stack([x / depth * 2 / w - 1, y / depth * 2 / h - 1], -1).to(video)
    return F.grid_sample(video, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def jpeg(video: UInt8[np.ndarray, "t h w 3"], quality: int) -> UInt8[np.ndarray, "t h w 3"]:
    """Compress frames as JPEG and read them back, at `quality` (1 to 95)."""
    out = np.empty_like(video)
    for frame, target in zip(video, out, strict=True):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=quality)
        target[:] = np.asarray(Image.open(file))
    return out
