"""Forward-backward error of tracks: each point is tracked back from where it was last visible to its clicks.

Source: Kalal, Mikolajczyk and Matas, "Forward-Backward Error" (ICPR 2010). Where the two paths part, the point may be lost.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from tapetum.app.track.cut import Cut
from tapetum.app.track.point_tasks import NewPoints, Progress
from tapetum.tracks.doubtful import click_range, last_visible
from tapetum.tracks.points import PointRequest

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.feature_file import FeatureFile
    from tapetum.types import Tracks


def track_back(
    tracker: Any, part: Cut, tracks: "Tracks", progress: Progress, features: "FeatureFile | None" = None
) -> Float32[np.ndarray, "n t"]:
    """Compute the distance in pixels between each point's track and its path back; NaN outside the frames between its clicks
    and the frames where it was last, and first, visible.

    Args:
        tracker: the one that made the tracks.
        part: the frames they belong to.
        tracks: n points through t frames.
        progress: called with the numbers of tracked and of all frames.
        features: the network's features of the frames from before.
    """
    distances = np.full(tracks.visible.shape, np.nan, np.float32)
    size = part.video.width, part.video.height
    ends = [
        (point, direction, end)
        for point in range(tracks.points)
        for direction in (1, -1)
        if (end := last_visible(tracks, point, direction, *size)) is not None
    ]
    if not ends:
        return distances
    request = PointRequest([(float(end), *tracks.xy[point, end].tolist()) for point, _, end in ends])
    back = NewPoints(part, request).track(tracker, [], progress, features)
    for (point, direction, end), path in zip(ends, back.xy, strict=True):
        first, last = click_range(tracks, point)
        between = slice(int(last), end + 1) if direction > 0 else slice(end, int(np.ceil(first)) + 1)
        apart = np.linalg.norm(path - tracks.xy[point], axis=1)[between]
        distances[point, between] = np.fmax(distances[point, between], apart)  # a click is the end of both ways
    return distances
