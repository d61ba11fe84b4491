"""Tracks of points, stored under what they depend on: the video's content, the model and the clicks of the point.

A point whose clicks are unchanged, or restored by an undo, already has its track; and each track is saved as soon as it is
computed, whatever happens to the job. While that runs, a part of it may be saved, with NaN on the frames to come. A track is
float32 (t, 4): x, y in raster pixels, visible, confidence; the distance to it of the track back from where the point was last
seen, (t,) in pixels, may be stored beside it. A tracker that predicts errors adds two columns: `error_px`, `chance_wrong`.
"""

import hashlib
import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import Database
from tapetum.desk.web.edits import MOST_POINTS, POINT, EditedPoint, Points
from tapetum.desk.web.items import MediaItem
from tapetum.systems.tap.tracking.calibration import calibrated_confidence
from tapetum.tracks.doubtful import expected_share, find_doubtful_places
from tapetum.types import Tracks

_MOST_BYTES = 4 << 30
"""Maximum size of the tracks of a video, in bytes."""
_KEPT = 2 * MOST_POINTS
"""Maximum number of stored tracks per video."""


class StoredTracks(NamedTuple):
    """A track, and the distance to it of the track back."""

    track: Float32[np.ndarray, "t 4"]
    backward: Float32[np.ndarray, " t"] | None
    predicted: Float32[np.ndarray, "t 2"] | None = None
    """Predicted error in pixels, and chance that it is too large."""

    @property
    def whole(self) -> bool:
        """Check whether it reaches through all frames; until its job is done it may be NaN on some."""
        return not np.isnan(self.track).any()


def signature(model: str, content: str, clicks: Iterable[tuple[int, float, float]]) -> str:
    """Compute the key of a point's track: model, content of the video, clicks (frame, x, y) with the query first."""
    numbers = [[int(frame), float(x), float(y)] for frame, x, y in clicks]
    return hashlib.sha256(json.dumps([model, content, numbers]).encode()).hexdigest()[:32]


class TrackStore:
    """Tracks in the database."""

    def __init__(self, database: Database):
        self._database = database

    def read(self, item: str, signatures: Collection[str]) -> dict[str, StoredTracks]:
        """Read the existing tracks, by signature."""
        names = list(dict.fromkeys(signatures))
        marks = ",".join("?" * len(names))
        rows = self._database.rows(
            f"SELECT signature, frames, track, backward FROM tracks WHERE item = ? AND signature IN ({marks})", item, *names
        )
        read = {}
        for name, frames, track, backward in rows:
            back = None if backward is None else np.frombuffer(backward, "<f4")
            columns = np.frombuffer(track, "<f4").reshape(frames, -1)
            read[name] = StoredTracks(columns[:, :4], back, columns[:, 4:] if columns.shape[1] > 4 else None)
        return read

    def save(self, item: str, tracks: Mapping[str, Float[np.ndarray, "t c"]]) -> None:
        """Save tracks, of 4 or 6 columns, by signature, in one transaction; the oldest are removed above the limit."""
        with self._database.transaction():
            for name, track in tracks.items():
                values = item, name, len(track), np.ascontiguousarray(track, "<f4").tobytes(), time.time()
                self._database.rows(
                    "INSERT OR REPLACE INTO tracks (item, signature, frames, track, made) VALUES (?, ?, ?, ?, ?)", *values
                )
            self._database.rows(
                "DELETE FROM tracks WHERE item = ? AND signature NOT IN "
                "(SELECT signature FROM tracks WHERE item = ? ORDER BY made DESC LIMIT ?)",
                *(item, item, _KEPT),
            )

    def save_backward(self, item: str, distances: Mapping[str, Float[np.ndarray, " t"]]) -> None:
        """Save the distances of the tracks back, by signature."""
        with self._database.transaction():
            for name, values in distances.items():
                data = np.ascontiguousarray(values, "<f4").tobytes()
                self._database.rows("UPDATE tracks SET backward = ? WHERE item = ? AND signature = ?", data, item, name)


