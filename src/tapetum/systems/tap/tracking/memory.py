"""How many frames are worked on at a time, so that memory stays within bounds whatever the video."""

from tapetum.core.errors import BadInput
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.network.types import Size
from tapetum.systems.tap.tracking.windows import Window, plan

FEATURE_BYTES = 1 << 30
"""Features of at most this size are held at a time, if no window is asked for."""
ACTIVATION_BYTES = 1 << 24
"""So many frames go through the image network at a time that neither they nor its largest activation, in float32, take more,
if nothing else is asked for."""
LEAST_WINDOW = 48
"""Frames; a window is not made shorter than this to save memory."""
MOST_OVERLAP = 24
"""Frames that two windows share, if nothing else is asked for."""


def plan_windows(
    config: TapirConfig, resolutions: tuple[Size, ...], frames: int, half: bool, window: int | None, overlap: int | None
) -> list[Window]:
    """Plan the windows that are asked for, or as long ones as memory allows; a causal network needs no overlap.

    Raises BadInput for windows that leave no frame for themselves, or share none where they must.
    """
    window = window or affordable(config, resolutions, frames, half)
    if overlap is None:
        overlap = min(MOST_OVERLAP, window // 3)
    if window < 1 or not 0 <= overlap < window or (overlap == 0 and not config.causal and window < frames):
        raise BadInput(f"windows of {window} frames that share {overlap}: give a window above an overlap above 0")
    return plan(frames, window, 0 if config.causal else overlap)


def affordable(config: TapirConfig, resolutions: tuple[Size, ...], frames: int, half: bool) -> int:
    """Count the frames whose features fit in FEATURE_BYTES: in float32 if all `frames` do, else in float16 if `half`."""
    cells = sum(height * width for height, width in {config.initial_resolution, *resolutions})
    each = cells * (4 * config.hires_dim + 2 * config.lowres_dim) // 16
    fit = FEATURE_BYTES // each
    return max(LEAST_WINDOW, 2 * fit if half and frames > fit else fit)


def frames_at_a_time(config: TapirConfig, resolutions: tuple[Size, ...], size: Size) -> int:
    """Count the frames that fit in ACTIVATION_BYTES, as float32, before they are resized and after the stem (stride 2)."""
    pixels = max(height * width for height, width in {config.initial_resolution, *resolutions})
    return max(1, ACTIVATION_BYTES // max(pixels * config.stem_channels, 12 * size[0] * size[1]))
