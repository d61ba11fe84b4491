"""Tracking of a project's points, block by block: each block's tracks are saved as soon as they are computed.

    points with one click     tracked together, as `tapetum track` does; what is known so far is saved meanwhile
    points with several       tracked through all their clicks (`systems.tap.tracking.clicks`), as corrections are; by a tracker
                              that takes one click a point, from each click, and each frame has the track of the nearest one
    then                      each track is tracked back from where the point was last, and first, seen (forward-backward error,
                              Kalal et al. 2010), which tells where it may have been lost

The network's features of the frames are saved (`systems.tap.tracking.feature_file`), so that later points cost little.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from tapetum.app.track.point_tasks import Cut, CutSettings, NewPoints, Progress, cut
from tapetum.app.track.track_files import FEATURES_MIB, track_back
from tapetum.app.verb import Listener, count_frames
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.hidden import HIDDEN
from tapetum.desk.web.items import Items
from tapetum.desk.web.tracks import TrackStore, signature
from tapetum.hub.loading import keeps_loaded
from tapetum.hub.registry import assets
from tapetum.tracks.points import PointRequest
from tapetum.types import Tracks
from tapetum.video import Video, open_video

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.feature_file import FeatureFile

BLOCK = 64
"""Number of points tracked together: as many as a network processes at a time."""
FORWARD, BACK = 100, 15
"""Work of tracking a block, and of tracking it back through frames whose features are there by then."""

Clicks = Sequence[tuple[int, float, float]]


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Track the points of a job, except those already tracked. Raises BadInput as `tapetum.track`."""
    place = folder / HIDDEN
    database = Database(place / FILE)
    try:
        tracking = _Tracking(job["item"], Items(database, folder), TrackStore(database), job["settings"], listener)
        return {"result": tracking.track()}
    finally:
        database.close()


def load(model: str, device: str | None, path: str, content: str) -> None:
    """Load a tracker, which `tapetum.hub.loading` then keeps, and count the frames of a video."""
    from tapetum.bench.baselines import load_tracker

    load_tracker(model, device)
    with open_kept(Path(path), content, Listener()):
        pass


_kept: dict[str, tuple[Video, dict[Any, Any]]] = {}
"""The last video, by its path and content, and its features, in a process that keeps models."""


@contextmanager
def open_kept(path: Path, content: str, listener: Listener) -> Iterator[Video]:
    """Open a video, and find its true number of frames."""
    key = _key(path, content)
    if key in _kept:
        yield _kept[key][0]
        return
    video = open_video(path)
    try:
        listener.status("reading the video")
        count_frames(video, path.name, listener)
        if keeps_loaded():
            _drop_kept()
            _kept[key] = video, {}
        yield video
    finally:
        if key not in _kept:
            video.close()


def _key(path: Path, content: str) -> str:
    return f"{path} {content}"


def _drop_kept() -> None:
    for video, _ in _kept.values():
        video.close()
    _kept.clear()


