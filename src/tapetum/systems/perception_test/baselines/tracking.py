"""Tasks 1 and 2: the start of an object or a point is given, and is followed to the end of the video.

    points of the task ----------------------.
                                             +--> one pass of a tracker of points --> points
    objects: a grid of points in each box ---'                                    --> boxes, moved as their points are

"static", the benchmark's own baseline, leaves both where they were, and looks at nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tapetum.systems.perception_test.baselines.content import VideoContent
from tapetum.systems.perception_test.scores.points import start_of
from tapetum.systems.perception_test.submission import box_row, point_row
from tapetum.systems.perception_test.types import AnnotatedVideo, ObjectTrack, PointTrack
from tapetum.tracks.follow import box_queries, carry_box
from tapetum.tracks.tracker import Tracker
from tapetum.video import open_video


class StaticPlaces:
    """Objects and points that stay where they are first seen."""

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Repeat each start in all frames from there on."""
        predictions: dict[str, Any] = {}
        last = video.metadata.frames
        if "object" in tasks:
            predictions["object"] = [
                box_row(
                    track.id,
                    (frames := np.arange(track.frames[track.start], last)),
                    _repeated(track.boxes[track.start], frames),
                )
                for track in video.objects
            ]
        if "point" in tasks:
            starts = ((track, *start_of(track)) for track in video.points)
            predictions["point"] = [
                point_row(track.id, (frames := np.arange(frame, last)), _repeated(np.array([x, y]), frames))
                for track, frame, x, y in starts
            ]
        return predictions


class TrackedPlaces:
    """Objects and points carried by a tracker of points, all of a video together."""

    def __init__(self, tracker: Tracker):
        """`tracker`: such as `tapetum.load("tapir-nano")`."""
        self.tracker = tracker

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Track the objects, the points, or both."""
        objects = list(video.objects) if "object" in tasks else []
        points = list(video.points) if "point" in tasks else []
        scale = np.array(content.size, np.float64)
        query_groups = [self._box_queries(track, content.size) for track in objects] + [
            _point_query(track, scale) for track in points
        ]
        if not sum(map(len, query_groups)):
            return {task: [] for task in tasks}
        queries = np.concatenate(query_groups).astype(np.float32)
        tracks = self.tracker.track(open_video(content.frames, frame_rate=video.metadata.frame_rate), queries)
        ends = np.cumsum([len(part) for part in query_groups])
        xy, visible = np.split(tracks.xy, ends[:-1]), np.split(tracks.visible, ends[:-1])
        predictions: dict[str, Any] = {}
        if "object" in tasks:
            predictions["object"] = []
            for k, track in enumerate(objects):
                start = int(track.frames[track.start])
                track_boxes = carry_box(_pixels(track.boxes[track.start], scale), start, xy[k], visible[k], content.size)
                shares = np.clip(track_boxes.xyxy[start:] / np.tile(scale, 2), 0, 1)
                predictions["object"].append(box_row(track.id, np.arange(start, len(track_boxes.xyxy)), shares))
        if "point" in tasks:
            predictions["point"] = []
            for k, track in enumerate(points, len(objects)):
                start = start_of(track)[0]
                shown = visible[k][0].copy()
                shown[start] = True  # it was given there
                frames = start + np.flatnonzero(shown[start:])
                predictions["point"].append(point_row(track.id, frames, xy[k][0, frames] / scale))
        return predictions

    def _box_queries(self, track: ObjectTrack, size: tuple[int, int]) -> Float[np.ndarray, "k 3"]:
        return box_queries(_pixels(track.boxes[track.start], np.array(size, np.float64)), int(track.frames[track.start]), size)


def _repeated(place: Float[np.ndarray, " k"], frames: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    return np.broadcast_to(place, (len(frames), len(place)))


def _pixels(box: Float[np.ndarray, "4"], scale: Float[np.ndarray, "2"]) -> Float[np.ndarray, "4"]:
    return box * np.tile(scale, 2)


def _point_query(track: PointTrack, scale: Float[np.ndarray, "2"]) -> Float[np.ndarray, "1 3"]:
    frame, x, y = start_of(track)
    return np.array([[frame, *np.clip(np.array([x, y]) * scale, 0, scale)]])
