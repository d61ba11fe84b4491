"""Mask propagation: carrying a first frame's mask through a video by untuned features (arXiv 2006.14613, section 3.3; DINO).

    first frame, its mask -----.
    the last frames, as found --+--> for each cell of the present frame the cells most alike, not too far away,
    the present frame ---------'     vote on what it is, each by exp(cosine / temperature)

Fractions of objects are passed from frame to frame, not decisions. For an image, the fractions are enlarged, each object's are
stretched to 0..1, and the largest one wins. Images are taken whole, at their own aspect ratio (`prepare_whole`): nothing is
cropped, so every cell keeps its position in them.

As in DINO's script. Differs: affinities are computed one row of cells at a time, so memory stays small.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder, prepare
from tapetum.transfer.config import PropagationConfig

Look = Callable[[UInt8[np.ndarray, "h w 3"]], Float[Tensor, "d h w"]]
"""What makes a map of features of an image."""
_ROUND = 64


def whole_size(rows: int, columns: int, short_side: int, stride: int) -> tuple[int, int]:
    """Find the size at which an image is encoded: the shorter side as requested, the longer rounded down to a multiple of 64.

    Both are multiples of `stride`, the pixels of the encoder's coarsest cell (DINO's script for DAVIS, if strides allow).

    >>> whole_size(480, 854, 480, 16), whole_size(480, 854, 480, 14), whole_size(20, 10, 8, 32)
    ((480, 832), (476, 854), (32, 32))
    """
    longer = short_side * max(rows, columns) // min(rows, columns)
    unit = _ROUND if _ROUND % stride == 0 and longer >= _ROUND else stride
    short, long = max(short_side // stride, 1) * stride, max(longer // unit, 1) * unit
    return (short, long) if rows <= columns else (long, short)


def prepare_whole(encoder: Encoder, image: UInt8[np.ndarray, "h w 3"], short_side: int) -> Float[Tensor, "1 3 H W"]:
    """Prepare a whole image for an encoder, on its device; only the rounding of `whole_size` changes the shape."""
    rows, columns = image.shape[:2]
    size = whole_size(rows, columns, short_side, max(encoder.strides))
    how = replace(encoder.preprocessing, size=size, resize="squash", crop_fraction=1.0)
    return prepare(image[None], how, next(encoder.parameters()).device)


def level_of(encoder: Encoder, stride: int) -> int:
    """Choose the map for cells of `stride` pixels: the coarsest that is no coarser, else the finest."""
    fitting = [level for level, own in enumerate(encoder.strides) if own <= stride]
    return fitting[-1] if fitting else 0


class Propagator:
    """Propagates fractions of objects from frame to frame."""

    def __init__(self, features: Float[Tensor, "d h w"], shares: Float[Tensor, "c h w"], config: PropagationConfig):
        """Begin with the first frame and its mask. Raises BadInput for maps of two sizes, and values that are not finite."""
        if features.shape[1:] != shares.shape[1:]:
            raise BadInput(f"features are {tuple(features.shape)} and shares {tuple(shares.shape)}; give maps of one size")
        self.config = config
        self.first = _unit(features), shares.float()
        self.last: deque[tuple[Tensor, Tensor]] = deque(maxlen=config.context)

    @torch.no_grad()
    def step(self, features: Float[Tensor, "d h w"]) -> Float[Tensor, "c h w"]:
        """Compute the next frame's fractions. Raises BadInput for a map of another size, and values that are not finite."""
        if features.shape != self.first[0].shape:
            raise BadInput(f"features are {tuple(features.shape)} after {tuple(self.first[0].shape)}; frames have one size")
        own = _unit(features)
        kept = [self.first, *self.last]
        keys, shares = torch.stack([pair[0] for pair in kept]), torch.stack([pair[1] for pair in kept])
        current = torch.stack([self._row(own, keys, shares, row) for row in range(own.shape[1])], 1)
        self.last.append((own, current))
        return current

    def _row(self, own: Tensor, keys: Tensor, shares: Tensor, row: int) -> Float[Tensor, "c w"]:
        """Compute the fractions of one row of cells."""
        width = own.shape[2]
        radius = min(self.config.radius, width - 1)
        near = slice(max(row - self.config.radius, 0), row + self.config.radius + 1)
        keys, shares = keys[:, :, near], shares[:, :, near]
        columns = torch.arange(width, device=own.device)[:, None] + torch.arange(-radius, radius + 1, device=own.device)
        beyond, columns = (columns < 0) | (columns >= width), columns.clamp(0, width - 1)  # (w, window)
        alike = torch.einsum("dq,fdrk->qfrk", own[:, row], keys)
        alike = alike.gather(3, columns[:, None, None].expand(-1, *alike.shape[1:3], -1))
        alike = alike.masked_fill(beyond[:, None, None], -torch.inf).flatten(1)
        best, which = alike.topk(min(self.config.neighbours, alike.shape[1]), 1)
        weights = (best / self.config.temperature).softmax(1)
        window = columns.shape[1]
        cell = which // window * width + columns.gather(1, which % window)  # frame, row and column in one number
        return (shares.movedim(1, 0).flatten(1)[:, cell] * weights).sum(-1)


