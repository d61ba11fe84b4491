"""Reports of `tapetum track`: for one video its film and a row per point; for many videos a row per video."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.app.verb import Listener
from tapetum.core.errors import TapetumError
from tapetum.report.film import film_data
from tapetum.report.page import ReportPage, TableColumn, TableRow, write_report
from tapetum.tracks.doubtful import Place, find_doubtful_places
from tapetum.tracks.exchange import tracked_part
from tapetum.types import Tracks
from tapetum.video import TrackPainter, Video, open_video
from tapetum.video.draw import point_colours

POINT_COLUMNS = (
    TableColumn("point"),
    TableColumn("look at frame", 0),
    TableColumn("because of"),
    TableColumn("forward and backward apart, px", 1),
    TableColumn("visible share", 2),
    TableColumn("mean confidence", 2),
    TableColumn("lowest confidence", 2),
    TableColumn("path, px", 0),
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
_THUMBNAIL = 96
"""Pixels of the image around a point."""
MOST_ROWS, MOST_IMAGES = 10_000, 500
"""Points of a video that have a row, the most doubtful; and of those, points with an image."""
_FRAMES = 3
"""Frames of a video side by side."""


def write_track_report(
    path: Path, video: Video, tracks: Tracks, listener: Listener, lines: Sequence[str], backward: np.ndarray | None
) -> Path:
    """Write the report of one video.

    Args:
        path: of the page.
        video: the frames of the tracks.
        tracks: n points through t frames.
        listener: receives progress.
        lines: text at the head of the page.
        backward: distance of the path back from each position, (n, t) in pixels, if tracked back.

    Raises BadInput if the page cannot be written.
    """
    places = find_doubtful_places(tracks, (video.width, video.height), backward)
    first = dict(reversed([(place.point, place) for place in places]))
    rows = [_point_row(tracks, point, first.get(point), backward) for point in range(tracks.points)]
    rows.sort(key=lambda row: -row.doubt)
    if len(rows) > MOST_ROWS:
        lines = [*lines, f"{MOST_ROWS:,} of {len(rows):,} points, the most doubtful, have a row."]
        rows = rows[:MOST_ROWS]
    rows = [*_with_images(rows[:MOST_IMAGES], video, tracks), *rows[MOST_IMAGES:]]
    film = film_data(video, tracks, places, progress=partial(listener.progress, "report: frames"))
    if len(film["frames"]) < tracks.frames:
        lines = [*lines, f"The film shows {len(film['frames'])} of {tracks.frames} frames."]
    report = ReportPage(
        title=f"Tracks of {video.name}",
        lines=lines,
        columns=POINT_COLUMNS,
        rows=rows,
        order="A row leads to the frame to look at.",
        film=film,
    )
    return write_report(path, report, partial(listener.progress, "report: points"))


def _point_row(tracks: Tracks, point: int, place: Place | None, backward: np.ndarray | None) -> TableRow:
    visible, confidence = tracks.visible[point], tracks.confidence[point]
    numbers = np.arange(tracks.frames) if tracks.numbers is None else tracks.numbers
    sure = np.where(visible, confidence, np.inf) if visible.any() else confidence
    lowest = int(sure.argmin())
    apart = None if backward is None or np.isnan(backward[point]).all() else float(np.nanmax(backward[point]))
    steps = np.linalg.norm(np.diff(tracks.xy[point], axis=0), axis=1)
    look = lowest if place is None else place.frame
    name = tracks.names[point] if tracks.names is not None and tracks.names[point] else str(point)
    return TableRow(
        cells=(
            name,
            int(numbers[look]),
            None if place is None else place.reason,
            apart,
            float(visible.mean()),
            float(confidence.mean()),
            float(confidence[lowest]),
            float(steps[visible[1:] & visible[:-1]].sum()),
        ),
        doubt=(0.0 if place is None else 1 + place.score) + 1 - float(visible.mean()),
        goes_to=(point, look),
    )


def _with_images(rows: Sequence[TableRow], video: Video, tracks: Tracks) -> list[TableRow]:
    """Add to each point's row the image around it in the frame to check; the video is read in one pass."""
    targets = [row.goes_to or (0, 0) for row in rows]
    images: dict[tuple[int, int], np.ndarray] = {}
    for frame in sorted({frame for _, frame in targets}):
        image = video[frame]
        images |= {each: _around(image, tracks.xy[each]) for each in targets if each[1] == frame}
    return [replace(row, image=partial(images.__getitem__, each)) for row, each in zip(rows, targets, strict=True)]