class _Tracking:
    def __init__(self, number: str, items: Items, store: TrackStore, settings: dict[str, Any], listener: Listener):
        self.item, self.items, self.store, self.listener = items.get(number), items, store, listener
        self.model, self.device = settings["model"], settings["device"]
        clicks = [[(int(t), float(x), float(y)) for t, x, y in each] for each in settings["clicks"]]
        self.requested: dict[str, Clicks] = {signature(self.model, self.item.content, each): each for each in clicks}
        self.features = assets() / "page-features" / f"{number}.bin"
        self.features.parent.mkdir(parents=True, exist_ok=True)
        self.work = self.done = 0

    def track(self) -> dict[str, Any]:
        from tapetum.bench.baselines import load_tracker

        there = self.store.read(self.item.id, self.requested)
        there = {name: stored for name, stored in there.items() if stored.whole}
        missing = {name: clicks for name, clicks in self.requested.items() if name not in there}
        single = {name: clicks for name, clicks in missing.items() if len(clicks) == 1}
        several = {name: clicks for name, clicks in missing.items() if len(clicks) > 1}
        blocks = [*_batches(single.items()), *_batches(several.items())]
        unchecked = len(missing) + sum(stored.backward is None for stored in there.values())
        if not unchecked:
            return {"points": len(self.requested), "computed": 0, "frames": self.item.frames}
        with open_kept(self.item.path, self.item.content, self.listener) as video:
            part = cut(video, CutSettings())
            times = np.round(video.timestamps, 9).astype("<f8").tobytes() if video.clocked else None
            self.items.settle(self.item.id, len(video), times)
            self.listener.status("loading the model")
            tracker = load_tracker(self.model, self.device)
            forward = FORWARD if hasattr(tracker, "correct") else BACK  # the others compute as much on the way back
            self.work = forward * len(blocks) + BACK * -(-unchecked // BLOCK)
            for block in blocks:
                with self._open_features(tracker) as features:
                    clicks = [clicks for _, clicks in block]
                    tell = partial(self._save, block)
                    whole = track_clicks(tracker, part, clicks, self._counting(len(video), forward), features, tell)
                self._save(block, whole)
                self.done += forward
            self._check(tracker, part)
            frames = len(video)
        return {"points": len(self.requested), "computed": len(missing), "frames": frames}

    @contextmanager
    def _open_features(self, tracker: Any) -> "Iterator[FeatureFile | None]":
        """Open the saved frame features; new ones are written behind them."""
        if not hasattr(tracker, "correct"):  # it looks at no frames
            yield None
            return
        from tapetum.systems.tap.tracking.feature_file import FeatureFile

        path = self.features
        kept = _kept.get(_key(self.item.path, self.item.content))
        file = FeatureFile(path, path, FEATURES_MIB << 20, None if kept is None else kept[1])
        try:
            yield file
        finally:
            file.close()
            make_room(path)

    def _save(self, block: Sequence[tuple[str, Clicks]], whole: Float[np.ndarray, "n t c"]) -> None:
        self.items.get(self.item.id)  # refused where it is another file now
        self.store.save(self.item.id, {name: row for (name, _), row in zip(block, whole, strict=True)})

    def _check(self, tracker: Any, part: Cut) -> None:
        """Track back, and save the distance from the tracks."""
        stored = self.store.read(self.item.id, self.requested)
        unchecked = [name for name, each in stored.items() if each.backward is None]
        for block in _batches(unchecked):
            tracks = _assemble([stored[name].track for name in block], [self.requested[name] for name in block])
            with self._open_features(tracker) as features:
                distances = track_back(tracker, part, tracks, self._counting(len(part.video), BACK), features)
            self.items.get(self.item.id)
            self.store.save_backward(self.item.id, dict(zip(block, distances, strict=True)))
            self.done += BACK

    def _counting(self, frames: int, share: int) -> Callable[[int, int | None], None]:
        def count(done: int, total: int | None) -> None:
            make_room(self.features)  # after each window of frames
            self.listener.progress("tracking", self.done + share * min(done, frames) // frames, self.work)

        return count


def make_room(path: Path) -> None:
    """Mark a file of features as the last used one, and remove those used longest ago until all take `FEATURES_MIB` at most."""
    with suppress(OSError):
        os.utime(path)
        files = sorted((each for each in path.parent.iterdir() if each != path), key=lambda each: each.stat().st_mtime)
        over = sum(each.stat().st_size for each in (*files, path)) - (FEATURES_MIB << 20)
        for each in files:
            if over > 0:
                over -= each.stat().st_size
                each.unlink()


def _batches(every: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    rest = iter(every)
    while batch := tuple(islice(rest, BLOCK)):
        yield batch


def track_clicks(
    tracker: Any,
    part: Cut,
    clicks: Sequence[Clicks],
    progress: Progress,
    features: "FeatureFile | None" = None,
    tell: Callable[[Float32[np.ndarray, "n t 4"]], None] | None = None,
) -> Float32[np.ndarray, "n t c"]:
    """Track n points through all their clicks: x, y, visible, confidence, and error_px and chance_wrong if they are predicted.
    Raises BadInput as the tracker does.

    With a tracker that takes one click per point, each frame uses the track of the nearest click in time, on ties the first.
    `tell` hears of tracks so far, with NaN where nothing is known, if the tracker does.
    """
    points: list[tuple[float, float, float]] = [(float(t), x, y) for each in clicks for t, x, y in each]
    ids = [str(number) for number, each in enumerate(clicks) for _ in each]
    together = len(points) == len(clicks) or hasattr(tracker, "correct")
    request = PointRequest(points, ids if together and len(points) > len(clicks) else None)
    heard = None if tell is None else lambda xy, confidence: tell(_columns(xy, confidence > 0.5, confidence))
    tracks = NewPoints(part, request, partial=heard).track(tracker, [], progress, features)
    whole = _columns(tracks.xy, tracks.visible, tracks.confidence)
    if tracks.error_px is not None and tracks.chance_wrong is not None:
        whole = np.concatenate([whole, tracks.error_px[..., None], tracks.chance_wrong[..., None]], 2, dtype=np.float32)
    if together:
        return whole
    frames, owners = np.arange(whole.shape[1]), np.array(ids, int)
    times = np.array([point[0] for point in points])
    rows = [np.flatnonzero(owners == number) for number in range(len(clicks))]
    return np.stack([whole[each[np.abs(times[each, None] - frames).argmin(axis=0)], frames] for each in rows])


def _columns(xy: np.ndarray, visible: np.ndarray, confidence: np.ndarray) -> Float32[np.ndarray, "n t 4"]:
    return np.concatenate([xy, visible[..., None], confidence[..., None]], axis=2, dtype=np.float32)


def _assemble(rows: Sequence[Float[np.ndarray, "t 4"]], clicks: Sequence[Clicks]) -> Tracks:
    """The tracks of some points, with the frames of their clicks."""
    whole, clicked = np.stack(rows), np.zeros((len(rows), len(rows[0])), bool)
    for row, each in zip(clicked, clicks, strict=True):
        row[[frame for frame, _, _ in each]] = True
    return Tracks(
        xy=whole[..., :2],
        visible=whole[..., 2] > 0.5,
        confidence=whole[..., 3],
        queries=np.array([each[0] for each in clicks]),
        clicked=clicked,
    )