class TrackedItem:
    """The points of a project with their existing tracks."""

    def __init__(self, item: MediaItem, points: Points, model: str, store: TrackStore):
        self.item, self.points, self._model = item, list(points.values()), model
        self.signatures = [signature(model, item.content, point.clicks) for point in self.points]
        read = store.read(item.id, self.signatures) if self.points else {}
        there = [read[name] for name in self.signatures if name in read]
        self.frames = len(there[0].track) if there else item.frames
        """Number of frames of the tracks if there are some, else of the video."""
        known = {name: stored for name, stored in read.items() if len(stored.track) == self.frames}
        self.stored = [known.get(name) for name in self.signatures]
        """Track of each point; None if not computed yet."""

    @property
    def missing(self) -> list[EditedPoint]:
        """List the points without whole tracks."""
        return [point for point, stored in zip(self.points, self.stored, strict=True) if stored is None or not stored.whole]

    def array(self) -> Float32[np.ndarray, "n t 4"]:
        """Assemble x, y, visible and confidence; NaN where a track is missing.

        Points hidden by a user are not visible until the frame on which a user marked them as back. Raises Refused with 409 for
        more than `_MOST_BYTES`.
        """
        if 16 * len(self.points) * self.frames > _MOST_BYTES:
            raise Refused(409, f"{len(self.points)} points on {self.frames} frames are too many to send; delete some points")
        whole = np.full((len(self.points), self.frames, 4), np.nan, np.float32)
        for row, point, stored in zip(whole, self.points, self.stored, strict=True):
            if stored is not None:
                row[:] = stored.track
                for first, end in point.hidden_frames(len(row)):
                    row[first:end, 2:] = 0
                row[[frame for frame in point.returns if frame < len(row)], 2] = 1
        return whole

    def chances(self) -> Float32[np.ndarray, "n t 4"]:
        """Assemble x, y, visible, and the chance that the position is right: 0 where a user hid the point, 1 at its marks.

        It comes from predicted errors, else from the tracker's calibration; without these, and for a track under way, it is the
        confidence. Raises as `array`.
        """
        whole = self.array()
        rows = [row for row, stored in enumerate(self.stored) if stored is not None and stored.whole]
        if rows:
            whole[rows, :, 3] = self._chance(self.assemble(rows))
        for row, point in zip(whole, self.points, strict=True):
            row[[frame for frame in point.returns if frame < len(row)], 3] = 1
        return whole

    def _chance(self, tracks: Tracks) -> Float32[np.ndarray, "n t"]:
        chance = calibrated_confidence(tracks, self._model)
        return np.where(tracks.confidence > 0, tracks.confidence if chance is None else chance, np.float32(0))

    def tracks(self, visible_above: float | None = None) -> Tracks:
        """Assemble the tracks of all points in the form `tapetum track` returns.

        With `visible_above`, points are visible where the chance that their position is right (`chances`) is at least that, and
        no user has hidden them. Raises Refused with 409 if a track is missing.
        """
        if not self.points:
            raise Refused(409, "there are no points; add some and track them")
        if count := len(self.missing):
            raise Refused(409, f"{count} of {len(self.points)} points are not tracked as they are now; track them first")
        tracks = self.assemble(range(len(self.points)))
        if visible_above is None:
            return tracks
        chance = self.chances()[..., 3]
        return replace(tracks, visible=(chance >= visible_above) & (chance > 0))

    def assemble(self, rows: Sequence[int]) -> Tracks:
        """Assemble the tracks of some of the points, all of which must exist."""
        whole, clicks = self.array()[list(rows)], [self.points[row].clicks for row in rows]
        clicked = None
        if any(len(each) > 1 for each in clicks):
            clicked = np.zeros(whole.shape[:2], np.bool_)
            for row, each in zip(clicked, clicks, strict=True):
                row[[frame for frame, _, _ in each if frame < self.frames]] = True
        names = tuple(self.points[row].name or f"{POINT} {row + 1}" for row in rows)
        predicted = [stored.predicted for row in rows if (stored := self.stored[row]) is not None]
        errors = None if any(each is None for each in predicted) else np.array(predicted)
        return Tracks(
            xy=whole[..., :2],
            visible=whole[..., 2] > 0.5,
            confidence=whole[..., 3],
            queries=np.array([each[0] for each in clicks]),
            names=names,
            clicked=clicked,
            times=None if self.item.times is None else np.frombuffer(self.item.times, "<f8"),
            error_px=None if errors is None else errors[..., 0],
            chance_wrong=None if errors is None else errors[..., 1],
        )


_MOST_PLACES = 200


def find_places(tracked: TrackedItem) -> dict[str, Any]:
    """List the uncertain places of all tracked points: point, frame, reason, score in 0..1; the most uncertain first.

    Where errors are predicted, `expected_share` is the share of visible places that is expected wrong, and `share` of a place
    what of it lies there. Frames with marks are left out, since a user has checked them.
    """
    rows = [row for row, stored in enumerate(tracked.stored) if stored is not None and stored.whole]
    if not rows:
        return {"places": [], "expected_share": None}
    tracks, points = tracked.assemble(rows), [tracked.points[row] for row in rows]
    checked, backward = np.zeros(tracks.visible.shape, bool), np.full(tracks.visible.shape, np.nan)
    for k, (row, point) in enumerate(zip(rows, points, strict=True)):
        checked[k, [frame for frame in (*point.marks, *point.returns) if frame < tracks.frames]] = True
        stored = tracked.stored[row]
        if stored is not None and stored.backward is not None:
            backward[k] = stored.backward
    places = find_doubtful_places(tracks, (tracked.item.width, tracked.item.height), backward, checked)
    visible = max(int(tracks.visible.sum()), 1)
    listed = [
        {
            "point": points[place.point].id,
            "frame": place.frame,
            "reason": place.reason,
            "score": place.score,
            "share": place.expected_wrong / visible,
        }
        for place in places[:_MOST_PLACES]
    ]
    return {"places": listed, "expected_share": expected_share(tracks)}
