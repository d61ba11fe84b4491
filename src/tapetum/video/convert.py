"""Conversion of a decoded frame to upright RGB: matrix and range of its colours, depth, alpha, display matrix."""

from contextlib import suppress

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from tapetum.video.arrays import as_rgb
from tapetum.video.types import Frame

IDENTITY = (1, 0, 0, 1)
"""Display matrix of a frame that is upright."""

_KNOWN_MATRICES = frozenset((0, 1, 2, 4, 5, 6, 7, 9))
"""Values of AVColorSpace that the scaler can convert."""
_ACCURATE = 0x40000
"""Flag of the scaler: no short cuts in rounding (SWS_ACCURATE_RND), worth its time above 8 bits."""
_BT2020_CONSTANT, _BT2020, _UNSPECIFIED = 10, 9, 2


def upright_rgb(frame: VideoFrame, display: tuple[int, int, int, int], scaler: VideoReformatter) -> Frame:
    """Convert a frame to uint8 (h, w, 3), rotated by `display`.

    The frame's own tags give the matrix and range of its YUV; without a tag BT.601, limited range, is assumed, as in
    FFmpeg. Transfer curves and primaries are ignored (no HDR tone mapping). Alpha is composited on black. `scaler`
    keeps its tables from frame to frame; it serves one thread at a time.
    """
    if frame.colorspace not in _KNOWN_MATRICES:
        frame.colorspace = _BT2020 if frame.colorspace == _BT2020_CONSTANT else _UNSPECIFIED
    if frame.color_range > 2:
        frame.color_range = 0
    components = frame.format.components
    deep = max(component.bits for component in components) > 8
    flags = Interpolation.BILINEAR | (_ACCURATE if deep else 0)
    clear = frame.format.has_palette or any(component.is_alpha for component in components)
    rgb = scaler.reformat(frame, format="rgba" if clear else "rgb24", interpolation=flags, threads=1)
    pixels = as_rgb(rgb.to_ndarray()) if clear or rgb is frame else rgb.to_ndarray()  # the decoder keeps its own frame
    return np.ascontiguousarray(apply_display_matrix(pixels, display))


def read_display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Read the signs (a, b, c, d) of the frame's display matrix, rounded to the nearest quarter turn or mirror image.

    The matrix sends a pixel (x, y) to (a x + c y, b x + d y), x to the right and y down.
    """
    with suppress(KeyError):
        matrix = bytes(frame.side_data["DISPLAYMATRIX"])  # pyright: ignore[reportGeneralTypeIssues]
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(np.int64)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return int(a >= 0) * 2 - 1, 0, 0, int(d >= 0) * 2 - 1
        return 0, int(b >= 0) * 2 - 1, int(c >= 0) * 2 - 1, 0
    return IDENTITY


def apply_display_matrix(pixels: np.ndarray, display: tuple[int, int, int, int]) -> np.ndarray:
    """Rotate and mirror pixels (h, w, ...) by a display matrix.

    >>> apply_display_matrix(np.array([[1, 2, 3]]), (0, 1, -1, 0)).tolist()  # a quarter turn clockwise
    [[1], [2], [3]]
    """
    a, b, c, d = display
    if a == 0:
        pixels = pixels.swapaxes(0, 1)
        a, d = c, b
    return pixels[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]
