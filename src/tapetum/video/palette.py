"""256 colours for a gif: chosen so that the few pixels of a dot keep their colour beside a large sky.

The usual choices (median cut, octree) share the palette out by numbers of pixels, so the small coloured things that an overlay
is about turn grey. Here each colour counts by the square root of how often it is seen, and the boxes of median cut (Heckbert
1982) are split where their spread is widest, as Wu (1991) does. The colours of frames before fade slowly, so that the palettes
of frames that follow each other are alike and nothing flickers.

What lies between two colours of the palette is dithered by an ordered pattern, which is the same in every frame: it stays where
it is, while errors that are handed on (Floyd and Steinberg 1976) swarm.
"""

import heapq

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.spatial import KDTree

from tapetum.video.types import Frame

_BITS = 5
"""Of each channel: colours that agree in these are one."""
_KEPT = 0.7
"""Of what was seen before, from a frame to the next."""


class Palettes:
    """Turns frames, one after the other, into 256 colours each."""

    def __init__(self, *, dither: bool = True):
        """Begin with no frame seen."""
        self._dither = dither
        self._counts = np.zeros(1 << 3 * _BITS)
        self._sums = np.zeros((1 << 3 * _BITS, 3))

    def indexed(self, frame: Frame) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "k 3"]]:
        """Compute the number of each pixel's colour, and the colours, 256 or fewer."""
        self._count_colours(frame)
        bins = np.flatnonzero(self._counts > 0.05)
        colours = (self._sums[bins] / self._counts[bins, None]).astype(np.float32)
        palette = np.rint(split(colours, np.sqrt(self._counts[bins]))).astype(np.uint8)
        dithered = frame if not self._dither else _dithered(frame, palette)
        present = np.unique(numbers := _bin(dithered))
        nearest = np.zeros(1 << 3 * _BITS, np.uint8)
        middles = np.stack([(present >> shift) % (1 << _BITS) for shift in (2 * _BITS, _BITS, 0)], 1) * 8.0 + 3.5
        counts = self._counts[present, None]
        middles = np.where(counts > 0.05, self._sums[present] / counts.clip(1e-9), middles)
        nearest[present] = KDTree(palette.astype(np.float64)).query(middles)[1]
        return nearest[numbers], palette

    def _count_colours(self, frame: Frame) -> None:
        """Count the colours of a frame."""
        pixels = frame.reshape(-1, 3)
        numbers = _bin(pixels)
        self._counts *= _KEPT
        self._sums *= _KEPT
        self._counts += np.bincount(numbers, minlength=len(self._counts))
        for channel in range(3):
            self._sums[:, channel] += np.bincount(numbers, pixels[:, channel], minlength=len(self._counts))


def _bin(pixels: np.ndarray) -> np.ndarray:
    high = pixels.astype(np.int32) >> (8 - _BITS)
    return (high[..., 0] << 2 * _BITS) | (high[..., 1] << _BITS) | high[..., 2]


def split(colours: Float32[np.ndarray, "n 3"], weights: np.ndarray, most: int = 256) -> Float32[np.ndarray, "k 3"]:
    """Choose `most` colours, or fewer, that stand for n weighted ones: means of boxes, each split where its spread is widest.

    >>> split(np.array([[0, 0, 0], [2, 0, 0], [250, 0, 0]], np.float32), np.array([1.0, 1, 1]), 2).tolist()
    [[1.0, 0.0, 0.0], [250.0, 0.0, 0.0]]
    """
    done: list[np.ndarray] = []
    heap: list[tuple[float, int, np.ndarray, int]] = []

    def offer(box: np.ndarray) -> None:
        own, weight = colours[box], weights[box]
        middle = weight @ own / weight.sum()
        variance = weight @ (own - middle) ** 2
        axis = int(variance.argmax())
        if len(box) > 1 and variance[axis] > 1e-6:
            heapq.heappush(heap, (-float(variance[axis]), int(box[0]), box, axis))
        else:
            done.append(box)

    offer(np.arange(len(colours)))
    while heap and len(heap) + len(done) < most:
        _, _, box, axis = heapq.heappop(heap)
        along = colours[box, axis]
        below = along <= weights[box] @ along / weights[box].sum()
        offer(box[below])
        offer(box[~below])
    boxes = sorted([*done, *(entry[2] for entry in heap)], key=lambda box: box[0])
    return np.stack([weights[box] @ colours[box] / weights[box].sum() for box in boxes]).astype(np.float32)


def _pattern() -> Float32[np.ndarray, "8 8"]:
    """Bayer's ordered pattern (1973): -0.5..0.5, each value once."""
    pattern = np.zeros((1, 1))
    for _ in range(3):
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    return ((pattern + 0.5) / 64 - 0.5).astype(np.float32)


def _dithered(frame: Frame, palette: UInt8[np.ndarray, "k 3"]) -> Frame:
    """The frame with the pattern added, as strong as colours of the palette are apart."""
    if len(palette) < 3:
        return frame
    apart = float(np.median(KDTree(palette.astype(np.float64)).query(palette, k=2)[0][:, 1]))
    height, width = frame.shape[:2]
    pattern = np.tile(_pattern(), (height // 8 + 1, width // 8 + 1))[:height, :width, None]
    return np.clip(np.rint(frame + pattern * (0.7 * apart)), 0, 255).astype(np.uint8)
