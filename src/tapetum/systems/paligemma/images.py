"""Preprocessing of images: resizing to a square, values -1..1; and selection of video frames.

Source: PaliGemma (arXiv 2407.07726), its public code (`pp/ops_image.py`, `pp/proj/paligemma/video.py`), `transformers` 5.24.
Images are neither cropped nor padded, so the aspect ratio is lost. Four modes, by name:

    "reference"        bilinear with antialias, cut (not rounded) to 8 bits      VQAv2, TextVQA, DocVQA and most with text
    "reference-plain"  bilinear from the four nearest pixels, cut to 8 bits      captions, GQA, NLVR2, RefCOCO, ScienceQA, POPE
    "reference-video"  the same, kept as it is                                   frames of videos
    "transformers"     bicubic with antialias, rounded to 8 bits, by Pillow; by torchvision, the default there, a number is
                       one off here and there

The reference's values are reproduced bit for bit: the sums of its `tf.image.resize` are computed in the same order and in
float32. They are truncated to integers, so in uniform areas, such as paper, another order of summation changes many pixels.

    antialias     rows, then columns: each new row is    w0 * row + w1 * next row + ...    over all that a triangle covers
    four nearest  columns, then rows: each is            one + (other - one) * share
"""

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from PIL import Image
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.video import Video
from tapetum.video.images import ImageVideo
from tapetum.video.read import in_memory, open_video, read_image

Resize = Literal["reference", "reference-plain", "reference-video", "transformers"]
_F = np.float32
RESIZES: tuple[Resize, ...] = ("reference", "reference-plain", "reference-video", "transformers")


