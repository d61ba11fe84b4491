"""Forward-backward error against a tracker whose errors are known."""

from typing import Any

import numpy as np

from tapetum.app.track.point_tasks import CutSettings, cut
from tapetum.app.track.track_files import track_back
from tapetum.types import Tracks
from tapetum.video import open_video


class Drifting:
    """Follows nothing: a point drifts a pixel to the right for each frame that it is away from its query."""

    def track(self, video: Any, queries: np.ndarray, progress: Any = None) -> Tracks:
        t = np.arange(len(video))
        x = queries[:, 1:2] + np.abs(t - queries[:, :1])
        xy = np.stack([x, np.repeat(queries[:, 2:], len(t), 1)], 2)
        return Tracks(xy=xy, visible=np.ones(xy.shape[:2], bool), confidence=np.ones(xy.shape[:2]), queries=queries)


def test_distances_are_twice_the_drift_back_from_where_the_point_was_last_visible() -> None:
    part = cut(open_video(np.zeros((6, 32, 48, 3), np.uint8)), CutSettings())
    tracks = Drifting().track(part.small, np.array([[0, 10, 10], [2, 20, 20]], np.float32))
    tracks.visible[0, 5] = False
    distances = track_back(Drifting(), part, tracks, lambda done, total: None)
    np.testing.assert_allclose(distances[0], [8, 6, 4, 2, 0, np.nan])  # it was last visible in frame 4
    np.testing.assert_allclose(
        distances[1], [0, 2, 6, 4, 2, 0]
    )  # back from frame 5, forward from frame 0; the larger where both end


def test_a_point_that_is_visible_at_its_query_alone_has_none() -> None:
    part = cut(open_video(np.zeros((3, 32, 48, 3), np.uint8)), CutSettings())
    tracks = Drifting().track(part.small, np.array([[0, 10, 10]], np.float32))
    tracks.visible[0, 1:] = False
    assert np.isnan(track_back(Drifting(), part, tracks, lambda done, total: None)).all()