def _around(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Crop the image around a position, twice as large, and mark the position."""
    side = min(_THUMBNAIL, *image.shape[:2])
    x, y = xy.tolist()
    left, top = (round(min(max(v - side / 2, 0), size - side)) for v, size in ((x, image.shape[1]), (y, image.shape[0])))
    piece = np.repeat(np.repeat(image[top : top + side, left : left + side], 2, axis=0), 2, axis=1)
    painter = TrackPainter(2 * side, 2 * side, np.array([[255, 255, 60]], np.uint8), trail=0, radius=4)
    return painter.paint(piece, np.array([[2 * (x - left), 2 * (y - top)]], np.float32), np.zeros(1, bool))


def write_videos_report(path: Path, summaries: Sequence[dict[str, Any]], folders: Sequence[Path], listener: Listener) -> Path:
    """Write the report of many videos: those that could not be tracked first, the others by their least certain position.

    Args:
        path: of the page.
        summaries: of each video, as `TrackedMany.videos` has them.
        folders: where the results of each are.
        listener: receives progress.

    Raises BadInput if the page cannot be written.
    """
    rows = [_video_row(summary, folder) for summary, folder in zip(summaries, folders, strict=True)]
    failed = sum(row.trouble is not None for row in rows)
    lines = [f"{len(rows) - failed} of {len(rows)} videos were tracked."]
    report = ReportPage(title="Tracks of many videos", lines=lines, columns=VIDEO_COLUMNS, rows=rows)
    return write_report(path, report, partial(listener.progress, "report: videos"))


def _video_row(summary: dict[str, Any], folder: Path) -> TableRow:
    name = summary["video"]
    if "trouble" in summary:
        return TableRow(cells=(name,), doubt=np.inf, trouble=summary["trouble"])
    try:
        tracks = Tracks.load(folder / "tracks.npz")
    except TapetumError as error:
        return TableRow(cells=(name,), doubt=np.inf, trouble=str(error))
    places = find_doubtful_places(tracks, (summary["width"], summary["height"]))
    numbers = range(tracks.frames) if tracks.numbers is None else tracks.numbers.tolist()
    worst = ", ".join(f"point {p.point} in frame {numbers[p.frame]}: {p.reason}" for p in places[:1])
    visible = float(tracks.visible.mean())
    numbers_of = tracks.points, tracks.frames, visible, float(tracks.confidence.mean()), len(places)
    return TableRow(
        cells=(name, *numbers_of, worst or None),
        doubt=(1 + places[0].score if places else 0.0) + 1 - visible,
        image=partial(_three_frames, name, tracks),
    )


def _three_frames(source: str, tracks: Tracks) -> np.ndarray | None:
    """Draw the points on the first, middle and last frame, side by side; None if the video has gone."""
    try:
        with open_video(source) as video:
            part = tracked_part(video, tracks)
            first = tracks.xy[np.arange(tracks.points), tracks.visible.argmax(axis=1)]
            colours = point_colours(first, part.width, part.height)
            drawn = []
            for frame in np.linspace(0, tracks.frames - 1, min(_FRAMES, tracks.frames)).round().astype(int).tolist():
                painter = TrackPainter(part.height, part.width, colours, trail=0)
                drawn.append(painter.paint(part[frame], tracks.xy[:, frame], tracks.visible[:, frame]))
            return np.concatenate(drawn, axis=1)
    except (TapetumError, IndexError):
        return None
