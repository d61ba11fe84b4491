"""Reports of `tapetum track`: a row per point of one video, or a row per video; what to look at first on top."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.app.verb import Listener
from tapetum.core.errors import TapetumError
from tapetum.report.page import ReportPage, TableColumn, TableRow, write_report
from tapetum.tracks.doubtful import find_doubtful_places
from tapetum.tracks.exchange import tracked_part
from tapetum.types import Tracks
from tapetum.video import TrackPainter, Video, draw_tracks, open_video

POINT_COLUMNS = (
    TableColumn("point"),
    TableColumn("look at frame", 0),
    TableColumn("because of"),
    TableColumn("forward and backward apart, px", 1),
    TableColumn("visible share", 2),
    TableColumn("mean confidence", 2),
)
VIDEO_COLUMNS = (
    TableColumn("video"),
    TableColumn("points", 0),
    TableColumn("frames", 0),
    TableColumn("visible share", 2),
    TableColumn("mean confidence", 2),
    TableColumn("doubtful places", 0),
    TableColumn("most doubtful"),
)
MOST_ROWS, MOST_IMAGES = 10_000, 500
"""Maximum number of points with a row, and with an image."""
_AROUND = 96
"""Side of the image around a point, in pixels."""


def write_track_report(path: Path, video: Video, tracks: Tracks, listener: Listener, backward: np.ndarray) -> Path:
    """Write the report of one video, given the distance of the path back from each position, (n, t) in pixels. Raises BadInput
    if the page cannot be written."""
    size = f"{tracks.points} points through {tracks.frames} frames of {video.width}x{video.height} pixels"
    lines = [f"{size}; {tracks.visible.mean():.0%} of the places are visible."]
    first: dict[int, Any] = {}
    for place in find_doubtful_places(tracks, (video.width, video.height), backward):
        first.setdefault(place.point, place)
    hidden = 1 - tracks.visible.mean(axis=1)
    doubt = np.array([1 + first[point].score if point in first else 0.0 for point in range(tracks.points)]) + hidden
    look = {
        p: first[p].frame if p in first else int((tracks.confidence[p] + ~tracks.visible[p]).argmin())
        for p in range(tracks.points)
    }
    order = np.argsort(-doubt, kind="stable")[:MOST_ROWS].tolist()
    if len(order) < tracks.points:
        lines.append(f"{len(order):,} of {tracks.points:,} points, the most doubtful, have a row.")
    images: dict[int, np.ndarray] = {}
    for point in sorted(order[:MOST_IMAGES], key=lambda point: look[point]):  # one pass over the video
        images[point] = _around(video[look[point]], tracks.xy[point, look[point]])
    numbers = np.arange(tracks.frames) if tracks.numbers is None else tracks.numbers
    rows = [
        TableRow(
            cells=(
                (tracks.names[point] if tracks.names is not None else "") or str(point),
                int(numbers[look[point]]),
                first[point].reason if point in first else None,
                None if np.isnan(backward[point]).all() else float(np.fmax.reduce(backward[point])),
                float(tracks.visible[point].mean()),
                float(tracks.confidence[point].mean()),
            ),
            doubt=float(doubt[point]),
            image=partial(images.get, point),
        )
        for point in order
    ]
    report = ReportPage(title=f"Tracks of {video.name}", lines=lines, columns=POINT_COLUMNS, rows=rows)
    return write_report(path, report, partial(listener.progress, "report: points"))


def _around(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Crop the image around a position, twice as large, and mark the position."""
    side = min(_AROUND, *image.shape[:2])
    left, top = np.clip(np.round(xy - side / 2), 0, np.array(image.shape[1::-1]) - side).astype(int).tolist()
    piece = np.repeat(np.repeat(image[top : top + side, left : left + side], 2, axis=0), 2, axis=1)
    painter = TrackPainter(2 * side, 2 * side, np.array([[255, 255, 60]], np.uint8), trail=0, radius=4)
    return painter.paint(piece, 2 * (xy[None] - np.array([left, top], np.float32)), np.zeros(1, bool))


def write_videos_report(path: Path, summaries: Sequence[dict[str, Any]], folders: Sequence[Path], listener: Listener) -> Path:
    """Write the report of many videos, from their `TrackedMany.videos` and folders: those that could not be tracked first, then
    the least certain. Raises BadInput if the page cannot be written."""
    rows = [_video_row(summary, folder) for summary, folder in zip(summaries, folders, strict=True)]
    line = f"{sum(row.trouble is None for row in rows)} of {len(rows)} videos were tracked."
    report = ReportPage(title="Tracks of many videos", lines=[line], columns=VIDEO_COLUMNS, rows=rows)
    return write_report(path, report, partial(listener.progress, "report: videos"))


def _video_row(summary: dict[str, Any], folder: Path) -> TableRow:
    name, trouble = summary["video"], summary.get("trouble")
    try:
        tracks = None if trouble else Tracks.load(folder / "tracks.npz")
    except TapetumError as error:
        tracks, trouble = None, str(error)
    if tracks is None:
        return TableRow(cells=(name,), doubt=np.inf, trouble=trouble)
    places = find_doubtful_places(tracks, (summary["width"], summary["height"]))
    numbers = range(tracks.frames) if tracks.numbers is None else tracks.numbers.tolist()
    worst = next((f"point {place.point} in frame {numbers[place.frame]}: {place.reason}" for place in places), None)
    visible = float(tracks.visible.mean())
    return TableRow(
        cells=(name, tracks.points, tracks.frames, visible, float(tracks.confidence.mean()), len(places), worst),
        doubt=(1 + places[0].score if places else 0.0) + 1 - visible,
        image=partial(_first_frame, name, tracks),
    )


def _first_frame(source: str, tracks: Tracks) -> np.ndarray | None:
    """Draw the points on the first frame; None if the video has gone."""
    try:
        with open_video(source) as video:
            part = tracked_part(video, tracks)
            return next(iter(draw_tracks(part[:1], tracks.xy[:, :1], tracks.visible[:, :1])))
    except (TapetumError, IndexError):
        return None
