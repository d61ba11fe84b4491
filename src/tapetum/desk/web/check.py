"""Where to check next: uncertain places in the tracks of a project (`tapetum.tracks.doubtful`), as the page lists them."""

from typing import Any

import numpy as np

from tapetum.desk.web.tracks import TrackedItem
from tapetum.tracks.doubtful import expected_share, find_doubtful_places

MOST = 200
"""Places that are listed."""


def find_places(tracked: TrackedItem) -> dict[str, Any]:
    """List the uncertain places of all tracked points: point, frame, reason, score in 0..1; the most uncertain first.

    Where errors are predicted, `expected_share` is the share of visible places that is expected wrong, and `share` of a place
    what of it lies there. Frames with marks are left out, since a user has checked them.
    """
    rows = [row for row, stored in enumerate(tracked.stored) if stored is not None and stored.whole]
    if not rows:
        return {"places": [], "expected_share": None}
    tracks, points = tracked.assemble(rows), [tracked.points[row] for row in rows]
    looked_at, backward = np.zeros(tracks.visible.shape, bool), np.full(tracks.visible.shape, np.nan)
    for k, (row, point) in enumerate(zip(rows, points, strict=True)):
        looked_at[k, [frame for frame in (*point.marks, *point.returns) if frame < tracks.frames]] = True
        stored = tracked.stored[row]
        if stored is not None and stored.backward is not None:
            backward[k] = stored.backward
    places = find_doubtful_places(tracks, (tracked.item.width, tracked.item.height), backward, looked_at)
    listed = [
        {
            "point": points[place.point].id,
            "frame": place.frame,
            "reason": place.reason,
            "score": place.score,
            "share": place.expected_wrong / max(int(tracks.visible.sum()), 1),
        }
        for place in places[:MOST]
    ]
    return {"places": listed, "expected_share": expected_share(tracks)}
