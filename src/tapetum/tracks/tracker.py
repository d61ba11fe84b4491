"""Interface of point trackers, and the result per frame of those that take frames one by one."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int64, Num

from tapetum.core.errors import BadInput
from tapetum.types import Tracks

Progress = Callable[[int, int], None] | None
"""Is called with the number of frames seen and the number of all frames."""


class Tracker(Protocol):
    """A tracker of points."""

    def track(self, video: Any, queries: Num[np.ndarray, "n 3"], /, *, progress: Progress = None) -> Tracks:
        """Track queries (frame, x, y in raster pixels) through a whole video or array of frames (t, h, w, 3)."""
        ...


@dataclass(frozen=True)
class FrameTracks:
    """Positions of the points of a stream in one frame."""

    xy: Float[np.ndarray, "n 2"]
    """Raster pixels of the frame."""
    visible: Bool[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    """0..1; above 0.5 a point counts as visible."""
    ids: Int64[np.ndarray, " n"]
    """Of the points: 0, 1, ... in the order in which they were asked for, the same through all frames."""
    covariance: Float[np.ndarray, "n 2 2"] | None = None
    """Of the error of `xy` where a point is visible, in square pixels; None where a tracker has none."""


def check_redetects(tracker: Any) -> None:
    """Raise `BadInput` for a tracker of live frames that has no `redetect`."""
    if "redetect" not in inspect.signature(tracker.start).parameters:
        kind = type(tracker).__name__
        raise BadInput(f"{kind} has no redetect; give one of the TAPIR family, such as causal-tapir-nano, or leave it out")
