"""Interface of point trackers."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from jaxtyping import Num

from tapetum.types import Tracks

Progress = Callable[[int, int], None] | None
"""Is called with the number of frames seen and the number of all frames."""


class Tracker(Protocol):
    """A tracker of points."""

    def track(self, video: Any, queries: Num[np.ndarray, "n 3"], /, *, progress: Progress = None) -> Tracks:
        """Track queries (frame, x, y in raster pixels) through a whole video or array of frames (t, h, w, 3)."""
        ...
