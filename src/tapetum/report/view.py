"""Tracks on their video as a page in a notebook: the result of `Tracks.show` and of `tapetum.track`."""

import html
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.report.film import FilmLimits, film_data
from tapetum.report.page import ReportPage, report_html
from tapetum.types import Tracks

MOST_BYTES = 2_000_000
"""Of a view as a notebook stores it."""
_LIMITS = FilmLimits(image_bytes=1_050_000, track_bytes=220_000, frames=240, side=560)
_HEIGHT = 620
"""Of the view in CSS pixels."""


@dataclass(frozen=True)
class TrackView:
    """A page with a film that plays and its tracks; a notebook shows it, elsewhere `save` writes it."""

    page: str
    """The page, HTML that needs nothing else."""

    def save(self, path: str | Path) -> Path:
        """Write the page as a file. Raises BadInput if it cannot be written."""
        with whole_file(path) as temporary:
            write_text(temporary, self.page)
        return Path(path)

    def _repr_html_(self) -> str:
        """Write an element that contains the page, for notebooks, isolated from the notebook around it."""
        about = f"style='width:100%;height:{_HEIGHT}px;border:0' sandbox='allow-scripts' title='Tracks'"
        return f"<iframe {about} srcdoc='{html.escape(self.page, quote=True)}'></iframe>"

    def __repr__(self) -> str:
        return f"TrackView of {len(self.page) / 1e6:.2f} MB; a notebook shows it, save('view.html') writes it"


def view_tracks(tracks: Tracks, source: Any) -> TrackView:
    """Build the view of tracks on their video, at most `MOST_BYTES` large; long videos are subsampled.

    Args:
        tracks: n points through t frames.
        source: path, array (t, h, w, 3) or open `Video` that they come from.

    Raises:
        BadInput: the video cannot be opened, or is not that of the tracks; there is nothing to show.
    """
    from tapetum.tracks.doubtful import find_doubtful_places
    from tapetum.tracks.exchange import check_video, tracked_part
    from tapetum.video import Video, open_video

    if not tracks.points or not tracks.frames:
        raise BadInput(f"there is nothing to show: the tracks have {tracks.points} points in {tracks.frames} frames")
    title = f"{tracks.points} points in {tracks.frames} frames"
    video = open_video(source)
    try:
        if not isinstance(source, Video):
            video.check()  # so that its true number of frames is known
        part = tracked_part(video, tracks)
        check_video(tracks, part)
        places = find_doubtful_places(tracks, (part.width, part.height))
        limits = _LIMITS
        while True:
            film = film_data(part, tracks, places, limits)
            view = TrackView(report_html(ReportPage(title=title, lines=_lines(film, tracks), film=film)))
            if len(view._repr_html_().encode()) <= MOST_BYTES:
                return view
            image_bytes, track_bytes = limits.image_bytes * 3 // 4, limits.track_bytes * 3 // 4
            limits = replace(limits, image_bytes=image_bytes, track_bytes=track_bytes)
    finally:
        if video is not source:
            video.close()


def _lines(film: dict[str, Any], tracks: Tracks) -> list[str]:
    """What was omitted."""
    lines = []
    if (shown := len(film["frames"])) < tracks.frames:
        lines.append(f"{shown} of the frames are shown.")
    if (points := len(film["numbers"])) < tracks.points:
        lines.append(f"{points:,} of the points are shown.")
    return lines
