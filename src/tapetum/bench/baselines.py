"""Trackers by name, in the image and in space: with weights, and baselines without learning that a model must beat.

`choose_family` finds which family of trackers `tapetum bootstrap` trains: TAPIR's, or TAPNext's.
"""

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Num

from tapetum.core.devices import choose_device, find_device
from tapetum.core.errors import BadInput
from tapetum.core.plugins import is_reference, naming_own_code, resolve_class
from tapetum.hub.loading import load
from tapetum.hub.registry import resolve
from tapetum.tracks.tracker import Progress, Tracker
from tapetum.types import Tracks
from tapetum.video import open_video

if TYPE_CHECKING:
    from tapetum.systems.tap.bootstrap.config import BootstrapRun
    from tapetum.systems.tapvid3d.baselines import Tracker3D
    from tapetum.tracks.training.self_training import TrackerFamily

__all__ = ["BASELINES", "Progress", "Static", "StillPoints", "Tracker", "load_tracker", "load_tracker3d"]


class Static:
    """Every point stays at its query position and is always visible.

    >>> Static().track(np.zeros((2, 8, 8, 3), np.uint8), np.array([[1, 3.5, 4.5]])).xy.tolist()
    [[[3.5, 4.5], [3.5, 4.5]]]
    """

    def track(self, video: Sized, queries: Num[np.ndarray, "n 3"], *, progress: Progress = None) -> Tracks:
        """Track the same position through all frames; only their number is used."""
        shape = len(queries), len(video)
        xy = np.broadcast_to(np.asarray(queries, np.float32)[:, None, 1:], (*shape, 2))
        return Tracks(xy=xy, visible=np.ones(shape, bool), confidence=np.ones(shape, np.float32), queries=queries)

    def start(self, frame: np.ndarray, points: Num[np.ndarray, "n 2"]) -> "StillPoints":
        """Start tracking points, (x, y), through frames that arrive one by one, as `systems.tap.tracking.tracker.Tracker`."""
        xy = np.array(points, np.float32).reshape(-1, 2)
        return StillPoints(xy, np.ones(len(xy), bool), np.ones(len(xy), np.float32))

    def add(self, stream: "StillPoints", frame: np.ndarray, points: Num[np.ndarray, "n 2"]) -> "StillPoints":
        return self.start(frame, np.concatenate([stream.xy, np.array(points, np.float32).reshape(-1, 2)]))

    def step(self, stream: "StillPoints", frame: np.ndarray) -> "tuple[StillPoints, StillPoints]":
        """Track into one more frame: the updated stream, and its points' positions."""
        return stream, stream


