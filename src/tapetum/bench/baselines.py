"""Trackers by name, in the picture and in space: with weights, and without learning, floors that a model must clear."""

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Num

from tapetum.errors import BadInput
from tapetum.hub.registry import resolve
from tapetum.types import Tracks

if TYPE_CHECKING:
    from tapetum.tapvid3d.baselines import Static as Static3D
    from tapetum.tapvid3d.lift import Lifted
    from tapetum.tapvid3d.reconstruction.adjust import AdjustedTracker

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
        """Track the same place in each of the frames, of which only the number is looked at."""
        shape = len(queries), len(video)
        xy = np.broadcast_to(np.asarray(queries, np.float32)[:, None, 1:], (*shape, 2))
        return Tracks(xy=xy, visible=np.ones(shape, bool), confidence=np.ones(shape, np.float32), queries=queries)


BASELINES = {"static": Static}
"""Trackers without weights, by name."""


def load_tracker(name_or_path: str, device: str | None = None, dtype: str = "float32") -> Tracker:
    """Load a baseline by name, or whatever `tapetum.load` gives for a name or file of weights, in the precision `dtype`.

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


def load_tracker3d(name: str, depth: str | None = None, device: str | None = None) -> "Static3D | Lifted | AdjustedTracker":
    """Load a 3D tracker: `static`, or a 2D tracker (as `tapetum.load` takes it) lifted by a source of depth (as `load_depth`).

    "adjust" as `depth` lifts by bundle adjustment.
    Without `depth`, maps must be given with every video. Raises BadInput and MissingExtra as these do.
    """
    from tapetum.tapvid3d.baselines import Static as Static3D
    from tapetum.tapvid3d.depth import load_depth
    from tapetum.tapvid3d.lift import Lifted
    from tapetum.tapvid3d.reconstruction.adjust import AdjustedTracker

    if name == "static":
        if depth is not None:
            raise BadInput(f"static cannot make depth by {depth!r}; give maps with the videos (--depth true), or leave it out")
        return Static3D()
    from tapetum.tap.tracking import tracker

    if depth == "adjust":
        return AdjustedTracker(tracker.load(name, device=device))
    return Lifted(tracker.load(name, device=device), None if depth is None else load_depth(depth, device))
