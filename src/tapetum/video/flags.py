"""Frames that training may want to leave out: nothing moves, the image is blurred, or another scene starts.

    static      no block of 8x8 pixels differs from the previous frame by more than 3 grey levels in its mean
    blurred     the variance of the Laplacian (Pertuz et al., Pattern Recognition 46, 2013) is below 0.4 of its
                median in this scene, from one cut to the next
    cut         the colours differ from the previous frame by more than half, averaged over the quarters of the image

The first frame is static if the second is, and never a cut. The limits are ours: blocks, because compression changes single
pixels of still regions; the median, because the sharpness of a sharp frame depends on the scene.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64

from tapetum.video.types import Frame

FLAGS = ("static", "blurred", "cut")
_BLOCK, _STILL, _SHARP, _OTHER = 8, 3.0, 0.4, 0.5


def flag_frames(frames: Iterable[Frame]) -> dict[str, np.ndarray]:
    """Compute the flags of the frames of a video, each bool (t,), by name; frames are processed one by one."""
    moved, sharp, differs = [], [], []
    blocks = colours = None
    for frame in frames:
        grey = frame.astype(np.float64) @ (0.299, 0.587, 0.114)
        now, hues = _block_means(grey), _histograms(frame)
        moved.append(np.inf if blocks is None else float(np.abs(now - blocks).max()))
        differs.append(0.0 if colours is None else float(np.abs(hues - colours).sum(-1).mean() / 2))
        sharp.append(_laplacian_variance(grey))
        blocks, colours = now, hues
    still = np.array(moved) <= _STILL
    if len(still) > 1:
        still[0] = still[1]
    cut = np.array(differs) > _OTHER
    scenes = np.split(np.array(sharp), np.flatnonzero(cut))
    blurred = np.concatenate([scene < _SHARP * np.median(scene) for scene in scenes])
    return {"static": still, "blurred": blurred, "cut": cut}


def _block_means(grey: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, "r c"]:
    height, width = (max(1, side // _BLOCK) for side in grey.shape)
    rows, columns = np.array_split(grey, height), np.arange(width) * grey.shape[1] // width
    means = [np.add.reduceat(part.mean(0), columns) for part in rows]
    return np.stack(means) / np.diff([*columns, grey.shape[1]])


def _histograms(frame: Frame) -> Float64[np.ndarray, "4 64"]:
    """The fractions of 4x4x4 colours in each quarter of an image."""
    codes = (frame >> 6).astype(np.int64) @ (16, 4, 1)
    quarters = [part for half in np.array_split(codes, 2) for part in np.array_split(half, 2, axis=1)]
    return np.stack([np.bincount(part.ravel(), minlength=64) / max(1, part.size) for part in quarters])


def _laplacian_variance(grey: Float64[np.ndarray, "h w"]) -> float:
    if min(grey.shape) < 3:
        return 0.0
    inner = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return float(inner.var())