def prepare(frames: UInt8[np.ndarray, "n h w 3"], size: int, resize: Resize = "reference") -> Float[Tensor, "n 3 size size"]:
    """Resize images of one size to a square of `size` pixels, float32 -1..1. Raises BadInput for other arrays and modes.

    >>> prepare(np.zeros((2, 30, 40, 3), np.uint8), 28).shape
    torch.Size([2, 3, 28, 28])
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise BadInput(f"images are {frames.dtype} {frames.shape}; wanted uint8 (n, h, w, 3)")
    if resize not in RESIZES:
        raise BadInput(f"there is no way to resize called {resize!r}; it is one of {', '.join(RESIZES)}")
    if resize == "transformers":
        square = [Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC) for frame in frames]
        return _scaled(torch.from_numpy(np.stack([np.asarray(each) for each in square])).permute(0, 3, 1, 2).float())
    made = np.stack([resize_square(frame, size, antialias=resize == "reference") for frame in frames])
    x = torch.from_numpy(made).permute(0, 3, 1, 2).clamp(0, 255)
    return _scaled(x if resize == "reference-video" else x.floor())


def _scaled(x: Tensor) -> Tensor:
    return x.contiguous() * (2 / 255) - 1


def read_images(source: Any, frames: int | None = None) -> UInt8[np.ndarray, "n h w 3"]:
    """Read one image, or with `frames` that many frames of a video, chosen by `spread_frames`.

    `source` is whatever `open_video` opens, or one image in memory (`video.read`). Raises BadInput if it cannot be read, and
    for a video or an animated image without `frames`.
    """
    return read_numbered(source, frames)[0]


def read_numbered(source: Any, frames: int | None = None) -> tuple[UInt8[np.ndarray, "n h w 3"], list[int]]:
    """Read like `read_images`, with the number of each frame in its video."""
    if in_memory(source) and not isinstance(source, Video) and getattr(source, "ndim", 3) != 4:
        return read_image(source)[None], [0]
    video = open_video(source)
    count = len(video)
    if frames is None and count > 1:
        what = f"an animation of {count} frames" if isinstance(video, ImageVideo) else f"a video of {count} frames"
        raise BadInput(f"{video.name} is {what}; show some of them with --frames, such as --frames 16, or give one image")
    numbers = [0] if count == 1 or frames is None else spread_frames(count, frames)
    return video[numbers], numbers


def spread_frames(count: int, frames: int) -> list[int]:
    """Choose the middle frames of `frames` equal parts of a video; frames of a short one repeat.

    >>> spread_frames(100, 4), spread_frames(2, 4)
    ([12, 37, 62, 87], [0, 0, 1, 1])
    """
    _check_frames(count, frames)
    return [min(int((k + 0.5) * count / frames), count - 1) for k in range(frames)]


def strided_frames(count: int, frames: int, stride: int, first: int = 0) -> list[int]:
    """Choose every `stride`-th frame from `first` on, as in the reference's video tasks; a short clip repeats.

    >>> strided_frames(100, 4, 9), strided_frames(20, 4, 9)
    ([0, 9, 18, 27], [0, 9, 18, 0])
    """
    _check_frames(count, frames)
    if stride < 1 or not 0 <= first < count:
        raise BadInput(
            f"frames begin at {first} and are {stride} apart; wanted a start within the {count} frames and 1 or more"
        )
    there = list(range(first, count, stride))[:frames]
    return [there[k % len(there)] for k in range(frames)]


def _check_frames(count: int, frames: int) -> None:
    if count < 1 or frames < 1:
        raise BadInput(f"asked for {frames} frames of a video of {count}; both must be 1 or more")


def resize_square(image: UInt8[np.ndarray, "h w 3"], size: int, antialias: bool = True) -> Float32[np.ndarray, "size size 3"]:
    """Resize an image to a square of `size` pixels, values 0 to 255, not rounded."""
    if antialias:
        return _along(_along(image, size).swapaxes(0, 1), size).swapaxes(0, 1)
    return _between(_between(image.swapaxes(0, 1), size).swapaxes(0, 1), size)


def _between(x: np.ndarray, size: int) -> np.ndarray:
    """Resize the first axis, each new position from the two nearest old ones."""
    count = len(x)
    at = (np.arange(size, dtype=_F) + _F(0.5)) * (_F(count) / _F(size)) - _F(0.5)
    before = np.floor(at)
    share = (at - before).reshape(-1, *[1] * (x.ndim - 1))
    one, other = x[np.maximum(before, 0).astype(np.int64)], x[np.minimum(np.ceil(at), count - 1).astype(np.int64)]
    one, other = one.astype(_F, copy=False), other.astype(_F, copy=False)
    return one + (other - one) * share


def _along(x: np.ndarray, size: int) -> np.ndarray:
    sources, weights = _spans(x.shape[0], size)
    out = np.zeros((size, *x.shape[1:]), _F)
    for k in range(sources.shape[1]):
        out += weights[:, k].reshape(-1, *[1] * (x.ndim - 1)) * x[sources[:, k]].astype(_F, copy=False)
    return out


def _spans(count: int, size: int) -> tuple[Int64[np.ndarray, "size n"], Float32[np.ndarray, "size n"]]:
    """For each new position, the old ones it is computed from and their weights: a triangle two steps wide."""
    step = _F(1) / (_F(size) / _F(count))
    half = max(step, _F(1))
    middle = (np.arange(size, dtype=_F) + _F(0.5)) * step
    first = np.clip(np.ceil(middle - half - _F(0.5)), 0, count - 1).astype(np.int64)
    last = np.clip(np.floor(middle + half - _F(0.5)), 0, count - 1).astype(np.int64)
    sources = first[:, None] + np.arange(int((last - first).max()) + 1)
    away = np.abs((sources.astype(_F) + _F(0.5) - middle[:, None]) * (_F(1) / half))
    weights = np.where(sources <= last[:, None], np.maximum(_F(1) - away, _F(0)), _F(0))
    total = np.zeros(size, _F)
    for column in weights.T:  # one after the other, as there; a sum in pairs would be another one
        total += column
    return np.minimum(sources, count - 1), weights * (_F(1) / total)[:, None]