def carry(
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    first: Int[np.ndarray, "h w"],
    look: Look,
    config: PropagationConfig | None = None,
) -> Iterator[Int[np.ndarray, "h w"]]:
    """Propagate the first frame's mask: return a map of numbers for every frame, the first one unchanged.

    Args:
        frames: of a video, in order.
        first: number of the object at every pixel of the first frame; 0 is background.
        look: computes a map of features of a frame.
        config: by default as in DINO.

    Raises:
        BadInput: the mask is empty or of another size than the frames.
    """
    first = np.asarray(first)
    numbers = np.unique(first)
    numbers = np.concatenate([[0], numbers[numbers != 0]])
    if len(numbers) < 2:
        raise BadInput("the first mask has no object; give one with a number above 0 where an object is")
    propagator = None
    for k, frame in enumerate(frames):
        if frame.shape[:2] != first.shape:
            raise BadInput(f"frame {k} is {frame.shape[1]}x{frame.shape[0]} and the mask {first.shape[1]}x{first.shape[0]}")
        if propagator is None:
            features = look(frame)
            propagator = Propagator(features, shares_of(first, numbers.tolist(), features), config or PropagationConfig())
            yield first
        else:
            shares = propagator.step(look(frame))
            yield numbers[decided(shares, first.shape)].astype(first.dtype)


def shares_of(first: Int[np.ndarray, "h w"], numbers: Sequence[int], like: Tensor) -> Float[Tensor, "c h2 w2"]:
    """Compute the fraction of each number at the cells of a map: 1 at the pixel nearest to the cell's centre, or 0."""
    rows, columns = (((torch.arange(n) + 0.5) * m / n).long() for n, m in zip(like.shape[1:], first.shape, strict=True))
    small = torch.from_numpy(first.astype(np.int64))[rows][:, columns]
    return torch.stack([small == number for number in numbers]).float().to(like.device)


def decided(shares: Float[Tensor, "c h w"], size: Sequence[int]) -> Int[np.ndarray, "h2 w2"]:
    """Choose one object for each pixel of an image of `size` (rows, columns): its index among the fractions."""
    large = F.interpolate(shares[None], (int(size[0]), int(size[1])), mode="bilinear", align_corners=False)[0]
    low, high = (bound(large.flatten(1), 1).values[:, None, None] for bound in (torch.min, torch.max))
    present = (high > 0) & (high > low)
    return torch.where(present, (large - low) / (high - low).clamp(min=1e-12), large).argmax(0).cpu().numpy()


def _unit(features: Tensor) -> Tensor:
    if not torch.isfinite(features).all():
        raise BadInput("features hold values that are not finite; mend the images or the network")
    return F.normalize(features.float(), dim=0)