@dataclass(frozen=True)
class StillPoints:
    """Points that stay where they are."""

    xy: Float[np.ndarray, "n 2"]
    visible: Bool[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    covariance: None = None
    chance_wrong: None = None

    def __len__(self) -> int:
        return len(self.xy)


BASELINES = {"static": Static}


def load_tracker(name_or_path: str, device: str | None = None, dtype: str = "float32") -> Tracker:
    """Load a baseline by name, a user-defined tracker class (FILE.py:CLASS), or weights as `tapetum.load` takes them.

    Weights have the precision `dtype`; `device` may be auto (`tapetum.core.devices`). torch is imported only once the file is
    known to exist. Raises `BadInput` as `tapetum.load`, and for a missing device.
    """
    if name_or_path in BASELINES:
        return BASELINES[name_or_path]()
    if is_reference(name_or_path, "tracker") and not Path(name_or_path).exists():
        return own_tracker(name_or_path)
    resolve(name_or_path, "track")
    import torch

    find_device(device)
    tracker = load(name_or_path, device=choose_device(device), dtype=getattr(torch, dtype))
    if not hasattr(tracker, "track"):
        raise BadInput(f"{name_or_path} holds the weights of {type(tracker).__name__}, which tracks nothing; give a tracker's")
    return tracker


class OwnTracker:
    """A user-defined tracker, whose tracks are checked, and get predicted errors if there is an error model beside its code.

    All else of the tracker is passed on.
    """

    def __init__(self, tracker: Any, reference: str):
        self.tracker, self.reference = tracker, reference
        self.error_model: Any = None

    def __getattr__(self, name: str) -> Any:
        if name == "tracker":  # a copy that has none yet
            raise AttributeError(name)
        return getattr(self.tracker, name)

    def to(self, *place: Any, **options: Any) -> "OwnTracker":
        """Move the tracker, if it can be moved; returns this one."""
        self.tracker.to(*place, **options)
        return self

    def track(self, video: Any, queries: Any, /, **options: Any) -> Tracks:
        """Track as the tracker does; raises BadInput if it returns anything but tracks of these queries, in their order."""
        given = np.array(queries, np.float64).reshape(-1, 3)
        with naming_own_code():
            tracks = self.tracker.track(video, given.astype(np.float32), **options)
        if not isinstance(tracks, Tracks):
            raise BadInput(
                f"track of {self.reference} returned {type(tracks).__name__}; return "
                "tapetum.types.Tracks(xy=xy, visible=visible, confidence=confidence, queries=queries)"
            )
        if tracks.points != len(queries):
            raise BadInput(
                f"track of {self.reference} returned {tracks.points} points for {len(queries)} queries; return one for each"
            )
        if tracks.queries is None or not np.allclose(tracks.queries, given, rtol=0, atol=1e-3):
            raise BadInput(
                f"track of {self.reference} returned tracks whose queries are not those that were asked, in their order; give "
                "the queries that it got, and a row of tracks for each"
            )
        if self.error_model is None or not self.error_model.few:
            return tracks
        video = open_video(video)
        return self.error_model.complete(tracks, (video.height, video.width))


def own_tracker(reference: str) -> Tracker:
    """Build a tracker from a user-defined class (`tapetum.core.plugins`). Raises BadInput if it is not a tracker."""
    kind = resolve_class(reference, "tracker")
    with naming_own_code():
        tracker = kind()
    if not callable(getattr(tracker, "track", None)):
        raise BadInput(f"{reference} tracks nothing; give it a method track(video, queries, *, progress=None) -> Tracks")
    tracker, code = OwnTracker(tracker, reference), Path(reference.rpartition(":")[0])
    if not code.is_file():
        return tracker
    from tapetum.systems.tap.tracking.error_model import with_errors

    return with_errors(tracker, code)


def load_tracker3d(name: str, depth: str | None = None, device: str | None = None) -> "Tracker3D":
    """Load a 3D tracker: `static`, or a 2D tracker (as `tapetum.load` takes it) lifted by a source of depth (as `load_depth`).

    "adjust" as `depth` lifts by bundle adjustment. Without `depth`, every video must come with depth maps. Raises BadInput and
    MissingExtra as these do.
    """
    from tapetum.systems.tapvid3d.adjust import AdjustedTracker
    from tapetum.systems.tapvid3d.baselines import Lifted, Static3D
    from tapetum.systems.tapvid3d.depth import load_depth

    if name == "static":
        if depth is not None:
            raise BadInput(f"static cannot make depth by {depth!r}; give maps with the videos (--depth true), or leave it out")
        return Static3D()
    tracker = load_tracker(name, device)
    if depth == "adjust":
        return AdjustedTracker(tracker)
    return Lifted(tracker, None if depth is None else load_depth(depth, device))


_OF_TAPIR = ("polish", "second_pass", "matching", "mixer_lr", "extra_convs", "iterations")
"""Settings of what a TAPNext does not have."""


def is_tapnext(model: str) -> bool:
    """Check whether weights, a name or a file, are of a TAPNext. Raises BadInput for a file that is not there."""
    from tapetum.hub.loading import find_loader
    from tapetum.hub.registry import entry_of

    entry = entry_of(model)
    loader = entry.loader if entry is not None and entry.loader else find_loader(model, "track")
    return loader.startswith("tapetum.systems.tapnext.")


def check_tapnext(run: "BootstrapRun") -> None:
    """Raise BadInput if settings of TAPIR's parts differ from the preset: they have no effect on a TAPNext."""
    from tapetum.systems.tap.bootstrap.config import RECIPES

    usual = RECIPES[run.preset]
    given, preset = ({**vars(each), **vars(each.settings)} for each in (run, usual))
    changed = [name.replace("_", "-") for name in _OF_TAPIR if given[name] != preset[name]]
    if changed:
        raise BadInput(f"{', '.join(changed)} is of TAPIR, and {run.model} is a TAPNext, which has no such part; leave it out")


def choose_family(run: "BootstrapRun") -> "TrackerFamily | None":
    """Build the family of the run's tracker; None is TAPIR's. Raises BadInput as `is_tapnext` and `check_tapnext` do."""
    if not is_tapnext(run.model):
        return None
    from tapetum.systems.tapnext.family import TapNextFamily

    check_tapnext(run)
    return TapNextFamily(run.model, rebalance=run.settings.rebalance)
