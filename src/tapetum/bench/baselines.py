"""Trackers by name: those with weights, and those without learning, which are floors that a model must clear."""

from collections.abc import Callable, Sized
from typing import Any, Protocol

import numpy as np
from jaxtyping import Num

from tapetum.errors import BadInput
from tapetum.hub.registry import resolve
from tapetum.types import Tracks

Progress = Callable[[int, int], None] | None
"""Is called with the number of frames seen and the number of all frames."""


class Tracker(Protocol):
    """What a benchmark needs of a tracker."""

    def track(self, video: Any, queries: Num[np.ndarray, "n 3"], /, *, progress: Progress = None) -> Tracks:
        """Track queries (frame, x, y in raster pixels) through a whole video or array of frames (t, h, w, 3)."""
        ...


class Static:
    """Every point stays where it was asked for and is always visible.

    >>> Static().track(np.zeros((2, 8, 8, 3), np.uint8), np.array([[1, 3.5, 4.5]])).xy.tolist()
    [[[3.5, 4.5], [3.5, 4.5]]]
    """

    def track(self, video: Sized, queries: Num[np.ndarray, "n 3"], *, progress: Progress = None) -> Tracks:
        """The same place in each of the frames, of which only the number is looked at."""
        shape = len(queries), len(video)
        xy = np.broadcast_to(np.asarray(queries, np.float32)[:, None, 1:], (*shape, 2))
        return Tracks(xy=xy, visible=np.ones(shape, bool), confidence=np.ones(shape, np.float32), queries=queries)


BASELINES = {"static": Static}
"""Trackers without weights, by name."""


def load_tracker(name_or_path: str, device: str | None = None, dtype: str = "float32") -> Tracker:
    """A baseline by name, or whatever `tapetum.load` gives for a name or file of weights, in the precision `dtype`.

    torch is imported only once the file is known to exist. Raises `BadInput` as `tapetum.load`, and for a device that
    is not there.
    """
    if name_or_path in BASELINES:
        return BASELINES[name_or_path]()
    resolve(name_or_path, "track")
    import torch

    import tapetum

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"cannot compute on {device!r} ({reason}); give cpu, or a device of this machine") from error
    tracker = tapetum.load(name_or_path, device=device, dtype=getattr(torch, dtype))
    if not hasattr(tracker, "track"):
        raise BadInput(f"{name_or_path} holds the weights of {type(tracker).__name__}, which tracks nothing; give a tracker's")
    return tracker
