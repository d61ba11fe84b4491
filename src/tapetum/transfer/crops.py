"""Images and their classes of pixels, scaled, cut and mirrored alike."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from tapetum.transfer.segmentation import IGNORED


def cropped(
    image: UInt8[np.ndarray, "h w 3"],
    truth: Int64[np.ndarray, "h w"],
    size: tuple[int, int],
    rng: np.random.Generator | None,
) -> tuple[Float[Tensor, "3 H W"], Int64[Tensor, "H W"]]:
    """Bring an image (0..255) and its truth to `size`: whole without `rng`, else 0.5 to 2 times as large, cut and mirrored.

    What lies beyond the image is grey and does not count.
    """
    scale = 1.0 if rng is None else _scale(rng)
    rows, columns = (max(1, round(side * scale)) for side in size)
    x, y = scaled(image, truth, (rows, columns))
    return (x, y) if rng is None else _cut(x, y, size, rng)


def cut_at_own_scale(
    image: UInt8[np.ndarray, "h w 3"], truth: Int64[np.ndarray, "h w"], size: tuple[int, int], rng: np.random.Generator
) -> tuple[Float[Tensor, "3 H W"], Int64[Tensor, "H W"]]:
    """Make an image 0.5 to 2 times as large as it is, in its own shape, then cut and mirror it."""
    scale = _scale(rng)
    rows, columns = (max(1, round(side * scale)) for side in truth.shape)
    return _cut(*scaled(image, truth, (rows, columns)), size, rng)


def scaled(
    image: UInt8[np.ndarray, "h w 3"], truth: Int64[np.ndarray, "h w"], size: tuple[int, int]
) -> tuple[Float[Tensor, "3 H W"], Int64[Tensor, "H W"]]:
    """Bring an image (0..255) and its truth to a size."""
    x = torch.from_numpy(np.array(image)).movedim(-1, 0)[None].float()
    x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)[0]
    y = F.interpolate(torch.from_numpy(np.array(truth))[None, None].double(), size, mode="nearest-exact")
    return x, y[0, 0].long()


def _scale(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))


def _cut(x: Tensor, y: Tensor, size: tuple[int, int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    below, right = max(size[0] - y.shape[0], 0), max(size[1] - y.shape[1], 0)
    x, y = F.pad(x, (0, right, 0, below), value=127.0), F.pad(y, (0, right, 0, below), value=IGNORED)
    top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(y.shape, size, strict=True))
    x, y = x[:, top : top + size[0], left : left + size[1]], y[top : top + size[0], left : left + size[1]]
    return (x.flip(-1), y.flip(-1)) if rng.random() < 0.5 else (x, y)
